"""What a channel holds, as kombu asks for it; the record of it is in Redis."""

from dataclasses import replace
from typing import Any

from kombu.transport import virtual

from smartworker.store.queues import Result


class QoS(virtual.QoS):
    """Tells the channel which of its messages are done, refused, or left over."""

    restore_at_shutdown = True

    def carry(self, delivery_tag: str, result: Result) -> None:
        """Store this before the message is acknowledged; a message that goes back
        leaves it behind.
        """
        held = self.channel._held
        if delivery_tag in held:
            held[delivery_tag] = replace(held[delivery_tag], result=result)

    def ack(self, delivery_tag: str) -> None:
        """The message is done; any thread may say so through Celery's loop."""
        self.channel.finish(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give the message to the end of its queue, or be done with it."""
        self.channel.finish(delivery_tag, again=requeue)
        super().ack(delivery_tag)

    def forget(self, delivery_tag: str) -> None:
        """The message is somebody else's now; there is room for another one."""
        super().ack(delivery_tag)

    def restore_unacked(self) -> list[Any]:
        """Give everything back that is held, in the order in which it came."""
        self._flush()
        # kombu would dump to a file what cannot be restored; it is safe in flight.
        self.channel.give_back(list(self._delivered))
        self._delivered.clear()
        return []
