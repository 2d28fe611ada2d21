"""Whether a worker does its work: what it last did, held against what was due."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

#: How late a poll may be: so many seconds, and this part of the interval.
MARGIN = 60.0
MARGIN_SHARE = 0.1
#: What `Vitals.broker` says while nothing is wrong.
WELL = "ok"

_TIMES = ("started", "last_poll", "next_poll", "busy_until")


@dataclass(frozen=True)
class Readiness:
    """Whether work would be picked up now, and one sentence why."""

    ready: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The signs of life of one worker. Times are aware."""

    started: datetime
    #: The interval in force, in seconds.
    poll_seconds: float
    #: The last poll that was answered; None before the first.
    last_poll: datetime | None = None
    #: When the next one is due.
    next_poll: datetime | None = None
    #: "ok", or the kind of trouble, such as "lost".
    broker: str = WELL
    #: Whether a task has the only process there is (solo pool), so nobody can poll,
    #: and until when its time limit lets it; None: there is no limit.
    busy: bool = False
    busy_until: datetime | None = None
    #: Whether it was told to stop: it ends what it has begun.
    stopping: bool = False

    def verdict(self, now: datetime) -> Readiness:
        """Whether the worker is ready at `now`, an aware time."""
        if self.stopping:
            return Readiness(False, "It is stopping.")
        if self.broker != WELL:
            return Readiness(False, f"Redis does not serve it ({self.broker}).")
        if self.last_poll is None:
            since = spoken((now - self.started).total_seconds())
            return Readiness(False, f"It is starting since {since}: no poll yet.")
        if self.busy and (self.busy_until is None or now <= self.busy_until):
            limit = "" if self.busy_until is None else ", within its time limit"
            return Readiness(True, f"A task has its only process{limit}.")
        ago = spoken((now - self.last_poll).total_seconds())
        due = self._due(self.last_poll)
        late = (now - due).total_seconds()
        if late > MARGIN + MARGIN_SHARE * self.poll_seconds:
            return Readiness(
                False,
                f"The last poll was {ago} ago, and the next is late by {spoken(late)}.",
            )
        return Readiness(True, f"The last poll was {ago} ago.")

    def _due(self, last: datetime) -> datetime:
        # The first gap of an interval may be up to half longer than the interval; and
        # a shorter interval begins with a poll, which the last one knows nothing of.
        due = last + timedelta(seconds=self.poll_seconds)
        return due if self.next_poll is None else max(due, self.next_poll)

    def as_json(self) -> dict[str, Any]:
        """For files and programs; times are ISO 8601."""
        return {
            name: value.isoformat(timespec="milliseconds")
            if isinstance(value, datetime)
            else value
            for name, value in asdict(self).items()
        }


def read_vitals(told: dict[str, Any]) -> Vitals:
    """What `as_json` made. Raises ValueError for anything else."""
    values = {
        each.name: told[each.name] for each in fields(Vitals) if each.name in told
    }
    try:
        for name in _TIMES:
            if values.get(name) is not None:
                values[name] = _aware(values[name])
        values["poll_seconds"] = float(values["poll_seconds"])
        return Vitals(**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"these are no vitals: {error}") from error


def spoken(seconds: float) -> str:
    """A span as people read it, such as 42 s, 12 min or 3.5 h; never negative."""
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _aware(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return moment
