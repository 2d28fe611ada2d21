"""What the endpoints of the sync example take."""

from typing import Any

import pytest

from smartworker.examples.sync.forms import (
    Form,
    Invalid,
    NewSchedule,
    Person,
    move,
    new_schedule,
    trade,
)

GOOD = {"event_id": "E-1", "employee_id": "ann", "start": "2026-11-21T09:30"}


def test_a_schedule() -> None:
    """Numbers become texts, blanks at the ends go, the time gets its offset."""
    assert new_schedule({**GOOD, "event_id": 17, "employee_id": " ann "}) == (
        NewSchedule("17", Person("ann"), "2026-11-21T09:30:00-05:00")
    )
    named = new_schedule({**GOOD, "employee_name": "Ann Lee"})
    assert named.person == Person("ann", "Ann Lee")


def test_all_wrong_fields_are_named_at_once() -> None:
    """So that nobody mends them one by one."""
    with pytest.raises(Invalid) as refused:
        new_schedule({"employee_id": [], "start": 7})
    assert set(refused.value.fields) == {"event_id", "employee_id", "start"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", "  "),
        ("event_id", True),
        ("event_id", "x" * 65),
        ("event_id", "a\x00b"),
        ("employee_id", {"id": 1}),
        ("employee_name", 5.5),
        ("employee_name", "n" * 201),
        ("start", "2026-13-01"),
        ("start", "tomorrow"),
        ("start", "2026-03-08T02:30"),
        ("start", "2026-11-01T01:30"),
        ("start", None),
    ],
)
def test_wrong_values(field: str, value: Any) -> None:
    """The field is named, with a sentence; times that are not or come twice, too."""
    with pytest.raises(Invalid) as refused:
        new_schedule({**GOOD, field: value})
    assert list(refused.value.fields) == [field]
    assert refused.value.fields[field].endswith(".")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-04:00"),
        ("2026-07-04T09:30", "2026-07-04T09:30:00-04:00"),
        ("2026-11-21T09:30:15.5Z", "2026-11-21T09:30:15+00:00"),
    ],
)
def test_times(text: str, start: str) -> None:
    """Eastern unless an offset is there."""
    assert new_schedule({**GOOD, "start": text}).start == start


def test_a_move_may_name_somebody() -> None:
    """Employee and time are both optional to the third party; here the time is not."""
    assert move(Form(GOOD)).person == Person("ann")
    assert move(Form({"start": "2026-11-21T09:30"})).person is None
    with pytest.raises(Invalid):
        move(Form({"employee_id": "ann"}))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"schedule_id", "other_schedule_id"}),
        ({"schedule_id": 1, "other_schedule_id": "one"}, {"other_schedule_id"}),
        ({"schedule_id": 1, "other_schedule_id": 1.0}, {"other_schedule_id"}),
        ({"schedule_id": 1, "other_schedule_id": "1"}, {"other_schedule_id"}),
        (
            {"schedule_id": 10**22, "other_schedule_id": "1" * 23},
            {"schedule_id", "other_schedule_id"},
        ),
        (
            {"schedule_id": 0, "other_schedule_id": -1},
            {"schedule_id", "other_schedule_id"},
        ),
    ],
)
def test_wrong_trades(body: dict[str, Any], fields: set[str]) -> None:
    """Two numbers, and not the same."""
    with pytest.raises(Invalid) as refused:
        trade(body)
    assert set(refused.value.fields) == fields


def test_a_trade() -> None:
    """Digits in a text will do."""
    assert trade({"schedule_id": "1", "other_schedule_id": 2}) == (1, 2)
