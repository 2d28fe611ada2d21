"""What the roster service has to learn to be like us."""

from typing import Any

import pytest

from smartworker.examples.sync.changes import Action
from smartworker.examples.sync.refresh import differences

ROW = {
    "id": 1,
    "event": "E",
    "employee": "ann",
    "starts_at": "2026-11-21T09:30:00-05:00",
    "live": True,
}
THERE = {
    "id": "R1",
    "reference": "schedule-1",
    "employee": "ann",
    "starts_at": "2026-11-21T09:30:00-05:00",
}


@pytest.mark.parametrize(
    ("here", "there", "action", "fields"),
    [
        ({}, [], Action.CREATE, {"event", "employee", "starts_at"}),
        ({}, [{**THERE, "employee": "bo"}], Action.UPDATE, {"employee"}),
        ({}, [{**THERE, "employee": "", "starts_at": ""}], Action.UPDATE, None),
        ({"live": False}, [THERE], Action.DELETE, set()),
        ({}, [THERE], None, None),
        ({"live": False}, [], None, None),
        ({}, [THERE, {**THERE, "reference": "theirs"}], None, None),
    ],
)
def test_differences(
    here: dict[str, Any],
    there: list[dict[str, str]],
    action: Action | None,
    fields: set[str] | None,
) -> None:
    """Missing, other, and still there; what we never had is somebody else's."""
    found = differences({"schedule-1": {**ROW, **here}}, there)
    assert [each.action for each in found] == ([] if action is None else [action])
    if fields is not None:
        assert set(found[0].fields) == fields
