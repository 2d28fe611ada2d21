"""The declared cron jobs: which name starts which task."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from smartworker.errors import UnknownJob

LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task that a cron service starts by the name of the job."""

    name: str
    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that would not survive a URL, and freeze the arguments."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name for a job: write lower-case letters, "
                f"digits and hyphens, {LONGEST_NAME} characters at most."
            )
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))


class Jobs:
    """The jobs of one application, in the order of their declaration."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def declare(
        self,
        name: str,
        task: str,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Job:
        """Add a job; a name can be declared once."""
        job = Job(
            name=name,
            task=task,
            args=tuple(args),
            kwargs=kwargs or {},
            description=description,
        )
        if name in self._jobs:
            raise ValueError(f"The job {name!r} is declared twice.")
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


def _shown(name: str) -> str:
    return ascii(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "...")
