"""How long the HTTP server waits for a client: uvicorn's protocol with deadlines."""

import asyncio
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from smartworker.web.problems import Problem

HEAD_SECONDS = 10.0
WRITE_SECONDS = 30.0


class PatientProtocol(H11Protocol):
    """Closes connections whose client owes something for too long.

    uvicorn itself waits for the head of a request for ever, stops its keep-alive timer
    at the first byte of the next one, and waits for a client that takes no answer.
    """

    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """From now on the client owes the head of a request."""
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody owes anything any more."""
        super().connection_lost(exc)
        self._stop("head")
        self._stop("write")

    def handle_events(self) -> None:
        """After each piece that came: is the head complete?

        After an answer the client owes the next head, or the rest of a body that
        nobody read; where it says nothing at all, uvicorn's own timer ends that.
        """
        super().handle_events()
        self._watch_head()

    def pause_writing(self) -> None:
        """The client owes us to read what it asked for."""
        super().pause_writing()
        self._watch_head()
        self._watch_write(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._stop("write")
        self._watch_head()

    def _watch_head(self) -> None:
        working = self.cycle is not None and not self.cycle.response_complete
        if working or self.flow.write_paused or self.transport.is_closing():
            self._stop("head")
        elif "head" not in self._timers:  # a byte more does not move the deadline
            timer = self.loop.call_later(self.head_seconds, self._end)
            self._timers["head"] = timer

    def _watch_write(self, before: int) -> None:
        """Give up unless less is left to be read at the deadline than `before`."""

        def look() -> None:
            left = self.transport.get_write_buffer_size()
            if left < before:
                self._watch_write(left)
            else:
                self._end()

        self._timers["write"] = self.loop.call_later(self.write_seconds, look)

    def _stop(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _end(self) -> None:
        # Not `close`, which would wait until the client has read everything.
        self.transport.abort()


def patient(head_seconds: float, write_seconds: float) -> type[PatientProtocol]:
    """The protocol with these deadlines: uvicorn makes the instances itself."""
    deadlines = {"head_seconds": head_seconds, "write_seconds": write_seconds}
    return type("PatientProtocol", (PatientProtocol,), deadlines)


class OneLength:
    """Refuses a request whose body has two lengths: a proxy may read the other one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what has one length or none."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "content-length" in headers and "transfer-encoding" in headers:
            answer = Problem(
                400,
                "The request has both Content-Length and Transfer-Encoding: send one.",
                {"Connection": "close"},
            ).response()
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)
