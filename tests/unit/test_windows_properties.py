"""What holds for all windows, in all zones, in all years that pytz knows."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import pytz
from hypothesis import given, settings
from hypothesis import strategies as st

from smartworker.windows import Span, Window, Windows

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
FIRST = datetime(1971, 1, 1)  # noqa: DTZ001  # hypothesis adds the zone
LAST = datetime(2037, 12, 1)  # noqa: DTZ001

zones = st.sampled_from(pytz.common_timezones).map(pytz.timezone)
instants = st.datetimes(FIRST, LAST, timezones=st.just(UTC))

# Zones whose clock changes differ in size, hour, and side of midnight.
ODD_ZONES = (
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Scoresbysund",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
)


@st.composite
def spans(draw: st.DrawFn, zone: Any = None) -> Span:
    """Any span that can be written, often near the hours of clock changes."""
    minutes = st.one_of(st.integers(0, 1439), st.sampled_from([0, 60, 90, 120, 150]))
    start = draw(minutes)
    end = draw(st.one_of(minutes, st.just(1440)).filter(lambda end: end != start))
    return Span(
        days=draw(st.frozensets(st.integers(0, 6), min_size=1)),
        start=start,
        end=end,
        poll=timedelta(seconds=draw(st.sampled_from([1, 30, 60]))),
        zone=zone or draw(zones),
        own_zone=zone is None,
    )


plans = st.lists(spans(), max_size=4).map(lambda found: Windows(tuple(found)))


def key(window: Window | None) -> tuple[str, timedelta] | None:
    """What of a window matters to a change."""
    return (window.name, window.poll) if window else None


@settings(deadline=None, max_examples=300)
@given(plans, instants)
def test_changes_are_strictly_after_and_not_after(
    windows: Windows, now: datetime
) -> None:
    """The next one is later than the question, the last one is not; both are UTC."""
    following, past = windows.next_change(now), windows.last_change(now)
    assert (following is None) == (past is None)
    if following and past:
        assert past <= now < following
        assert past.tzinfo is following.tzinfo is UTC


@settings(deadline=None, max_examples=300)
@given(plans, instants)
def test_next_and_last_are_inverse(windows: Windows, now: datetime) -> None:
    """From one change the other leads back."""
    following, past = windows.next_change(now), windows.last_change(now)
    if following and past:
        assert windows.last_change(following) == following
        assert windows.last_change(following - INSTANT) == past
        assert windows.next_change(past) == following
        assert windows.next_change(past - INSTANT) == past


@settings(deadline=None, max_examples=300)
@given(plans, instants, st.floats(0, 1, exclude_max=True))
def test_nothing_changes_between_two_changes(
    windows: Windows, now: datetime, part: float
) -> None:
    """Inside the answer is the same everywhere, and outside it is another."""
    following, past = windows.next_change(now), windows.last_change(now)
    if following and past:
        inside = key(windows.at(now))
        # Rounded up, the product can be the next change itself.
        between = min(past + part * (following - past), following - INSTANT)
        assert key(windows.at(between)) == inside
        assert key(windows.at(past)) == inside
        assert key(windows.at(past - INSTANT)) != inside
        assert key(windows.at(following)) != inside


@settings(deadline=None, max_examples=300)
@given(plans, instants)
def test_the_open_window_contains_the_instant(windows: Windows, now: datetime) -> None:
    """Its bounds enclose the question."""
    window = windows.at(now)
    if window:
        assert window.start <= now < window.end


@settings(deadline=None, max_examples=200)
@given(spans())
def test_a_name_reads_back_as_its_span(span: Span) -> None:
    """A name with its poll is a window that can be written."""
    days_and_times, _, zone = span.name.partition("@")
    text = f"{days_and_times}={span.poll.seconds}s@{zone}"
    (read,) = Windows.parse(text, "UTC").spans
    assert (read.days, read.start, read.end) == (span.days, span.start, span.end)
    assert (read.poll, read.zone) == (span.poll, span.zone)


@cache
def wall_clock(
    zone: Any, begin: datetime, end: datetime
) -> list[tuple[datetime, int, int]]:
    """Each minute with the local day and the minute of that day."""
    minutes = []
    while begin < end:
        local = begin.astimezone(zone)
        minutes.append((begin, local.toordinal(), 60 * local.hour + local.minute))
        begin += MINUTE
    return minutes


def by_hand(found: list[Span], begin: datetime, end: datetime) -> list[str | None]:
    """The name of the open window of each minute, by looking at each minute's clock.

    A window is open from the first to the last minute whose wall clock lies in it.
    """
    opened: list[tuple[timedelta, int, datetime, datetime, str]] = []
    margin = timedelta(days=2)
    minutes = wall_clock(found[0].zone, begin - margin, end + margin)
    for order, span in enumerate(found):
        seen: dict[int, list[datetime]] = {}
        for now, day, minute in minutes:
            if span.start < span.end:
                inside = span.start <= minute < span.end
            else:
                inside = minute >= span.start or minute < span.end
            first = day - (minute < span.end < span.start)
            if inside and (first - 1) % 7 in span.days:
                seen.setdefault(first, []).append(now)
        opened += [
            (span.poll, order, hits[0], hits[-1], span.name) for hits in seen.values()
        ]
    return [
        min((one for one in opened if one[2] <= now <= one[3]), default=[None])[-1]
        for now, _, _ in minutes
        if begin <= now < end
    ]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_clock_changes_agree_with_the_clock_on_the_wall(data: st.DataObject) -> None:
    """Minute by minute, two days around real changes, against the plainest code."""
    zone = pytz.timezone(data.draw(st.sampled_from(ODD_ZONES)))
    changes: list[datetime] = [
        change
        for change in zone._utc_transition_times  # type: ignore[union-attr]
        if FIRST < change < LAST and not change.second
    ]
    middle = data.draw(st.sampled_from(changes)).replace(tzinfo=UTC)
    found = data.draw(st.lists(spans(zone), min_size=1, max_size=3))
    begin, end = middle - timedelta(days=1), middle + timedelta(days=1)
    windows = Windows(tuple(found))
    expected = by_hand(found, begin, end)
    got = [windows.at(begin + number * MINUTE) for number in range(len(expected))]
    assert [window and window.name for window in got] == expected


@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
@pytest.mark.parametrize("start", range(0, 240, 30))
def test_each_quarter_of_the_night_agrees_too(day: str, start: int) -> None:
    """All short windows around the hour of the change, on the two days that count."""
    zone = pytz.timezone("America/New_York")
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    for length in (15, 30, 60, 90):
        every_day = frozenset(range(7))
        span = Span(every_day, start, start + length, MINUTE, zone)
        windows = Windows((span,), zone)
        expected = by_hand([span], begin, begin + timedelta(hours=12))
        got = [windows.at(begin + number * MINUTE) for number in range(len(expected))]
        assert [window and window.name for window in got] == expected
