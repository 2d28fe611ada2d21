"""Durations, read and written."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1d2h3m4s", 93_784),
        (" 90M ", 5400),
        ("0h5s", 5),
    ],
)
def test_reads_what_people_write(text: str, seconds: int) -> None:
    """Units may be mixed, largest first, in any case."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "30", "s", "-5s", "1.5h", "30m1h", "5 m", "5ms", "1h1h", "٣s", "0s"],
)
def test_refuses_everything_else(text: str) -> None:
    """A bare number, a sign, a wrong order and no time at all are refused."""
    with pytest.raises(ValueError, match=r"is not a duration|is no time at all"):
        parse_duration(text)


def test_refuses_more_than_a_timedelta_holds() -> None:
    """A number that overflows is a wrong value, not a crash."""
    with pytest.raises(ValueError, match="too long for a duration"):
        parse_duration("999999999999999d")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=30), "30s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=2, seconds=1), "2d1s"),
        (timedelta(seconds=5, microseconds=999_999), "5s"),
    ],
)
def test_writes_the_shortest_text(duration: timedelta, text: str) -> None:
    """Units without a count are left out, parts of a second are dropped."""
    assert format_duration(duration) == text


@given(st.integers(1, 10**9))
def test_reads_back_what_it_wrote(seconds: int) -> None:
    """Writing and reading are inverse for whole seconds."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration
