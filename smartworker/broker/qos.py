"""What a channel holds, as kombu asks for it; the record of it is in Redis."""

from typing import Any

from kombu.transport import virtual

from smartworker.logs import get_logger
from smartworker.store.client import LOST, RedisError

log = get_logger(__name__)


class QoS(virtual.QoS):
    """Tells the channel which of its messages are done, refused, or left over."""

    restore_at_shutdown = True

    def ack(self, delivery_tag: str) -> None:
        """The message is done; any thread may say so through Celery's loop."""
        self.channel.finish(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give the message to the end of its queue, or be done with it."""
        self.channel.finish(delivery_tag, again=requeue)
        super().ack(delivery_tag)

    def restore_unacked(self) -> list[Any]:
        """Give everything back that is held, in the order in which it came."""
        self._flush()
        try:
            self.channel.give_back(list(self._delivered))
        except (*LOST, RedisError) as error:
            # kombu would dump the messages to a file; they are safe in flight.
            log.error("give_back_failed", count=len(self._delivered), error=str(error))
        self._delivered.clear()
        return []
