"""The ledger: every command that leaves this process, by cause and name.

It counts at the connection, so nothing escapes it, and its sum equals what the
server's `INFO commandstats` says. One ledger per process, as there is one bill.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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

    def book(self, commands: Iterable[str]) -> None:
        """Add commands that were sent, on the cause of the running block."""
        cause, exceptions = _cause.get(), _exceptions.get({})
        with self._lock:
            for command in commands:
                self._counts[exceptions.get(command, cause), command] += 1

    def merge(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add what another process counted, or what `drain` took too early."""
        with self._lock:
            self._counts.update(counts)

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


ledger = Ledger()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ledger.forget)
