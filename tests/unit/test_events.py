"""The table of events and the code agree, in both directions."""

import ast
import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import smartworker
from smartworker.event_fields import BOUND, EVERYWHERE
from smartworker.events import EVENTS, FIELDS
from smartworker.logs import bind, get_logger, reset
from tests.logged import Watch

ROOT = Path(smartworker.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
#: Bound once for a task or a request, so every line inside carries them.
COMMON = {*BOUND}
#: Keywords of the logging call itself.
CONTROL = {"exc_info", "stack_info"}

Found = tuple[str, str, set[str], str]
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}


def is_logger(node: ast.expr) -> bool:
    """Whether this is a name that our modules give to their logger."""
    return isinstance(node, ast.Name) and node.id in {"log", "logger", "_log"}


def returned_keys(module: str, name: str) -> set[str]:
    """The keys of the dictionary that a function of a sibling module returns."""
    (function,) = (
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    tables = (
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict)
    )
    return {ast.literal_eval(key) for table in tables for key in table.keys if key}


def field_names(module: str, call: ast.Call) -> set[str]:
    """The keywords of a call, those of `**sibling.function()` included."""
    names = set()
    for keyword in call.keywords:
        if keyword.arg is not None:
            names.add(keyword.arg)
            continue
        value = keyword.value
        assert isinstance(value, ast.Call), f"{module}: ** of an unknown dictionary"
        assert isinstance(value.func, ast.Attribute)
        assert isinstance(value.func.value, ast.Name)
        sibling = module.rpartition("/")[0] + f"/{value.func.value.id}.py"
        found = returned_keys(sibling, value.func.attr)
        assert found, f"{module}: ** of a call whose fields are unknown"
        names |= found
    return names - CONTROL


def logged() -> Iterator[Found]:
    """(module, event, fields, level) of every line that our code logs."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and is_logger(node.func.value)
            ):
                name = node.args[0] if node.args else None
                assert isinstance(name, ast.Constant), f"{module}:{node.lineno}"
                fields = field_names(module, node)
                where, level = f"{module}:{node.lineno}", node.func.attr
                yield where, str(name.value), fields, level


def test_the_search_finds_lines() -> None:
    """Lines of all packages are seen, and the fields of `**summary()` too."""
    found = {event: fields for _, event, fields, _ in logged()}
    assert len(found) >= 12
    assert {"worker", "queues", "doorbell", "poll_seconds"} <= found["worker_ready"]
    assert found["broker_lost"] == {
        "kind",
        "error",
        "advice",
        "retry_seconds",
    }


def test_every_logged_event_is_in_the_table() -> None:
    """No line without an entry: a review would not know it."""
    assert [where for where, event, *_ in logged() if event not in EVENTS] == []


def test_every_logged_field_is_in_its_event() -> None:
    """No field without an entry, apart from those that every line may carry."""
    unknown = {
        f"{where} {event}": sorted(fields - set(EVENTS[event].fields) - COMMON)
        for where, event, fields, _ in logged()
        if event in EVENTS
    }
    assert {where: names for where, names in unknown.items() if names} == {}


def test_every_event_of_the_table_is_logged() -> None:
    """The table promises nothing that nobody says."""
    assert sorted(set(EVENTS) - {event for _, event, *_ in logged()}) == []


def test_every_field_of_the_table_is_logged() -> None:
    """Each own field of an event is given by at least one of its lines."""
    given: defaultdict[str, set[str]] = defaultdict(set)
    for _, event, fields, _ in logged():
        given[event] |= fields | COMMON
    missing = {
        name: sorted(set(event.fields) - given[name])
        for name, event in EVENTS.items()
        if set(event.fields) - given[name]
    }
    assert missing == {}


def test_entries_are_well_formed() -> None:
    """Names in snake case, fields once each, the meaning a sentence."""
    for name, event in EVENTS.items():
        assert name == event.name
        assert name.replace("_", "").isalpha()
        assert name.islower()
        assert len(set(event.fields)) == len(event.fields)
        assert event.meaning[0].isupper() or event.meaning[0] == "`"
        assert event.meaning.endswith(".")


def test_every_line_is_as_loud_as_its_entry() -> None:
    """The level of a line stands in the table: a review need not guess."""
    wrong = [
        f"{where} {event}: {level}"
        for where, event, _, level in logged()
        if event in EVENTS
        and EVENTS[event].level != level.replace("exception", "error")
    ]
    assert wrong == []


def test_every_field_has_a_unit() -> None:
    """One entry for each name, and none for a name that no line has."""
    used = {name for event in EVENTS.values() for name in event.fields}
    always = {*BOUND, *EVERYWHERE, "logger", "exception"}
    assert sorted(FIELDS) == sorted(used | always)


def test_a_field_that_says_its_unit_has_it() -> None:
    """What ends with `seconds` is in seconds, what ends with `_at` a moment."""
    for name, field in FIELDS.items():
        assert (field.unit == "s") == name.endswith("seconds"), name
        assert (field.unit == "ISO 8601") >= name.endswith("_at"), name
        assert field.meaning
        assert not field.meaning.endswith(".")


@pytest.mark.parametrize(
    ("event", "fields", "complaint"),
    [
        ("job_vanished", {}, "the event 'job_vanished' is not in the table"),
        ("job_paused", {"because": 1}, "job_paused has fields that its entry lacks"),
        ("job_paused", {"job": "book", "exc_info": True}, None),
        ("job_resumed", {}, "job_resumed is logged as warning, its entry says info"),
    ],
)
def test_a_line_that_the_table_does_not_know_is_noticed(
    event: str, fields: dict[str, Any], complaint: str | None
) -> None:
    """While tests run: an event, a field or a level that no entry has."""
    bound = bind(users_own=1)
    # Whatever level the root logger was left with.
    logging.getLogger("elsewhere").setLevel(logging.INFO)
    with Watch("elsewhere").on() as watch:
        get_logger("elsewhere.module").warning(event, **fields)
    reset(bound)
    said = "".join(watch.complaints)
    assert said.startswith(f"elsewhere.module: {complaint}" if complaint else "")
    assert bool(said) == bool(complaint)


def test_a_sentence_is_no_event() -> None:
    """A module of ours that uses the plain logging is noticed, too."""
    # Whatever level the root logger was left with.
    logging.getLogger("elsewhere").setLevel(logging.INFO)
    with Watch("elsewhere").on() as watch:
        logging.getLogger("elsewhere.plain").warning("it went wrong")
        logging.getLogger("elsewhere_not").warning("it went wrong")
    assert watch.complaints == [
        "elsewhere.plain: a sentence is no event: 'it went wrong'"
    ]
