"""The worker's line of each hour: it lives, so many polls, and what commands cost.

A log line costs no command, and one that is missing tells that nobody was there.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import bootsteps, signals

from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger
from smartworker.store.meter import Counts, is_billed, ledger
from smartworker.worker.rounds import Rounds

log = get_logger(__name__)

HOUR = timedelta(hours=1)
#: The cause of a poll in the ledger; each poll is one command.
POLL = "poll"


@dataclass(frozen=True)
class Sent:
    """The billed commands of this process since `since`, by cause."""

    since: str
    commands: dict[str, int]

    @property
    def polls(self) -> int:
        """How many of them were polls."""
        return self.commands.get(POLL, 0)

    @property
    def billed(self) -> int:
        """All together."""
        return sum(self.commands.values())


class Account:
    """What was sent since somebody last asked. `counts` gives all there ever was."""

    def __init__(self, counts: Callable[[], Counts], clock: Clock) -> None:
        self._counts = counts
        self._clock = clock
        self._since = clock.now()
        self._said: Counter[str] = Counter()

    def due(self) -> Sent | None:
        """What was sent, if an hour of the wall clock is full; otherwise None."""
        full = _hour(self._clock.now()) != _hour(self._since)
        return self.take() if full else None

    def take(self) -> Sent:
        """What was sent, however long that is; the next answer begins here."""
        total: Counter[str] = Counter()
        for (cause, command), count in self._counts().items():
            if is_billed(command):
                total[cause] += count
        sent = Sent(
            self._since.isoformat(timespec="milliseconds"),
            dict(sorted((total - self._said).items())),
        )
        self._since, self._said = self._clock.now(), total
        return sent

    def next_hour(self) -> datetime:
        """When the hour that runs will be full."""
        return _hour(self._clock.now()) + HOUR


class Report:
    """The worker's lines, from an account of what it sends."""

    def __init__(self, worker: str, account: Account) -> None:
        self._worker = worker
        self._account = account

    def look(self) -> datetime:
        """Say it if an hour is full; when to look again."""
        sent = self._account.due()
        if sent is not None:
            self._say(sent)
        return self._account.next_hour()

    def say(self) -> None:
        """One line, however long the last one is ago."""
        self._say(self._account.take())

    def _say(self, sent: Sent) -> None:
        log.info(
            "worker_report",
            worker=self._worker,
            since=sent.since,
            polls=sent.polls,
            commands=sent.commands,
            billed=sent.billed,
        )


class AtTheEnd(bootsteps.StartStopStep):
    """A step that ends after all others: Celery sends no signal of a cold end."""

    def __init__(self, worker: Any, last: Callable[[], None]) -> None:
        super().__init__(worker)
        self._last = last

    def terminate(self, worker: Any) -> None:
        """Nothing is sent any more."""
        self._last()


class Hourly(bootsteps.StartStopStep):
    """Starts the timer when the pool has forked; the last line comes after all else."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        account = Account(ledger.counts, system_clock)
        self.report = Report(worker.hostname, account)
        self._rounds = Rounds(self.report.look)

    def include(self, parent: Any) -> bool:
        """Take a second place, where the last line has its turn when all else ended."""
        included = bool(super().include(parent))
        if included:
            parent.steps.insert(0, AtTheEnd(parent, self._last))
        return included

    def start(self, worker: Any) -> None:
        """Begin; the first line comes when the hour is full."""
        signals.worker_shutdown.connect(self._last, weak=False)
        self._rounds.start()

    def stop(self, worker: Any) -> None:
        """No line by the clock any more."""
        self._rounds.stop()

    terminate = stop

    def _last(self, **_: Any) -> None:
        if signals.worker_shutdown.disconnect(self._last):
            self.report.say()


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
