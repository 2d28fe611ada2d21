"""What the page shows, made from what is known: words and numbers, no markup."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timedelta
from hashlib import sha256
from typing import Any

from smartworker.policy import Policy
from smartworker.rows import Row, month_of, spent
from smartworker.settings import Settings
from smartworker.store.dead import DeadLetter
from smartworker.store.runs import RunRecord
from smartworker.web.dashboard.facts import MOST_LETTERS, Facts, living
from smartworker.worker.overview import Row as JobRow

MOST_RUNS = 20
MOST_JOBS = 100
MOST_ACTIVE = 30
MOST_WORKERS = 30
MOST_QUEUES = 50
LONGEST_NAME = 80
LONGEST_TEXT = 500
MOST_LINES = 60
#: No number of a row is higher; JSON has NaN and Infinity, too.
MOST = 1e15
#: A row may be older than the question by this much: clocks differ.
SKEW = timedelta(seconds=30)

#: How a state of a job or a run looks: good, bad, busy or calm.
LOOKS = {
    "ok": "good",
    "failed": "bad",
    "missed": "bad",
    "late": "bad",
    "revoked": "calm",
    "running": "busy",
    "queued": "busy",
    "due": "busy",
    "paused": "calm",
    "never ran": "calm",
}
_ENDINGS = {"SUCCESS": "ok", "FAILURE": "failed", "REVOKED": "revoked"}


@dataclass(frozen=True)
class When:
    """A moment: for people in the local zone, for programs in UTC."""

    text: str
    iso: str


@dataclass(frozen=True)
class Words:
    """How moments and lengths are written, seen from now."""

    settings: Settings
    now: datetime

    def when(self, moment: datetime | str | None, *, seconds: bool = False) -> Any:
        """`20:00`, `tomorrow 20:00` or `Sat 28 Nov 20:00`; None for what is none."""
        found = _moment(moment)
        if found is None:
            return None
        local, today = self._local(found), self._local(self.now).date()
        clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
        near = {0: "", 1: "tomorrow ", -1: "yesterday "}
        days = (local.date() - today).days
        day = near.get(days, f"{local:%a} {local.day} {local:%b} ")
        return When(day + clock, found.isoformat(timespec="seconds"))

    def _local(self, moment: datetime) -> datetime:
        return self.settings.windows.local(moment)


def view(facts: Facts, jobs: Iterable[JobRow], words: Words) -> dict[str, Any]:
    """Everything that the sections show. `jobs`: those declared, if none were read."""
    workers = living(facts.rows, words.now)
    details = facts.details
    rows = [*(details.jobs if details else jobs)]
    letters = details.letters if details else ()
    return {
        "at": words.when(facts.at, seconds=True),
        "details_at": words.when(details.at if details else None, seconds=True),
        "zone": words.settings.timezone,
        "error": facts.error,
        "known": facts.at is not None,
        "detailed_once": details is not None,
        "now": _now(facts, workers, words),
        "budget": _budget(facts, words),
        "jobs": [_job(row, words) for row in rows[:MOST_JOBS]],
        "more_jobs": max(0, len(rows) - MOST_JOBS),
        "runs": _runs(rows, words),
        "active": _active(workers, words),
        "queues": _queues(facts),
        "letters": [_letter(letter, words) for letter in letters[:MOST_LETTERS]],
        "more_letters": len(letters) > MOST_LETTERS,
        "workers": [_worker(row, facts, words) for row in workers[:MOST_WORKERS]],
        "more_workers": max(0, len(workers) - MOST_WORKERS),
    }


def cut(text: object, length: int = LONGEST_NAME) -> str:
    """A text that fits, however long it was, and that UTF-8 can write."""
    shown = str(text).encode("utf-8", "replace").decode()
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def duration(seconds: float | None) -> str | None:
    """`0.3 s`, `12 s`, `5 min`, `2 h 30 min`; None for what is no number."""
    if seconds is None or not abs(seconds) < MOST:
        return None
    if seconds < 0.05:
        return "0 s"
    if seconds < 10 and seconds % 1:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def _moment(moment: object) -> datetime | None:
    """A time from wherever; None for what is none."""
    try:
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return None
    if not isinstance(found, datetime) or found.tzinfo is None:
        return None
    # A local zone knows no hour before the first year, nor after the last.
    return found if MINYEAR < found.year < MAXYEAR else None


def _now(facts: Facts, workers: list[Row], words: Words) -> dict[str, Any]:
    settings = words.settings
    policy = Policy(settings.windows, settings.quiet_poll)
    decision = policy.decide(words.now)
    after = policy.decide(decision.until).poll if decision.until else None
    next_polls = sorted(
        found
        for row in workers
        if not is_silent(row, facts) and (found := _moment(row.next_poll))
    )
    return {
        "window": decision.window,
        "until": words.when(decision.until),
        "then": duration(after.total_seconds() if after else None),
        "poll": duration(decision.poll.total_seconds()),
        "next_poll": words.when(next_polls[0], seconds=True) if next_polls else None,
        "doorbells": sorted({cut(row.doorbell) for row in workers if row.doorbell}),
        "troubles": sorted({cut(row.broker) for row in workers if row.broker != "ok"}),
        "workers": len(workers),
    }


def _budget(facts: Facts, words: Words) -> dict[str, Any]:
    limit = words.settings.monthly_budget
    causes = spent(facts.rows, month_of(words.now))
    used, outlook = sum(causes.values()), facts.details and facts.details.outlook
    # The forecast is older than the sum.
    total = max(outlook.total, used) if outlook and facts.rows else None
    return {
        "month": f"{words.now:%B}",
        "used": used,
        "limit": limit,
        "share": used / limit,
        "forecast": total,
        "forecast_share": total and total / limit,
        "used_up": words.when(outlook.used_up) if outlook and facts.rows else None,
        "causes": sorted(causes.items(), key=lambda each: -each[1])[:12],
    }


def _job(row: JobRow, words: Words) -> dict[str, Any]:
    state, last = row.state, row.last
    return {
        "name": row.job.name,
        "description": cut(row.job.description, 200),
        "schedule": row.job.schedule and row.job.schedule.expression,
        "state": state,
        "look": LOOKS.get(state or "", "calm"),
        "paused": row.paused_since is not None,
        "next": words.when(row.next_due),
        "last": last and words.when(last.started),
        "seconds": last and duration(last.seconds),
        "last_ended": last and ending(last),
    }


def ending(record: RunRecord) -> str:
    """How a run ended, in the words of jobs."""
    return _ENDINGS.get(record.state, record.state.lower())


def _runs(rows: list[JobRow], words: Words) -> list[dict[str, Any]]:
    """The newest runs of all jobs together."""
    records = [record for row in rows for record in row.runs]
    records.sort(key=lambda record: record.started, reverse=True)
    return [
        {
            "key": _key(record),
            "job": cut(record.job),
            "state": ending(record),
            "look": LOOKS.get(ending(record), "calm"),
            "started": words.when(record.started),
            "seconds": duration(record.seconds),
            "trigger": cut(record.trigger),
            "slot": words.when(record.slot),
            "task_id": cut(record.task_id),
            "error": cut(record.error, LONGEST_TEXT),
            "tail": [cut(line, LONGEST_TEXT) for line in record.tail[-MOST_LINES:]],
        }
        for record in records[:MOST_RUNS]
    ]


def _key(record: RunRecord) -> str:
    """A name for a run that tells nothing: its id opens its result to anybody."""
    return sha256(
        f"{record.task_id} {record.state}".encode(errors="replace")
    ).hexdigest()[:16]


def _active(workers: list[Row], words: Words) -> list[dict[str, Any]]:
    return [
        {
            "task": cut(each.get("task")),
            "job": each.get("job") and cut(each["job"]),
            "since": words.when(_text(each.get("since")), seconds=True),
            "worker": cut(row.name),
        }
        for row in workers
        for each in row.active
    ][:MOST_ACTIVE]


def _queues(facts: Facts) -> list[dict[str, Any]] | None:
    if facts.details is None:
        return None
    found = sorted(facts.details.queues.items())[:MOST_QUEUES]
    return [{"name": cut(name), "length": length} for name, length in found]


def _letter(letter: DeadLetter, words: Words) -> dict[str, Any]:
    facts = letter.facts
    return {
        "id": letter.id,
        "task": cut(facts.task or "unknown task"),
        "task_id": facts.task_id and cut(facts.task_id),
        "queue": cut(facts.queue),
        "reason": cut(facts.reason).replace("_", " "),
        "detail": cut(facts.detail, LONGEST_TEXT),
        "attempts": facts.attempts,
        "died": words.when(letter.last),
    }


def _worker(row: Row, facts: Facts, words: Words) -> dict[str, Any]:
    counts = [each for each in row.tasks.values() if isinstance(each, dict)]
    return {
        "name": cut(row.name),
        "silent": is_silent(row, facts),
        "written": words.when(row.written, seconds=True),
        "started": words.when(row.started),
        "window": row.window and cut(row.window),
        "poll": duration(_number(row.poll_seconds) or None),
        "last_poll": words.when(row.last_poll, seconds=True),
        "next_poll": words.when(row.next_poll, seconds=True),
        "doorbell": row.doorbell and cut(row.doorbell),
        "broker": cut(row.broker),
        "held": _number(row.held),
        "queues": cut(", ".join(map(str, row.queues)), 200),
        "done": sum(_number(each.get("succeeded")) for each in counts),
        "failed": sum(_number(each.get("failed")) for each in counts),
    }


def is_silent(row: Row, facts: Facts) -> bool:
    """Whether a worker was asked for its row and has not written it."""
    written = _moment(row.written)
    return bool(facts.asked and written and written < facts.asked - SKEW)


def _number(value: object) -> int:
    if isinstance(value, int | float) and abs(value) < MOST:
        return int(value)
    return 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
