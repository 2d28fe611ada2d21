"""Returns: what comes back gets another try, and in the end becomes a dead letter."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.broker.envelope import (
    ATTEMPTS,
    HISTORY,
    STRANGERS,
    Unreadable,
    header,
    read,
)
from smartworker.broker.returns import (
    EXHAUSTED,
    INVALID,
    LONGEST_HISTORY,
    LOOP_GUARD,
    STRANGER_PAUSES,
    UNKNOWN_TASK,
    UNREADABLE,
    RequeueLoop,
    Verdict,
    again,
    dead,
    revived,
    stranger,
)
from smartworker.store.dead import DeadLetter, Facts
from smartworker.store.moves import Move

KEY = "celery"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def raw(**headers: Any) -> bytes:
    """A message of a task, with more headers."""
    return json.dumps(
        {
            "body": "W10=",
            "headers": {"task": "project.add", "id": "an-id", **headers},
            "properties": {"delivery_info": {"exchange": "", "routing_key": KEY}},
        }
    ).encode()


def headers_of(data: bytes) -> Any:
    """The headers of a message."""
    return read(data)["headers"]


def facts_of(verdict: Verdict) -> Facts:
    """The facts of a verdict of death, which are what is stored."""
    assert verdict.facts is not None
    assert verdict.move.place == "dead"
    assert verdict.move.push == verdict.facts.encode()
    return verdict.facts


def entry(**parts: Any) -> dict[str, Any]:
    """A death as we write it down."""
    return {
        "at": "2026-11-24T11:00:00.000+00:00",
        "reason": EXHAUSTED,
        "attempts": 5,
        "requeued": "2026-11-24T11:30:00.000+00:00",
        **parts,
    }


def letter(data: bytes, died: datetime = NOW, **facts: Any) -> DeadLetter:
    """A dead letter with a message, as read from the server."""
    known = Facts(**{"queue": KEY, "reason": EXHAUSTED, "attempts": 5, **facts})
    return DeadLetter(f"{int(died.timestamp() * 1000)}-0", data, known)


# -- another try -------------------------------------------------------------------


@pytest.mark.parametrize(("first", "place"), [(False, "back"), (True, "front")])
def test_another_try(first: bool, place: str) -> None:
    """One attempt more, marked as redelivered, to the end or the front of its queue."""
    verdict = again(raw(), KEY, 5, first=first)
    assert (verdict.facts, verdict.attempts) == (None, 1)
    assert (verdict.move.raw, verdict.move.place) == (raw(), place)
    assert headers_of(verdict.move.push) == {
        **headers_of(raw()),
        ATTEMPTS: 1,
        "redelivered": True,
    }


@pytest.mark.parametrize("cap", [1, 2, 3, 5])
def test_the_cap_is_the_number_of_deliveries(cap: int) -> None:
    """A message that never gets finished is delivered `cap` times, then it is dead."""
    data, deliveries = raw(), 1
    while (verdict := again(data, KEY, cap)).facts is None:
        data, deliveries = verdict.move.push, deliveries + 1
    facts = facts_of(verdict)
    assert deliveries == cap
    assert (facts.reason, facts.attempts, verdict.attempts) == (EXHAUSTED, cap, cap)
    assert facts.detail == f"delivered {cap} times and never finished"
    assert (facts.queue, facts.task, facts.task_id) == (KEY, "project.add", "an-id")
    assert verdict.move.raw == data


def test_a_count_beyond_the_cap_is_dead() -> None:
    """The cap was lowered, or somebody wrote a large number."""
    assert facts_of(again(raw(**{ATTEMPTS: 10**30}), KEY, 5)).attempts == 10**30 + 1


def test_what_cannot_be_read_has_no_other_try() -> None:
    """It becomes a dead letter with the reason, and nothing else is known of it."""
    facts = facts_of(again(b"not json", KEY, 5))
    assert facts.detail.startswith("JSONDecodeError")
    assert facts == Facts(KEY, UNREADABLE, facts.detail)


@given(st.binary() | st.binary().map(lambda tail: raw() + tail), st.integers(1, 9))
def test_a_verdict_is_reached_over_any_bytes(data: bytes, cap: int) -> None:
    """Never an error, and always about these very bytes."""
    assert again(data, KEY, cap).move.raw == data


# -- strangers -----------------------------------------------------------------------


def test_a_stranger_is_given_back_with_growing_pauses() -> None:
    """Five times to others, who may know it, then dead; no attempt is counted."""
    data, pauses = raw(), []
    for number in range(1, len(STRANGER_PAUSES) + 1):
        verdict, seconds = stranger(data, KEY)
        assert (verdict.facts, verdict.attempts) == (None, number)
        assert verdict.move.place == "back"
        data = verdict.move.push
        pauses.append(seconds)
        assert headers_of(data)[STRANGERS] == number
        assert ATTEMPTS not in headers_of(data)
    assert pauses == list(STRANGER_PAUSES) == sorted(pauses)
    verdict, seconds = stranger(data, KEY)
    facts = facts_of(verdict)
    assert (facts.reason, seconds) == (UNKNOWN_TASK, 0)
    assert facts.detail == "6 times a worker had it that has no such task"


# -- dead ----------------------------------------------------------------------------


def test_a_dead_letter_tells_what_can_be_read() -> None:
    """Attempts from the message unless somebody knows better; a long detail is cut."""
    data = raw(**{ATTEMPTS: 2, HISTORY: [entry()]})
    verdict = dead(data, KEY, INVALID, "x" * 10_000)
    assert facts_of(verdict) == Facts(
        KEY, INVALID, "x" * 500, 2, "project.add", "an-id", [entry()]
    )
    assert verdict.move == Move(data, "dead", facts_of(verdict).encode())
    assert verdict.attempts == 2
    assert facts_of(dead(data, KEY, INVALID, "", 7)).attempts == 7


def test_a_dead_letter_that_nobody_can_read() -> None:
    """Only what we know ourselves."""
    facts = facts_of(dead(b"\xff", KEY, UNREADABLE, "no JSON", 3))
    assert facts == Facts(KEY, UNREADABLE, "no JSON", 3)


@pytest.mark.parametrize("value", [5, None, ["a"], {"a": 1}])
def test_names_are_text_or_nothing(value: Any) -> None:
    """Whatever the headers hold, the facts are what they say they are."""
    facts = facts_of(dead(raw(task=value, id=value), KEY, INVALID, ""))
    assert (facts.task, facts.task_id) == (None, None)


FOREIGN: dict[str, Any] = {
    "no list": entry(),
    "text": "a history",
    "a list of text": ["a history"],
    "too little": [{"at": entry()["at"]}],
    "too much": [entry(more=1)],
    "no time": [entry(at="yesterday")],
    "a number for a time": [entry(requeued=1764026888)],
    "a time without a zone": [entry(at="2026-11-24T11:00:00")],
    "a date": [entry(requeued="2026-11-24")],
}


@pytest.mark.parametrize("history", FOREIGN.values(), ids=FOREIGN)
def test_a_history_that_is_not_ours_is_none(history: Any) -> None:
    """Anybody can send a header: only what we wrote ourselves is believed."""
    data = raw(**{HISTORY: history})
    assert facts_of(dead(data, KEY, INVALID, "")).history == []
    kept = headers_of(revived(letter(data), NOW))[HISTORY]
    assert [death["requeued"] for death in kept] == [
        NOW.isoformat(timespec="milliseconds")
    ]


def test_ours_is_told_from_what_is_not() -> None:
    """One bad entry does not cost the good ones."""
    data = raw(**{HISTORY: ["?", entry(), entry(more=1)]})
    assert facts_of(dead(data, KEY, INVALID, "")).history == [entry()]


# -- revived -------------------------------------------------------------------------


def test_a_revived_message_begins_anew() -> None:
    """No attempts, no strangers met, and its death is remembered."""
    data = raw(**{ATTEMPTS: 4, STRANGERS: 5})
    found = headers_of(revived(letter(data, NOW - timedelta(days=2)), NOW))
    assert (found[ATTEMPTS], found[STRANGERS]) == (0, 0)
    assert found["redelivered"] is True
    assert found[HISTORY] == [
        {
            "at": "2026-11-22T12:00:00.000+00:00",
            "reason": EXHAUSTED,
            "attempts": 5,
            "requeued": "2026-11-24T12:00:00.000+00:00",
        }
    ]


def test_a_revived_message_has_all_its_tries() -> None:
    """Requeued, it is delivered as often as a new one, and keeps its history."""
    data = revived(letter(raw(**{ATTEMPTS: 4})), NOW)
    for _ in range(4):
        verdict = again(data, KEY, 5)
        assert verdict.facts is None
        data = verdict.move.push
    facts = facts_of(again(data, KEY, 5))
    assert len(facts.history) == 1
    assert DeadLetter("1764000000000-0", data, facts).first == NOW


def test_a_history_is_bounded() -> None:
    """The oldest deaths are forgotten."""
    old = [entry(attempts=number) for number in range(LONGEST_HISTORY)]
    kept = headers_of(revived(letter(raw(**{HISTORY: old})), NOW, forced=True))[HISTORY]
    assert len(kept) == LONGEST_HISTORY
    assert kept[:-1] == old[1:]
    assert kept[-1]["requeued"] == NOW.isoformat(timespec="milliseconds")


def test_it_is_not_requeued_in_a_loop() -> None:
    """Put back half an hour ago and dead again: people must say that they mean it."""
    recent = letter(raw(**{HISTORY: [entry()]}))
    with pytest.raises(RequeueLoop, match=r"11:30:00.* died again \(max_deliveries\)"):
        revived(recent, NOW)
    assert len(headers_of(revived(recent, NOW, forced=True))[HISTORY]) == 2


def test_after_an_hour_it_is_no_loop() -> None:
    """The guard ends by the minute."""
    recent = letter(raw(**{HISTORY: [entry()]}))
    requeued = datetime.fromisoformat(entry()["requeued"])
    with pytest.raises(RequeueLoop):
        revived(recent, requeued + LOOP_GUARD - timedelta(seconds=1))
    assert revived(recent, requeued + LOOP_GUARD)


def test_what_nobody_can_read_is_only_forced_back() -> None:
    """As it is: it would die again at once, unless a new release can read it."""
    unreadable = letter(b"not json", reason=UNREADABLE)
    with pytest.raises(Unreadable):
        revived(unreadable, NOW)
    assert revived(unreadable, NOW, forced=True) == b"not json"


def test_a_message_without_headers_can_be_revived() -> None:
    """A message of an old protocol has none."""
    data = b'{"body": "W10=", "properties": {}}'
    assert header(read(revived(letter(data), NOW)), ATTEMPTS) == 0
