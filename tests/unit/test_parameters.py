"""What a call may pass to the task: pydantic's types, and an error for each field."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, Field

from smartworker.cron.registry import Job
from smartworker.errors import JobError
from smartworker.web.parameters import (
    MOST_ERRORS,
    check_parameters,
    form_of,
    read_parameters,
    schemas,
)
from smartworker.web.problems import Problem


class Lane(Enum):
    """A type of the standard library."""

    FAST = "fast"
    SLOW = "slow"


class Swimmer(BaseModel):
    """A model inside a parameter."""

    name: str
    age: Annotated[int, Field(ge=0, le=150)] = 30


@dataclass
class Place:
    """A dataclass inside a parameter."""

    x: float
    y: float


def job(**parameters: Any) -> Job:
    """A job with these parameters."""
    return Job(name="book", task="swim.book", parameters=parameters)


def read(job: Job, *query: tuple[str, str], **body: Any) -> dict[str, Any]:
    """The arguments that a call with this query and body passes."""
    return read_parameters(job, query, body)


def errors(job: Job, *query: tuple[str, str], **body: Any) -> dict[str, str]:
    """The errors of a call, by field."""
    with pytest.raises(Problem) as caught:
        read(job, *query, **body)
    problem = caught.value
    assert problem.status == 422
    assert problem.extra is not None
    found = problem.extra["errors"]
    first = f"{found[0]['field']} {found[0]['message']}"
    assert problem.detail == f"The parameters cannot be taken: {first}."
    return {each["field"]: each["message"] for each in found}


@pytest.mark.parametrize(
    ("annotation", "value", "plain"),
    [
        (str, "x", "x"),
        (int, 3, 3),
        (int, 10**30, 10**30),
        (float, 3, 3.0),
        (float, 2.5, 2.5),
        (bool, True, True),
        (date, "2026-11-22", "2026-11-22"),
        (AwareDatetime, "2026-11-22T12:00:00+01:00", "2026-11-22T12:00:00+01:00"),
        (timedelta, "PT5M", "PT5M"),
        (Decimal, "1.10", "1.10"),
        (UUID, "6f9619ff-8b86-d011-b42d-00c04fc964ff", None),
        (Lane, "fast", "fast"),
        (Literal["a", "b"], "a", "a"),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, str], [1, "a"], [1, "a"]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Swimmer, {"name": "Ada"}, {"name": "Ada", "age": 30}),
        (Place, {"x": 1, "y": 2}, {"x": 1.0, "y": 2.0}),
        (int | None, None, None),
        (Any, {"a": [None, 1.5]}, {"a": [None, 1.5]}),
    ],
)
def test_a_body_gives_plain_json(annotation: Any, value: Any, plain: Any) -> None:
    """Checked by the type, and handed on as JSON knows it."""
    expected = value if plain is None else plain
    assert read(job(a=annotation), a=value) == {"a": expected}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, 1),
        (int, "3"),
        (int, 3.0),
        (int, True),
        (int, None),
        (float, "2.5"),
        (bool, 1),
        (bool, "true"),
        (date, 20261122),
        (date, "22.11.2026"),
        (list[int], "1"),
        (list[int], [1, "2"]),
        (dict[str, int], []),
        (Swimmer, {"name": "Ada", "age": -1}),
        (Swimmer, []),
        (Lane, "middle"),
        (UUID, "x"),
        (Decimal, "NaN"),
        (float, "Infinity"),
    ],
)
def test_json_types_are_taken_strictly(annotation: Any, value: Any) -> None:
    """A number in quotes is a text."""
    found = errors(job(a=annotation), a=value)
    assert all(field.partition(".")[0] == "a" for field in found)


@pytest.mark.parametrize(
    ("annotation", "text", "plain"),
    [
        (str, "", ""),
        (str, "3", "3"),
        (int, "3", 3),
        (float, "2.5", 2.5),
        (bool, "true", True),
        (bool, "0", False),
        (date, "2026-11-22", "2026-11-22"),
        (AwareDatetime, "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"),
        (Lane, "slow", "slow"),
        (int | None, "3", 3),
        (Decimal, "1.10", "1.10"),
    ],
)
def test_texts_of_a_query_are_read(annotation: Any, text: str, plain: Any) -> None:
    """There are no types in an address."""
    assert read(job(a=annotation), ("a", text)) == {"a": plain}


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, ""),
        (int, "x"),
        (int, "1.5"),
        (int, "9" * 5000),
        (float, "nan"),
        (float, "inf"),
        (float, "1e400"),
        (float | None, "-Infinity"),
        (bool, "maybe"),
        (list[int], "1"),
    ],
)
def test_texts_that_are_none_are_refused(annotation: Any, text: str) -> None:
    """Numbers without an end among them."""
    assert list(errors(job(a=annotation), ("a", text))) == ["a"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Annotated[float, Field(ge=0)], -1),
        (Annotated[float, Field(ge=0, le=86_400)], 1e308),
        (Annotated[int, Field(ge=0)], -1),
        (timedelta, "P999999999999D"),
        (timedelta, 1e308),
        (AwareDatetime, "2026-11-22T12:00:00"),
        (AwareDatetime, "0001-01-01T00:00:00+14:00"),
        (AwareDatetime, "9999-12-31T23:59:59-12:00"),
        (AwareDatetime, "10000-01-01T00:00:00Z"),
        (date, "0001-01-01"),
        (date, "9999-12-31"),
        (date, "2026-02-29"),
        (list[date], ["2026-11-22", "0001-01-01"]),
        (dict[str, date], {"a": "9999-12-31"}),
    ],
)
def test_values_out_of_range_are_refused(annotation: Any, value: Any) -> None:
    """By the type, or because no zone can tell such a time."""
    found = errors(job(a=annotation), a=value)
    assert [field.partition(".")[0] for field in found] == ["a"]


def test_a_set_has_one_order() -> None:
    """Two processes must give the same call the same id."""
    shops = {"shops": [f"shop {number}" for number in range(30, 9, -1)]}
    read = read_parameters(job(shops=set[str]), [], shops)
    assert read["shops"] == sorted(shops["shops"])


def test_what_may_be_none_may_be_left_out() -> None:
    """It is left out of the arguments too: the task has its own default."""
    both = job(day=date, lane=Lane | None, note=str | None)
    assert read(both, day="2026-11-22") == {"day": "2026-11-22"}
    assert read(both, day="2026-11-22", note=None) == {
        "day": "2026-11-22",
        "note": None,
    }
    assert errors(both, lane="fast") == {"day": "is missing"}
    assert errors(both) == {"day": "is missing"}


def test_a_query_and_a_body_go_together() -> None:
    """Each with its own rules, and no name in both."""
    both = job(day=date, count=int)
    expected = {"day": "2026-11-22", "count": 2}
    assert read(both, ("day", "2026-11-22"), count=2) == expected
    assert read(both, ("count", "2"), day="2026-11-22") == expected
    assert errors(both, ("count", "2"), day="2026-11-22", count=2) == {
        "count": "is given twice"
    }
    twice = [("count", "2"), ("count", "3"), ("day", "2026-11-22")]
    assert errors(both, *twice) == {"count": "is given twice"}


def test_a_job_without_parameters_takes_none() -> None:
    """Whatever comes is named."""
    assert read(job()) == {}
    assert read(job(), ("sync", "true")) == {}
    assert errors(job(), ("day", "x")) == {"day": "is no parameter of book"}
    assert errors(job(), sync=True) == {"sync": "is no parameter of book"}
    assert errors(job(), ("a", "1"), b=2) == {
        "a": "is no parameter of book",
        "b": "is no parameter of book",
    }


def test_errors_are_short() -> None:
    """Not one for each of a thousand fields, no long name, and never the value."""
    long = errors(job(), ("x" * 10_000, "1"))
    assert list(long) == ["x" * 100 + "..."]
    many = errors(job(), *[(f"f{number}", "1") for number in range(1000)])
    assert len(many) == MOST_ERRORS
    nested = errors(job(a=list[int]), a=["hunter2"] * 60)
    assert len(nested) == MOST_ERRORS
    assert "hunter2" not in str(nested)


def test_errors_say_where_inside_a_value() -> None:
    """The field of a field, in sentences that begin with its name."""
    found = errors(job(who=Swimmer), who={"name": 1, "age": 200, "mail": "x"})
    assert found == {
        "who.name": "must be a valid string",
        "who.age": "must be less than or equal to 150",
    }


@pytest.mark.parametrize(
    "name", ["json", "copy", "model_config", "_private", "class", "größe"]
)
def test_any_argument_name_works(name: str) -> None:
    """Also those that mean something to pydantic."""
    assert read(job(**{name: int}), **{name: 1}) == {name: 1}


@pytest.mark.parametrize("annotation", [1, "no such type", object(), lambda: None])
def test_what_is_no_type_is_refused_at_the_start(annotation: Any) -> None:
    """The sentence names the job and the parameter."""
    wrong = job(a=annotation)
    with pytest.raises(JobError, match="The job 'book' has the parameter 'a' of"):
        check_parameters([job(a=int), wrong])


def test_a_parameter_is_not_called_sync() -> None:
    """That word asks for the result."""
    with pytest.raises(JobError, match="give it another name"):
        check_parameters([job(sync=bool)])


def test_a_form_is_made_once() -> None:
    """Building one costs milliseconds."""
    one, other = job(a=int), job(a=int)
    assert form_of(one) is form_of(one)
    assert form_of(one) is not form_of(other)


def test_each_parameter_has_a_schema() -> None:
    """For the description of the endpoints."""
    found = schemas(job(count=Annotated[int, Field(ge=1)], day=date))
    assert found == {
        "count": {"minimum": 1, "type": "integer"},
        "day": {"format": "date", "type": "string"},
    }
    assert schemas(job(lane=Lane))["lane"]["enum"] == ["fast", "slow"]
