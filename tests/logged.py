"""Whether a line that smartworker logged is one that its table of events knows."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from smartworker.event_fields import BOUND, EVERYWHERE
from smartworker.events import EVENTS

ALWAYS = {*BOUND, *EVERYWHERE, "exception"}
#: What structlog's calls take for themselves.
CONTROL = {"exc_info", "stack_info"}


def strange(line: Mapping[str, Any], bound: Collection[str] = ()) -> str | None:
    """What is wrong with a line of ours; None if it is as the table says.

    `bound` are the names of fields that somebody else put on every line.
    """
    name = line.get("event")
    event = EVENTS.get(str(name))
    if event is None:
        return f"the event {name!r} is not in the table"
    unknown = sorted({*line} - {*event.fields} - ALWAYS - CONTROL - {*bound})
    if unknown:
        return f"{name} has fields that its entry lacks: {unknown}"
    if line.get("level", event.level) != event.level:
        return f"{name} is logged as {line['level']}, its entry says {event.level}"
    return None


def is_ours(line: Mapping[str, Any]) -> bool:
    """Whether a line of a process is an event of ours: others name their logger."""
    return bool(line.get("event")) and "level" in line and "logger" not in line


class Watch:
    """Collects what is wrong with the lines of the loggers below a name."""

    def __init__(self, name: str = "smartworker") -> None:
        self.complaints: list[str] = []
        self._within = f"{name}."

    @contextmanager
    def on(self) -> Iterator["Watch"]:
        """Look at every line; a handler would stand in for that of the program."""
        make = logging.getLogRecordFactory()

        def look(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            if f"{record.name}.".startswith(self._within):
                self._look(record)
            return record

        logging.setLogRecordFactory(look)
        try:
            yield self
        finally:
            logging.setLogRecordFactory(make)

    def _look(self, record: logging.LogRecord) -> None:
        # An event of ours is still a dictionary here.
        if isinstance(record.msg, dict):
            complaint = strange(record.msg, structlog.contextvars.get_contextvars())
        else:
            complaint = f"a sentence is no event: {record.msg!r}"
        if complaint:
            self.complaints.append(f"{record.name}: {complaint}")
