"""The ledger: every command that leaves this process, by cause and name.

It counts at the connection, so nothing escapes it, and its sum equals what the
server's `INFO commandstats` says. One ledger per process, as there is one bill.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Counts = Counter[tuple[str, str]]

# What Upstash does not bill, from its documentation.
UNBILLED = frozenset(
    {"auth", "command", "config", "hello", "info", "ping", "quit", "select"}
)
# Commands that INFO commandstats lists by their subcommand since Redis 7.
CONTAINERS = frozenset(
    {"acl", "client", "config", "function", "memory", "object", "pubsub", "script"}
)

_cause: ContextVar[str] = ContextVar("cause", default="other")
_exceptions: ContextVar[Mapping[str, str]] = ContextVar("exceptions")


@contextmanager
def because(cause: str, **exceptions: str) -> Iterator[None]:
    """Book the commands sent inside the block on `cause`.

    `exceptions` books single commands elsewhere, by lower-case name:
    `because("take", lrem="done")`.
    """
    outer, outer_exceptions = _cause.set(cause), _exceptions.set(exceptions)
    try:
        yield
    finally:
        _cause.reset(outer)
        _exceptions.reset(outer_exceptions)


def command_name(arguments: Iterable[object]) -> str:
    """The name of a command as `INFO commandstats` writes it: `config|get`."""
    words: list[str] = []
    for argument in arguments:
        text = argument.decode() if isinstance(argument, bytes) else str(argument)
        words += text.lower().split()[:2]
        if len(words) >= 2 or words[0] not in CONTAINERS:
            break
    return "|".join(words[:2]) if words[0] in CONTAINERS else words[0]


def is_billed(command: str) -> bool:
    """Whether Upstash bills a command, named as in the ledger."""
    return command.partition("|")[0] not in UNBILLED


class Ledger:
    """Counts commands; safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counts = Counter()
        self._lock = threading.Lock()
        self._fresh = 0
        self._most = 0
        self._alarm: Callable[[], object] | None = None

    def book(self, commands: Iterable[str]) -> None:
        """Add commands that were sent, on the cause of the running block."""
        cause, exceptions = _cause.get(), _exceptions.get({})
        with self._lock:
            for command in commands:
                self._counts[exceptions.get(command, cause), command] += 1
                self._fresh += is_billed(command)
        self._look()

    def merge(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add what another process counted, or what `drain` took too early."""
        with self._lock:
            self._counts.update(counts)
            self._fresh += sum(n for (_, name), n in counts.items() if is_billed(name))
        self._look()

    def watch(self, most: int, alarm: Callable[[], object] | None) -> None:
        """Call `alarm` with each command while `most` billed ones are not settled.

        It is called in the thread of whoever sends, so it must be quick. Begins now,
        and takes the place of an earlier one.
        """
        with self._lock:
            self._fresh, self._most, self._alarm = 0, most, alarm

    def unwatch(self, alarm: Callable[[], object]) -> None:
        """Do not call this one any more."""
        with self._lock:
            if self._alarm == alarm:
                self._alarm = None

    @property
    def fresh(self) -> int:
        """The billed commands that are not settled."""
        return self._fresh

    def settle(self, count: int) -> None:
        """So many billed commands are recorded somewhere else."""
        with self._lock:
            self._fresh -= count

    def counts(self) -> Counts:
        """All counts, as they are now."""
        with self._lock:
            return self._counts.copy()

    def _look(self) -> None:
        alarm = self._alarm
        if alarm is not None and self._fresh >= self._most:
            alarm()

    def drain(self) -> Counts:
        """Take all counts out; the ledger starts again from nothing."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def by_cause(self) -> dict[str, dict[str, int]]:
        """{cause: {command: count}}, sorted."""
        table: dict[str, dict[str, int]] = {}
        with self._lock:
            for (cause, command), count in sorted(self._counts.items()):
                table.setdefault(cause, {})[command] = count
        return table

    def by_command(self) -> dict[str, int]:
        """{command: count}, named as in `INFO commandstats`."""
        total: Counter[str] = Counter()
        with self._lock:
            for (_, command), count in self._counts.items():
                total[command] += count
        return dict(total)

    def billed(self) -> int:
        """The number of commands that Upstash bills."""
        counts = self.by_command().items()
        return sum(count for command, count in counts if is_billed(command))

    def forget(self) -> None:
        """Start from nothing, with a new lock: for a process just forked."""
        self._lock = threading.Lock()
        self._counts = Counter()
        self.watch(0, None)


ledger = Ledger()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ledger.forget)
