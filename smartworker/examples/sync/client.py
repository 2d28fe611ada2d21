"""Talks to the roster service; standard library only, so a worker can run it."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from smartworker.clock import system_clock
from smartworker.errors import SettingsError, SmartworkerError
from smartworker.examples.sync.retries import LIMITED_SECONDS, retry_after

TIMEOUT_SECONDS = 5.0
LARGEST_ANSWER = 1_000_000
#: Answers that mean "later": a key that is wrong here, a conflict with another call,
#: a time-out, too early, and what servers and proxies
#: say when they are not well.
LATER = {401, 403, 408, 409, 425, 500, 502, 503, 504}


class Trouble(SmartworkerError):
    """It did not work and may work later; nobody knows whether it was done."""


class Limited(Trouble):
    """Too many requests: not before so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The roster service asks to stay away for {seconds:g} s.")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type["Limited"], tuple[float]]:
        """Celery takes errors apart and puts them together again."""
        return type(self), (self.seconds,)


class Refused(SmartworkerError):
    """The roster service does not want this, and never will."""


class Gone(Refused):
    """The roster service does not know this object."""


class Roster:
    """The roster service. Each call that changes something has an idempotency key."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        now: Callable[[], datetime] = system_clock.now,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"The roster service's address {address!r} is not http://host:port."
            )
        is_secure = parts.scheme == "https"
        self._open = (
            http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        )
        self._host, self._port = parts.hostname, parts.port
        self._root = parts.path.rstrip("/")
        self._timeout = timeout
        self._now = now

    def create(self, reference: str, fields: Mapping[str, str], key: str) -> str:
        """Make a schedule; the id that the roster service gives it."""
        body = {"reference": reference, **fields}
        answer = self._call("POST", "/schedules", body, key)
        _expect(answer, "reference", reference)
        return _text(answer, "id")

    def update(self, external: str, fields: Mapping[str, str], key: str) -> None:
        """Change what is named of a schedule."""
        path = f"/schedules/{quote(external, safe='')}"
        _expect(self._call("PATCH", path, fields, key), "id", external)

    def delete(self, external: str, key: str) -> None:
        """Delete a schedule; one that is gone already is deleted, too."""
        path = f"/schedules/{quote(external, safe='')}"
        try:
            _expect(self._call("DELETE", path, None, key), "id", external)
        except Gone:
            return

    def employee(self, employee: str, name: str, key: str) -> None:
        """Tell who an employee is."""
        path = f"/employees/{quote(employee, safe='')}"
        _expect(self._call("PUT", path, {"name": name}, key), "id", employee)

    def find(self, reference: str) -> list[str]:
        """The ids of the schedules with our reference."""
        answer = self._call("GET", f"/schedules?{urlencode({'reference': reference})}")
        return [_text(each, "id") for each in _list(answer)]

    def all(self) -> Iterator[tuple[int, list[dict[str, str]]]]:
        """All schedules, page by page, each with how many there are in all."""
        after = ""
        while True:
            answer = self._call("GET", f"/schedules?{urlencode({'after': after})}")
            page, total = _list(answer), answer.get("total")
            if not isinstance(total, int):
                raise Trouble("The roster service's list has no total.")
            names = ("id", "reference", "employee", "starts_at")
            found = [{name: _text(each, name) for name in names} for each in page]
            if not found:
                return
            yield total, found
            last, after = after, found[-1]["id"]
            if last == after:
                raise Trouble("The roster service's list does not go on.")

    def _call(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body)
        connection = self._open(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, self._root + path, data, headers)
            response = connection.getresponse()
            raw = response.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            what = f"{type(error).__name__}: {error}"
            raise Trouble(f"The roster service cannot be reached: {what}.") from error
        finally:
            connection.close()
        if response.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            wait = retry_after(response.getheader("Retry-After"), self._now())
            raise Limited(LIMITED_SECONDS if wait is None else wait)
        return _read(response.status, raw)


def _read(status: int, raw: bytes) -> dict[str, Any]:
    """The answer of a call that worked. Raises Trouble, Gone or Refused."""
    if status in LATER:
        raise Trouble(f"The roster service answered with status {status}.")
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Trouble("The roster service's answer is no JSON.") from error
    if not isinstance(answer, dict):
        raise Trouble("The roster service's answer is no JSON object.")
    if status < http.HTTPStatus.MULTIPLE_CHOICES:
        return answer
    if status < http.HTTPStatus.BAD_REQUEST or status >= 500:
        raise Trouble(f"The roster service answered with status {status}.")
    message = str(answer.get("message", f"The roster service answered {status}."))[:200]
    is_gone = status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)
    raise (Gone if is_gone else Refused)(message)


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise Trouble(f"The roster service's answer has no {name}.")
    return value


def _expect(answer: Any, name: str, value: str) -> None:
    if _text(answer, name) != value:
        raise Trouble(f"The roster service's answer is about another {name}.")


def _list(answer: Any) -> list[Any]:
    found = answer.get("schedules")
    if not isinstance(found, list):
        raise Trouble("The roster service's answer has no list of schedules.")
    return found
