"""The declared cron jobs: which name starts which task, when, and how."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal, TypedDict, Unpack, get_args

from smartworker.cron.schedule import Schedule
from smartworker.durations import parse_duration
from smartworker.errors import JobError, SettingsError, UnknownJob
from smartworker.ping import OFF, check_ping
from smartworker.settings import DEFAULT_ZONE
from smartworker.windows import Windows

LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
#: A year like any other, for what follows from a schedule alone.
_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)
#: What Sentry takes for the slug of a monitor.
_SLUG = re.compile(r"[a-z0-9_-]{1,50}", re.ASCII)
_WORD = re.compile(r"[^\W\d]\w*")

#: May a run begin while an earlier one of the same job is not done?
#: `allow`: yes; `skip`: it is dropped; `queue`: it waits for the earlier one.
Overlap = Literal["allow", "skip", "queue"]
#: What becomes of slots that nobody called for: nothing, one run for the last of them,
#: or one run for each (`catch_up_cap` at most, none older than `catch_up_within`).
CatchUp = Literal["skip", "once", "all"]


class Options(TypedDict, total=False):
    """The options of `Jobs.declare`; what each means stands at `Job`.

    Durations may be texts such as "15m", windows a text such as "mon-fri 08:00-18:00".
    """

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    description: str
    schedule: str | None
    zone: str
    grace: timedelta | str
    deadline: timedelta | str | None
    only_when_due: bool
    overlap: Overlap
    catch_up: CatchUp
    catch_up_cap: int
    catch_up_within: timedelta | str
    windows: str | None
    retention: timedelta | str
    limit: timedelta | str | None
    parameters: Mapping[str, Any]
    sync: bool
    ping: str | None
    sentry_monitor: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task that a cron service starts by the name of the job.

    Raises JobError for what cannot work.
    """

    name: str
    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    #: When it is due; None: whenever it is called.
    schedule: Schedule | None = None
    #: The zone of the schedule and of the windows.
    zone: str = DEFAULT_ZONE
    #: How long after a slot's time a call still counts for it; after that it is late.
    grace: timedelta = timedelta(minutes=15)
    #: How long after its time a slot that nobody called for is missed; default: grace.
    deadline: timedelta | None = None
    #: Whether a call outside of all slots is answered with `skipped`.
    only_when_due: bool = False
    overlap: Overlap = "allow"
    catch_up: CatchUp = "skip"
    catch_up_cap: int = 10
    catch_up_within: timedelta = timedelta(hours=12)
    #: The hours in which calls are taken; None: always.
    windows: Windows | None = None
    #: How long the record and the result of a run are kept.
    retention: timedelta = timedelta(days=1)
    #: How long a run may take; at twice that it is reported as stuck.
    limit: timedelta | None = None
    #: What a call may pass to the task: argument name -> its type.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Whether `?sync=true` may wait for the result.
    sync: bool = False
    #: Where runs are pinged, instead of SMARTWORKER_PING_URL; "off": nowhere. A secret.
    ping: str | None = field(default=None, repr=False)
    #: The slug of the monitor of Sentry Crons that its runs check in at.
    sentry_monitor: str | None = None

    def __post_init__(self) -> None:
        """Check what the types cannot say, and freeze the arguments."""
        if not _NAME.fullmatch(self.name):
            raise JobError(
                f"{self.name!r} is no name for a job: write lower-case letters, "
                f"digits and hyphens, {LONGEST_NAME} characters at most."
            )
        object.__setattr__(self, "args", tuple(self.args))
        for name in ("kwargs", "parameters"):
            frozen = MappingProxyType(dict(getattr(self, name)))
            object.__setattr__(self, name, frozen)
        self._check_choices()
        self._check_times()
        self._check_windows()
        self._check_ping()
        slug = self.sentry_monitor
        if slug is not None and not (isinstance(slug, str) and _SLUG.fullmatch(slug)):
            raise self._error(
                f"the Sentry monitor {slug!r}, which is no slug: write "
                "lower-case letters, digits, hyphens and underscores, 50 at most"
            )
        for name in self.parameters:
            if not _WORD.fullmatch(name) or name in self.kwargs:
                raise self._error(
                    f"the parameter {name!r}, which is no argument name or already "
                    "among kwargs: leave one of them out"
                )

    @property
    def patience(self) -> timedelta:
        """How long after its time a slot that nobody called for is missed."""
        return self.grace if self.deadline is None else self.deadline

    def _check_choices(self) -> None:
        for name, allowed in (
            ("overlap", get_args(Overlap)),
            ("catch_up", get_args(CatchUp)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                choices = ", ".join(allowed)
                raise self._error(f"{name} {value!r}: allowed is {choices}")
        if self.catch_up_cap < 1:
            raise self._error(
                f"catch_up_cap {self.catch_up_cap}: write a number from 1 up"
            )
        for name, wanted in (
            ("only_when_due", self.only_when_due),
            (f"catch_up {self.catch_up!r}", self.catch_up != "skip"),
        ):
            if wanted and self.schedule is None:
                raise self._error(
                    f"{name} and no schedule: add one, such as schedule='0 21 * * *'"
                )

    def _check_times(self) -> None:
        if self.patience < self.grace:
            raise self._error(
                f"a deadline of {self.patience} inside its grace of {self.grace}: "
                "make it longer, or leave it out"
            )
        needed = max(self.patience, self.catch_up_within)
        if self.retention <= needed:
            raise self._error(
                f"a retention of {self.retention}, and its slots are looked for up to "
                f"{needed}: make the retention longer"
            )

    def _check_windows(self) -> None:
        if self.schedule is None or self.windows is None:
            return
        moment = _SAMPLE
        while moment < _SAMPLE + timedelta(days=366):
            moment = self.schedule.after(moment)
            if self.windows.at(moment) is not None:
                return
        raise self._error(
            f"the schedule {self.schedule.expression!r}, none of whose slots lies in "
            "its windows: let them meet"
        )

    def _check_ping(self) -> None:
        try:
            if self.ping not in (None, OFF):
                check_ping(str(self.ping))
        except ValueError as error:
            raise self._error(
                f"a ping that is not shown: {error}, or it is 'off'"
            ) from error

    def _error(self, what: str) -> JobError:
        return JobError(f"The job {self.name!r} has {what}.")


class Jobs:
    """The jobs of one application, in the order of their declaration."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def declare(self, name: str, task: str, **options: Unpack[Options]) -> Job:
        """Add a job; a name can be declared once.

        Raises JobError with one sentence for what cannot work; an unknown option is
        answered with the nearest name.
        """
        job = Job(name=name, task=task, **_read(name, dict(options)))
        if name in self._jobs:
            raise JobError(f"The job {name!r} is declared twice.")
        self._jobs[name] = job
        return job

    def get(self, name: str) -> Job:
        """The job of this name. Raises UnknownJob, which suggests the nearest one."""
        job = self._jobs.get(name)
        if job is None:
            raise UnknownJob(f"No job is called {_shown(name)}{self._hint(name)}")
        return job

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, name: object) -> bool:
        return name in self._jobs

    def _hint(self, name: str) -> str:
        # Names come from URLs: comparing 10 KB with each job would cost seconds.
        near = get_close_matches(name[: 2 * LONGEST_NAME], self._jobs, n=1)
        return f": did you mean {near[0]!r}?" if near else "."


def load_jobs(modules: Iterable[str]) -> Jobs:
    """The jobs that these tasks modules declare, together.

    The module `jobs` beside each, or it itself, has a function `declare(jobs)`.
    """
    jobs = Jobs()
    for home in dict.fromkeys(map(jobs_module, modules)):
        if declare := getattr(import_module(home), "declare", None):
            declare(jobs)
    return jobs


def jobs_module(tasks: str) -> str:
    """The module `jobs` beside a tasks module, or that module itself."""
    package, dot, _ = tasks.rpartition(".")
    sibling = f"{package}{dot}jobs"
    try:
        return sibling if find_spec(sibling) else tasks
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"SMARTWORKER_TASKS names {tasks!r}, and there is no {error.name!r}."
        ) from error


_OPTIONS = [each.name for each in fields(Job) if each.name not in ("name", "task")]
_DURATIONS = ("grace", "deadline", "catch_up_within", "retention", "limit")


def _read(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options as `Job` takes them: texts become durations, times and windows."""
    for option in options:
        if option not in _OPTIONS:
            near = get_close_matches(option, _OPTIONS, n=1)
            known = f"did you mean {near[0]!r}?" if near else ", ".join(_OPTIONS) + "."
            raise JobError(f"The job {name!r} has no option {option!r}: {known}")
    try:
        for option in _DURATIONS:
            if isinstance(options.get(option), str):
                options[option] = parse_duration(options[option])
        zone = options.get("zone", DEFAULT_ZONE)
        if isinstance(options.get("schedule"), str):
            options["schedule"] = Schedule(options["schedule"], zone)
        if isinstance(options.get("windows"), str):
            options["windows"] = Windows.hours(options["windows"], zone)
    except ValueError as error:
        text = str(error).rstrip(".")
        raise JobError(f"The job {name!r} cannot be declared: {text}.") from error
    return options


def _shown(name: str) -> str:
    return ascii(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "...")
