"""What a call may pass to the task: pydantic's types, and an error for each field."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from inspect import isroutine
from typing import Any

from cachetools import LRUCache
from pydantic import TypeAdapter, ValidationError

from smartworker.cron.registry import Job
from smartworker.errors import JobError
from smartworker.web.problems import Problem

MOST_ERRORS = 20
LONGEST_SHOWN = 100
# Outside of these years the arithmetic of time zones overflows.
YEARS = range(1900, 3000)
OURS = "sync"


@dataclass(frozen=True)
class Form:
    """The parameters of one job."""

    job: Job
    adapters: Mapping[str, TypeAdapter[Any]]
    required: frozenset[str]

    def read(
        self, query: Iterable[tuple[str, str]], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The arguments, as plain JSON. Raises Problem 422 with a list of errors."""
        errors: list[dict[str, str]] = []
        found: dict[str, Any] = {}
        given: set[str] = set()
        sent = [(name, value, False) for name, value in query if name != OURS]
        sent += [(name, value, True) for name, value in body.items()]
        for name, value, is_json in sent:
            if name in given:
                errors.append(_error(name, "is given twice"))
            elif name not in self.adapters:
                errors.append(_error(name, f"is no parameter of {self.job.name}"))
            else:
                try:
                    found[name] = _read(self.adapters[name], value, is_json)
                except ValidationError as error:
                    errors += _errors(name, error)
                except (ArithmeticError, ValueError) as error:
                    errors.append(_error(name, str(error)))
            given.add(name)
        errors += [
            _error(name, "is missing")
            for name in self.adapters
            if name in self.required - given
        ]
        if errors:
            first = f"{errors[0]['field']} {errors[0]['message']}"
            raise Problem(
                422,
                f"The parameters cannot be taken: {first}.",
                extra={"errors": errors[:MOST_ERRORS]},
            )
        return found


_forms: LRUCache[int, Form] = LRUCache(1024)


def form_of(job: Job) -> Form:
    """The form of a job, made once. Raises JobError for a type that is none."""
    form = _forms.get(id(job))
    # The form holds its job, so the id cannot belong to another one meanwhile.
    if form is None:
        form = _forms[id(job)] = _form(job)
    return form


def read_parameters(
    job: Job, query: Iterable[tuple[str, str]], body: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments that a call passes to the task of this job, as plain JSON.

    JSON types are taken strictly; texts of a query are read. What may be None may be
    left out. Raises Problem 422 with a list of errors.
    """
    return form_of(job).read(query, body)


def check_parameters(jobs: Iterable[Job]) -> None:
    """Refuse at the start what is no type. Raises JobError."""
    for job in jobs:
        form_of(job)


def schemas(job: Job) -> dict[str, dict[str, Any]]:
    """The JSON schema of each parameter; an empty one for a type that has none."""
    return {name: _schema(each) for name, each in form_of(job).adapters.items()}


def _form(job: Job) -> Form:
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, annotation in job.parameters.items():
        if name == OURS:
            raise JobError(
                f"The job {job.name!r} has the parameter {OURS!r}, which asks for the "
                "result at once: give it another name."
            )
        try:
            if isroutine(annotation):  # pydantic would call it with what comes
                raise TypeError("it is a function")
            adapters[name] = TypeAdapter(annotation)
            _allows_none(adapters[name])
        # Types are anybody's code, and pydantic has errors of many kinds.
        except Exception as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise JobError(
                f"The job {job.name!r} has the parameter {name!r} of "
                f"{annotation!r}, which is no type that can be checked: {reason}."
            ) from error
    required = {name for name, each in adapters.items() if not _allows_none(each)}
    return Form(job, adapters, frozenset(required))


def _allows_none(adapter: TypeAdapter[Any]) -> bool:
    try:
        adapter.validate_python(None)
    except ValidationError:
        return False
    return True


def _read(adapter: TypeAdapter[Any], value: Any, is_json: bool) -> Any:
    if is_json:
        # As JSON again: only there strict types still take a date from a text.
        checked = adapter.validate_json(json.dumps(value), strict=True)
    else:
        checked = adapter.validate_strings(value)
    _check(checked)
    plain = adapter.dump_python(checked, mode="json")
    if isinstance(checked, set | frozenset):
        # Each process has an order of its own, and the id follows from the parameters.
        plain = sorted(plain, key=json.dumps)
    json.dumps(plain, allow_nan=False)
    return plain


def _check(value: Any) -> None:
    if isinstance(value, float) and value - value != 0:
        raise ValueError("must be a finite number")
    if isinstance(value, date) and value.year not in YEARS:
        raise ValueError(f"must be in the years {YEARS[0]} to {YEARS[-1]}")
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for member in value:
            _check(member)


def _errors(name: str, error: ValidationError) -> list[dict[str, str]]:
    # Without the input: it may be long, or a secret in the wrong field.
    details = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    return [
        _error(".".join(map(str, (name, *each["loc"]))), _lower(each["msg"]))
        for each in details[:MOST_ERRORS]
    ]


def _error(field: str, message: str) -> dict[str, str]:
    shown = field if len(field) <= LONGEST_SHOWN else field[:LONGEST_SHOWN] + "..."
    return {"field": shown, "message": message}


def _lower(message: str) -> str:
    message = message.replace("Input should", "must", 1)
    return message[:1].lower() + message[1:]


def _schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    try:
        return adapter.json_schema()
    except Exception:  # a type of its own may have none
        return {}
