"""The last lines that a run of a job logs, kept in memory while it runs."""

import logging
import sys
import threading
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Self

from smartworker.logs import Redactor

LINES = 20
#: Characters of a line.
WIDTH = 200
#: Bytes of all lines.
MOST = 4096

#: Fields of our events that stand elsewhere: in front, or in the record of the run.
_KNOWN = {"event", "level", "timestamp", "task_id", "task", "job", "trigger_id"}
_EXCEPTIONS = {"exc_info", "stack_info"}

_current: ContextVar["Tail | None"] = ContextVar("tail", default=None)


class Tail:
    """Keeps the last lines logged by whoever starts it, without secrets.

    It belongs to the thread, or the green thread, that has started it. While none is
    kept, logging costs what it always costs.
    """

    def __init__(self, redactor: Redactor, without: Collection[str] = ()) -> None:
        self._redactor = redactor
        self._without = without
        self._lines: deque[str] = deque(maxlen=LINES)
        self._outer: Tail | None = None

    def start(self) -> Self:
        """Keep lines from now on."""
        self._outer = _current.get()
        _current.set(self)
        _collector.join()
        return self

    def stop(self) -> tuple[str, ...]:
        """Keep no more; returns the last lines."""
        if _current.get() is self:
            _current.set(self._outer)
        _collector.leave()
        return self.lines()

    def lines(self) -> tuple[str, ...]:
        """The last lines, as many as there is room for."""
        kept: list[str] = []
        room = MOST
        for line in reversed(self._lines):
            room -= len(line.encode())
            if room < 0:
                break
            kept.append(line)
        return tuple(reversed(kept))

    def add(self, record: logging.LogRecord) -> None:
        """Keep what a record says."""
        if record.name in self._without:
            return
        # Cleaned as a whole: a cut must not leave half a secret.
        text = self._redactor.clean(_text(record))
        self._lines.extend(brief(line) for line in text.splitlines()[-LINES:] if line)


class _Collector(logging.Handler):
    """Gives each record to the tail of its thread; is there only while one is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = 0
        self._counting = threading.Lock()

    def join(self) -> None:
        """One more tail is kept."""
        with self._counting:
            self._kept += 1
            # Also for the second one: logging may have been configured meanwhile.
            logging.getLogger().addHandler(self)

    def leave(self) -> None:
        """One tail less."""
        with self._counting:
            self._kept -= 1
            if not self._kept:
                logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: a line that cannot be shown is left out."""
        tail = _current.get()
        if tail is not None:
            with suppress(Exception):
                tail.add(record)


_collector = _Collector()


def brief(text: str, width: int = WIDTH) -> str:
    """One line of at most so many characters, in which nothing steers a terminal."""
    cut = text if len(text) <= width else text[: width - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else " " for char in cut)


def _text(record: logging.LogRecord) -> str:
    """Time, level, and what is said; a traceback follows on lines of its own."""
    moment = datetime.fromtimestamp(record.created, UTC)
    event: Any = record.msg
    if isinstance(event, dict):
        said = " ".join([str(event.get("event")), *_fields(event)])
        info = event.get("exc_info")
    else:
        said, info = record.getMessage(), record.exc_info
    text = f"{moment:%H:%M:%S} {record.levelname} {said}"
    trace = _traceback(info)
    return f"{text}\n{trace}" if trace else text


def _fields(event: dict[str, Any]) -> list[str]:
    return [
        f"{name}={value}"
        for name, value in event.items()
        if name not in _KNOWN | _EXCEPTIONS
    ]


def _traceback(info: Any) -> str:
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    elif info is True:
        info = sys.exc_info()
    if not isinstance(info, tuple) or info[0] is None:
        return ""
    return logging.Formatter().formatException(info)
