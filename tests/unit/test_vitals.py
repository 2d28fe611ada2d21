"""Whether a worker is ready, from what it did last."""

from datetime import UTC, datetime, timedelta

import pytest

from smartworker.vitals import Vitals, read_vitals, spoken

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def vitals(ago: float | None = 10.0, poll: float = 30.0, **other: object) -> Vitals:
    """A worker that polled so many seconds before NOW."""
    last = None if ago is None else NOW - timedelta(seconds=ago)
    values = {"started": NOW - timedelta(hours=1), "last_poll": last, **other}
    return Vitals(poll_seconds=poll, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ago", "poll", "ready"),
    [
        (0, 30, True),
        (93, 30, True),
        (94, 30, False),
        (1800 + 240, 1800, True),
        (1800 + 241, 1800, False),
        (-5, 30, True),
    ],
)
def test_the_last_poll_must_not_be_older_than_its_interval_and_a_margin(
    ago: float, poll: float, ready: bool
) -> None:
    """A minute and a tenth of the interval; a clock that was set back is no fault."""
    assert vitals(ago, poll).verdict(NOW).ready is ready


def test_the_first_gap_may_be_longer_than_the_interval() -> None:
    """What counts is when the next poll is due, wherever that is later."""
    later = vitals(2600, 1800, next_poll=NOW - timedelta(seconds=100))
    assert later.verdict(NOW).ready
    # A window has just opened: the last poll was made with the long interval.
    assert vitals(1700, 30, next_poll=NOW).verdict(NOW).ready
    assert not vitals(1700, 30, next_poll=NOW).verdict(NOW + timedelta(minutes=2)).ready


def test_the_reason_is_a_sentence() -> None:
    """For whoever reads why a container was restarted."""
    assert vitals().verdict(NOW).reason == "The last poll was 10 s ago."
    assert vitals(600).verdict(NOW).reason == (
        "The last poll was 10 min ago, and the next is late by 10 min."
    )
    assert vitals(broker="lost").verdict(NOW).reason == (
        "Redis does not serve it (lost)."
    )
    assert vitals(None).verdict(NOW).reason == (
        "It is starting since 60 min: no poll yet."
    )


@pytest.mark.parametrize("broker", ["lost", "denied", "full"])
def test_a_worker_without_redis_is_not_ready(broker: str) -> None:
    """However young its last poll is."""
    assert not vitals(1, broker=broker).verdict(NOW).ready


def test_a_worker_that_stops_is_not_ready() -> None:
    """It takes nothing more, however long its last tasks run."""
    assert vitals(1, stopping=True, busy=True).verdict(NOW).reason == "It is stopping."


def test_a_task_may_have_the_only_process() -> None:
    """As long as its time limit lets it, and without one as long as it wants."""
    assert vitals(9999, busy=True).verdict(NOW).ready
    assert vitals(9999, busy=True, busy_until=NOW).verdict(NOW).ready
    over = NOW - timedelta(seconds=1)
    assert not vitals(9999, busy=True, busy_until=over).verdict(NOW).ready
    assert not vitals(1, busy=True, broker="lost").verdict(NOW).ready


def test_what_is_written_can_be_read() -> None:
    """With every time, and without any."""
    for each in (
        vitals(None),
        vitals(5, next_poll=NOW, busy=True, busy_until=NOW, broker="full"),
    ):
        assert read_vitals(each.as_json()) == each


@pytest.mark.parametrize(
    "change",
    [{"started": "noon"}, {"last_poll": "2026-11-25T12:00:00"}, {"poll_seconds": None}],
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    """No time, a time without a zone, no number."""
    with pytest.raises(ValueError, match=r"noon|no zone|no vitals"):
        read_vitals({**vitals().as_json(), **change})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert spoken(seconds) == text
