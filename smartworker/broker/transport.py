"""kombu's Redis transport with our channel, our poller, and one set of sockets."""

from contextlib import suppress
from typing import Any, ClassVar

from kombu.transport import redis as stock

from smartworker.broker.channel import Channel
from smartworker.broker.poller import Poller
from smartworker.store import notifications
from smartworker.store.client import client_of
from smartworker.store.meter import because

#: Seconds that a server may take to show that it is there.
KNOCK_TIMEOUT = 2.0


class Transport(stock.Transport):
    """What `redis://` and `rediss://` mean after `smartworker.setup(app)`."""

    Channel = Channel
    polling_interval: float | None
    #: Servers that do not ring by themselves, found out once per process.
    _silent_servers: ClassVar[dict[str, bool]] = {}

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._pool: Any = None
        interval = self.polling_interval
        # kombu would sleep for it between two looks; our poller waits by itself.
        self.polling_interval = None
        self.cycle = Poller(self, interval)

    @property
    def doorbell(self) -> str:
        """The mode asked for: auto, keyspace, publish or off."""
        return str(self.client.transport_options.get("doorbell", "auto"))

    @property
    def max_deliveries(self) -> int:
        """How often a message may be delivered before it is a dead letter."""
        return int(self.client.transport_options.get("max_deliveries", 5))

    @property
    def queue_priorities(self) -> dict[str, int]:
        """Queues that are emptied before those with a lower number; 0 if not named."""
        return self.client.transport_options.get("queue_priorities") or {}

    def pool_for(self, channel: Any) -> Any:
        """The connection pool of all channels, made at first use."""
        if self._pool is None:
            self._pool = channel._get_pool()
        return self._pool

    def plain_client(self, channel: Any) -> Any:
        """A client that adds no prefix to keys."""
        return client_of(self.pool_for(channel))

    def knock(self, channel: Any) -> bool:
        """Whether the server answers a new connection within two seconds."""
        pool = self.pool_for(channel)
        options = {
            **pool.connection_kwargs,
            "socket_timeout": KNOCK_TIMEOUT,
            "socket_connect_timeout": KNOCK_TIMEOUT,
        }
        connection = pool.connection_class(**options)
        with because("control"):
            try:
                connection.connect()
                connection.send_command("PING", check_health=False)
                return bool(connection.read_response())
            finally:
                connection.disconnect()

    def must_ring(self, channel: Any) -> bool:
        """Whether a producer has to ring; found out once per server."""
        if self.doorbell != "auto":
            return self.doorbell == "publish"
        if self.client.as_uri() not in self._silent_servers:
            self.remember(rings=notifications.rings(self.plain_client(channel)))
        return self._silent_servers[self.client.as_uri()]

    def remember(self, *, rings: bool) -> None:
        """Whether the server rings by itself, for all connections to it."""
        self._silent_servers[self.client.as_uri()] = not rings

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Run from Celery's loop instead of being asked."""
        self.cycle.attach(loop)

    def close_connection(self, connection: Any) -> None:
        """Close the channels, then the sockets."""
        try:
            super().close_connection(connection)
            self.cycle.leave()
        finally:
            self.disconnect_pool()

    def disconnect_pool(self) -> None:
        """Close all sockets; the next command opens new ones."""
        if self._pool is not None:
            with suppress(OSError):
                self._pool.disconnect()
