"""A plain client on the broker of an app, for what is no message."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Link:
    """An app, a channel to its broker, and a client on the same sockets.

    The client adds no prefix: keys are written as `link.prefix + key`.
    """

    app: Any
    connection: Any
    channel: Any
    client: Any

    @property
    def prefix(self) -> str:
        """What stands in front of all keys."""
        return str(self.channel.global_keyprefix)

    def close(self) -> None:
        """Hang up."""
        self.connection.release()


def open_link(app: Any) -> Link:
    """A connection of its own. Raises what redis-py raises; 1 command, not billed."""
    connection = app.connection_for_write()
    try:
        channel = connection.channel()
        client = connection.transport.plain_client(channel)
    except BaseException:
        connection.release()
        raise
    return Link(app, connection, channel, client)
