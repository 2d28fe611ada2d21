"""Reads what the endpoints are sent. Pure: no HTTP, no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytz

from smartworker.errors import SmartworkerError

EASTERN = pytz.timezone("America/New_York")
LONGEST_ID = 64
#: Digits of an id: what databases keep as an integer.
LONGEST_NUMBER = 18
LONGEST_NAME = 200


class Invalid(SmartworkerError):
    """Fields are missing or wrong; `fields` says which and why."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("Some fields are missing or wrong.")
        self.fields = dict(fields)


@dataclass(frozen=True)
class Person:
    """Who works; the name is optional where the person is known."""

    id: str
    name: str | None = None


@dataclass(frozen=True)
class NewSchedule:
    """Who works when at which event."""

    event: str
    person: Person
    start: str


@dataclass(frozen=True)
class Move:
    """A new start, and somebody else where one is named."""

    start: str
    person: Person | None


class Form:
    """One body. Ask for all fields, then call `check`."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._wrong: dict[str, str] = {}

    def check(self) -> None:
        """Raises Invalid if anything that was asked for is missing or wrong."""
        if self._wrong:
            raise Invalid(self._wrong)

    def text(self, name: str, longest: int = LONGEST_ID) -> str:
        """A text that must be there."""
        value = self._body.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            return self._refuse(name, "Write a text.")
        if len(value.strip()) > longest or not value.isprintable():
            return self._refuse(name, f"Write {longest} printable characters at most.")
        return value.strip()

    def number(self, name: str) -> int:
        """The id of a schedule."""
        value = self._body.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value) if len(value) <= LONGEST_NUMBER else None
        if isinstance(value, bool) or not isinstance(value, int):
            value = None
        if value is None or not 0 < value < 10**LONGEST_NUMBER:
            self._refuse(name, "Write the number of a schedule.")
            return 0
        return value

    def start(self, name: str = "start") -> str:
        """A time as ISO 8601 with its offset; without one it is Eastern time."""
        value = self._body.get(name)
        try:
            time = datetime.fromisoformat(value if isinstance(value, str) else "")
            if time.utcoffset() is None:
                time = EASTERN.localize(time, is_dst=None)
        except pytz.NonExistentTimeError:
            return self._refuse(name, "The clocks skip this time; write the offset.")
        except pytz.AmbiguousTimeError:
            return self._refuse(name, "This time comes twice; write the offset.")
        except (ValueError, OverflowError):
            return self._refuse(name, "Write a time such as 2026-11-21T09:30.")
        return time.isoformat(timespec="seconds")

    def person(self) -> Person:
        """`employee_id`, and `employee_name` if it is there."""
        name = None
        if self._body.get("employee_name") is not None:
            name = self.text("employee_name", LONGEST_NAME)
        return Person(self.text("employee_id"), name)

    def person_if_any(self) -> Person | None:
        """The same where it may be left out."""
        return None if self._body.get("employee_id") is None else self.person()

    def _refuse(self, name: str, why: str) -> str:
        self._wrong[name] = why
        return ""


def new_schedule(body: Mapping[str, Any]) -> NewSchedule:
    """For `/save_schedule`. Raises Invalid."""
    form = Form(body)
    made = NewSchedule(form.text("event_id"), form.person(), form.start())
    form.check()
    return made


def move(form: Form) -> Move:
    """For the two that reschedule. Raises Invalid for all that was asked so far."""
    made = Move(form.start(), form.person_if_any())
    form.check()
    return made


def trade(body: Mapping[str, Any]) -> tuple[int, int]:
    """For `/api/trade_events`: two schedules. Raises Invalid."""
    form = Form(body)
    first, second = form.number("schedule_id"), form.number("other_schedule_id")
    form.check()
    if first == second:
        raise Invalid({"other_schedule_id": "A schedule cannot trade with itself."})
    return first, second
