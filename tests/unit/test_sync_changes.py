"""Whose turn it is."""

from dataclasses import replace

import pytest

from smartworker.examples.sync.changes import Action, Change, State, Turn, turn_of

FIRST = Change(1, "schedule-7-1-a", "schedule", "7", 1, Action.CREATE, {})
SECOND = Change(2, "schedule-7-2-b", "schedule", "7", 2, Action.UPDATE, {})
DELETE = Change(3, "schedule-7-3-c", "schedule", "7", 3, Action.DELETE, {})


@pytest.mark.parametrize("state", [State.WAITING, State.QUEUED])
def test_the_first_may_go(state: State) -> None:
    """Also where its message is faster than the mark that it was sent."""
    assert turn_of(replace(FIRST, state=state), [FIRST, SECOND]) is Turn.APPLY


@pytest.mark.parametrize("state", [State.WAITING, State.QUEUED])
def test_no_one_overtakes(state: State) -> None:
    """Not while an earlier change waits or is on its way."""
    earlier = replace(FIRST, state=state)
    assert turn_of(SECOND, [earlier, SECOND]) is Turn.NOT_YET
    assert turn_of(DELETE, [earlier, DELETE]) is Turn.NOT_YET


@pytest.mark.parametrize("state", [State.DONE, State.REFUSED, State.OVERTAKEN])
def test_what_is_over_holds_nothing_back(state: State) -> None:
    """However it ended."""
    earlier = replace(FIRST, state=state)
    assert turn_of(SECOND, [earlier, SECOND]) is Turn.APPLY
    assert turn_of(earlier, [earlier, SECOND]) is Turn.OVER


def test_a_delete_makes_earlier_changes_needless() -> None:
    """The first one learns it when its turn comes; later ones are not its business."""
    assert turn_of(FIRST, [FIRST, DELETE]) is Turn.NEEDLESS
    assert turn_of(DELETE, [replace(FIRST, state=State.DONE), DELETE]) is Turn.APPLY
    again = replace(FIRST, id=4, sequence=4)
    assert turn_of(again, [replace(DELETE, state=State.DONE), again]) is Turn.APPLY


def test_names() -> None:
    """A new round is another message of the same change."""
    assert FIRST.message_key == "schedule-7-1-a:0"
    assert replace(FIRST, round=1).message_key == "schedule-7-1-a:1"
    assert FIRST.schedule_id == 7
    assert replace(FIRST, kind="employee", object="ann").schedule_id is None
    assert Action.UPDATE.task == "sync.update"
