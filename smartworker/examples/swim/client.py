"""Talks to the facility over HTTP; standard library only, so a worker can run it."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from smartworker.backoff import pauses
from smartworker.clock import system_clock
from smartworker.examples.swim.booking import Slot

TIMEOUT_SECONDS = 5.0
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0


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


def _sleep(seconds: float) -> None:
    system_clock.wait(threading.Event(), seconds)


class Facility:
    """One member's account at the facility."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = _sleep,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FacilityError(
                f"The facility's address {address!r} is not http://host:port."
            )
        secure = parts.scheme == "https"
        self._open = (
            http.client.HTTPSConnection if secure else http.client.HTTPConnection
        )
        self._host, self._port = parts.hostname, parts.port
        self._root = parts.path.rstrip("/")
        self._timeout = timeout
        self._sleep = sleep
        self._token: str | None = None

    def log_in(self, user: str, password: str) -> None:
        """Get the token that all other calls need."""
        answer = self._call("POST", "/login", {"user": user, "password": password})
        with _reading():
            self._token = str(answer["token"])

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

    def _call(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        waits = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        trouble = ""
        for pause in (0.0, *islice(waits, ATTEMPTS - 1)):
            if pause:
                self._sleep(pause)
            try:
                status, answer = self._once(method, path, body, headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if status < 500:
                return _accepted(status, answer)
            trouble = f"status {status}"
        raise FacilityError(
            f"The facility failed {ATTEMPTS} times, at last with {trouble}."
        )

    def _once(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        connection = self._open(self._host, self._port, timeout=self._timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, self._root + path, data, dict(headers))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError) as error:
        raise FacilityError("The facility's answer lacks what it must have.") from error


def _accepted(status: int, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise FacilityError("The facility's answer is no JSON object.")
    if status < 400:
        return answer
    refusal = _REFUSALS.get(str(answer.get("error")), FacilityError)
    raise refusal(str(answer.get("message", f"The facility answered {status}.")))
