"""structlog's home: one JSON object a line, Celery's own loggers included."""

import logging
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

import structlog

from smartworker.events import EVENTS

# From the start of a word and never back into it: a long word takes no longer to
# search than to read.
_URL_PASSWORD = re.compile(r"((?<!\w)\w++://[^\s:/@]*:)[^\s/]*@")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s,;'\"]+")
_MASK = r"\1***@"

_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class Redactor:
    """Takes secrets out of everything that is logged, whoever logs it.

    Known secrets are replaced wherever they stand; passwords in URLs and bearer
    tokens are recognised by their form.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first: a secret may contain another one.
        self._secrets = sorted({s for s in secrets if len(s) >= 4}, key=len)[::-1]

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _BEARER.sub(r"\1***", _URL_PASSWORD.sub(_MASK, text))

    def value(self, value: Any) -> Any:
        """The value, with every text inside it cleaned."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.clean(str(value))

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """structlog's processor interface. The names of our own events stay whole."""
        name = event.get("event")
        cleaned = {key: self.value(item) for key, item in event.items()}
        return {**cleaned, "event": name} if name in EVENTS else cleaned


def configure(
    log_format: str = "json",
    secrets: Iterable[str] = (),
    level: int | str = logging.INFO,
    logfile: str | None = None,
) -> None:
    """Send every log line of this process to stderr, or a file, in one form.

    `level` is for the lines of others: our own events are shown from INFO on.
    Replaces the handlers of the root logger; safe to call again.
    """
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if log_format == "console"
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _drop_colours,
            structlog.processors.format_exc_info,
            Redactor(secrets),
            last,
        ],
    )
    if isinstance(sys.stderr, TextIOWrapper):
        # Windows has another encoding for what goes into a pipe or a file.
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = (
        logging.FileHandler(logfile, encoding="utf-8")
        if logfile
        else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    ours = logging.getLogger("smartworker")
    ours.setLevel(min(root.level, logging.INFO))
    logging.captureWarnings(True)
    _adopt_structlog()


def _adopt_structlog() -> None:
    """`structlog.get_logger()` of a user speaks as ours do, unless it is configured."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _drop_colours(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """uvicorn says everything twice, the second time with escape codes."""
    event.pop("color_message", None)
    return event


def get_logger(name: str) -> Any:
    """The logger of a module; its lines carry an event name of `events.EVENTS`.

    It speaks through the standard library, so a program that never calls
    `configure` decides by itself what to show.
    """
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def bind(**fields: Any) -> Any:
    """Add these fields to every line from here on; returns what `reset` takes."""
    return structlog.contextvars.bind_contextvars(**fields)


def reset(bound: Any) -> None:
    """Put the fields back as they were before `bind`."""
    structlog.contextvars.reset_contextvars(**bound)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line inside has these fields."""
    before = bind(**fields)
    try:
        yield
    finally:
        reset(before)


def bound_value(name: str) -> Any:
    """What every line from here has in this field; None if it has none."""
    return structlog.contextvars.get_contextvars().get(name)
