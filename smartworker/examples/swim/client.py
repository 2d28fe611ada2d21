"""Talks to the facility over HTTP; standard library only, so a worker can run it."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from smartworker.clock import Clock, system_clock
from smartworker.examples.swim.booking import Slot
from smartworker.examples.swim.retrying import Answer, Patience, retry_after
from smartworker.windows import to_utc

TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 10.0
LARGEST_BODY = 1_000_000
UNAUTHORIZED = 401


class FacilityError(Exception):
    """The facility cannot be reached, or refuses."""


class NotReleased(FacilityError):
    """The slots of this date are not offered yet."""


class SlotFull(FacilityError):
    """Somebody else was faster."""


_REFUSALS: dict[str, type[FacilityError]] = {
    "not_released": NotReleased,
    "full": SlotFull,
}
#: A server that closed a silent connection; what was sent on it did not arrive.
_CLOSED = (
    http.client.RemoteDisconnected,
    http.client.CannotSendRequest,
    ConnectionResetError,
    BrokenPipeError,
)


@dataclass(frozen=True)
class Timetable:
    """What can be booked on a date, and from when on."""

    released: bool
    released_at: datetime | None
    slots: list[Slot]


class Facility:
    """One member's account at the facility, on a connection that is kept open."""

    def __init__(
        self,
        address: str,
        *,
        deadline: float | None = None,
        timeout: float = TIMEOUT_SECONDS,
        clock: Clock = system_clock,
    ) -> None:
        """No attempt begins after the `deadline`, a time of the monotonic clock."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FacilityError(
                f"The facility's address {address!r} is not http://host:port."
            )
        secure = parts.scheme == "https"
        make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = make(parts.hostname, parts.port, timeout=timeout)
        self._root = parts.path.rstrip("/")
        self._timeout = timeout
        self._clock = clock
        self._account: tuple[str, str] | None = None
        self._token: str | None = None
        self._given_up = threading.Event()
        if deadline is None:
            deadline = clock.monotonic() + PATIENCE_SECONDS
        self.deadline = deadline
        #: When the slots were released by our clock: "not yet" is then asked again.
        self.released_since: float | None = None

    def log_in(self, user: str, password: str) -> None:
        """Get the token that all other calls need."""
        self._account, self._token = (user, password), None
        answer = self._call("POST", "/login", {"user": user, "password": password})
        with _reading():
            self._token = str(answer["token"])

    def timetable(self, day: date) -> Timetable:
        """The slots of a date, released or not; needs no log-in."""
        answer = self._call("GET", f"/timetable?date={day.isoformat()}")
        with _reading():
            moment = answer["released_at"]
            return Timetable(
                bool(answer["released"]),
                to_utc(datetime.fromisoformat(moment)) if moment else None,
                [Slot(**slot) for slot in answer["slots"]],
            )

    def slots(self, day: date) -> list[Slot]:
        """What the facility offers on this date."""
        answer = self._call("GET", f"/slots?date={day.isoformat()}")
        with _reading():
            return [Slot(**slot) for slot in answer["slots"]]

    def book(self, slot: Slot, day: date, key: str) -> tuple[str, str]:
        """Book a slot: its id and the confirmation.

        The same key again gives the first booking, whatever the slot.
        """
        answer = self._call(
            "POST", "/bookings", {"slot": slot.id, "date": day.isoformat()}, key
        )
        with _reading():
            return str(answer["slot"]), str(answer["confirmation"])

    def keep_warm(self, day: date, seconds: float) -> None:
        """Use the connection and the token, so that both work at the release.

        Takes no longer than some seconds and never fails: what is wrong now is found
        out, and put right, by the booking.
        """
        before, self.deadline = self.deadline, self._clock.monotonic() + seconds
        try:
            with suppress(FacilityError):
                self._call("GET", f"/bookings?date={day.isoformat()}")
            if self._connection.sock is None:
                self._connection.timeout = max(self._rest(), 0.05)
                with suppress(OSError):
                    self._connection.connect()
        finally:
            self.deadline = before

    def give_up(self) -> None:
        """End whatever is going on, from another thread."""
        self._given_up.set()
        if (connected := self._connection.sock) is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> dict[str, Any]:
        patience = Patience(self.deadline, self.released_since)
        attempts, renewed = 0, False
        while True:
            answer = self._attempt(method, path, body, key)
            attempts += 1
            if answer.status == UNAUTHORIZED and self._token and not renewed:
                renewed = True
                self.log_in(*self._account)  # type: ignore[misc]
                continue
            pause = patience.pause(answer, self._clock.monotonic())
            if answer.good or pause is None:
                return _accepted(answer, attempts)
            if self._clock.wait(self._given_up, pause):
                raise FacilityError("The booking was called off.")

    def _attempt(self, method: str, path: str, body: Any, key: str | None) -> Answer:
        """One request; a second one where the server had closed the connection."""
        is_old = self._connection.sock is not None
        try:
            try:
                return self._once(method, path, body, key)
            except _CLOSED:
                self._connection.close()
                if not is_old or self._given_up.is_set():
                    raise
                return self._once(method, path, body, key)
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            RecursionError,
        ) as error:
            self._connection.close()
            return Answer(0, trouble=f"{type(error).__name__}: {error}"[:200])

    def _once(self, method: str, path: str, body: Any, key: str | None) -> Answer:
        connection = self._connection
        connection.timeout = min(self._timeout, max(self._rest(), 0.05))
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body)
        connection.request(method, self._root + path, data, headers)
        response = connection.getresponse()
        raw = response.read(LARGEST_BODY)
        if not response.isclosed():
            raise ValueError("The answer is too long.")
        wait = retry_after(response.getheader("Retry-After"), self._clock.now())
        try:
            return Answer(response.status, json.loads(raw), wait)
        except (ValueError, RecursionError):
            # Proxies answer with pages of their own when something is wrong.
            if response.status < 400:
                raise
            return Answer(response.status, None, wait)

    def _rest(self) -> float:
        return self.deadline - self._clock.monotonic()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise FacilityError("The facility's answer lacks what it must have.") from error


def _accepted(answer: Answer, attempts: int) -> dict[str, Any]:
    if answer.passing:
        times = "once" if attempts == 1 else f"{attempts} times"
        raise FacilityError(
            f"The facility failed {times}, at last with {answer}, and there is no "
            "time for another attempt."
        )
    if not isinstance(answer.body, dict):
        raise FacilityError("The facility's answer is no JSON object.")
    if answer.good:
        return answer.body
    refusal = _REFUSALS.get(answer.error, FacilityError)
    said = answer.body.get("message", f"The facility answered {answer.status}.")
    raise refusal(str(said))
