"""Texts for other programs, from the templates beside this module."""

import json
import shlex
from collections.abc import Callable
from importlib.resources import files
from textwrap import fill
from typing import TYPE_CHECKING, Any

from smartworker.errors import SettingsError

if TYPE_CHECKING:
    from jinja2 import Environment

WIDTH = 88


def environment(**filters: Callable[..., Any]) -> "Environment":
    """The templates with the filters that quote for each language, and these.

    Raises SettingsError without Jinja, which only `smartworker[web]` brings.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise SettingsError(
            "Files for other services are made with jinja2: install smartworker[web]."
        ) from error
    # What is made is YAML, shell and INI, each quoted by its own filter.
    made = Environment(  # noqa: S701
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        sh=shlex.quote,
        text=_json,
        words=shlex.join,
        comment=comment,
        cron=_cron,
        **filters,
    )
    return made


def comment(text: str, indent: int = 0) -> str:
    """The text as comment lines that begin with `#`."""
    start = " " * indent + "# "
    return fill(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """A value as JSON, which is also YAML."""
    return json.dumps(value)


def _cron(command: str) -> str:
    """A command in a crontab, where a bare % ends the line."""
    return command.replace("%", r"\%")
