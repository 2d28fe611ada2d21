"""A plain client on the broker of an app, for what is no message."""

import threading
from collections.abc import Callable
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


class LazyLink:
    """A link that is opened when it is first needed, from whatever thread."""

    def __init__(self, app: Any, open_: Callable[[Any], Link] = open_link) -> None:
        self._app = app
        self._open = open_
        self._lock = threading.Lock()
        self._link: Link | None = None

    def get(self) -> Link:
        """The link. Raises what `open_link` raises."""
        link = self._link
        if link is None:
            # Without the lock: where nobody answers, each caller has its own time-out.
            opened = self._open(self._app)
            with self._lock:
                link = self._link = self._link or opened
            if link is not opened:
                opened.close()
        return link

    def close(self) -> None:
        """Hang up; `get` begins again."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()
