"""The parameters of a job, as they are given on a command line."""

import json
from collections.abc import Iterable
from typing import Any

import click

from smartworker.cron.registry import Job
from smartworker.errors import SettingsError, SmartworkerError


class ParameterError(SmartworkerError):
    """A parameter cannot be taken."""

    exit_status = 2


def read_given(job: Job, given: Iterable[str]) -> dict[str, Any]:
    """The arguments for the task, checked as those of an HTTP call are.

    Raises ParameterError, and SettingsError if what checks them is not installed.
    """
    pairs = [_pair(text) for text in given]
    if not pairs and not job.parameters:
        return {}
    try:
        from smartworker.web.parameters import read_parameters
        from smartworker.web.problems import Problem
    except ImportError as error:
        raise SettingsError(
            f"Checking parameters needs {error.name}: install smartworker[web]."
        ) from error
    texts = [pair for pair in pairs if not isinstance(pair[1], dict | list)]
    values = {name: value for name, value in pairs if isinstance(value, dict | list)}
    try:
        return read_parameters(job, texts, values)
    except Problem as problem:
        raise ParameterError(problem.detail) from problem


def _pair(text: str) -> tuple[str, Any]:
    """The name and the value; a text that is a JSON list or object is one."""
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise click.UsageError(f"--param {text!r} is not written as NAME=VALUE.")
    if value[:1] in ("[", "{"):
        try:
            return name, json.loads(value)
        except (ValueError, RecursionError) as error:
            raise click.UsageError(f"--param {name} is no JSON: {error}.") from error
    return name, value
