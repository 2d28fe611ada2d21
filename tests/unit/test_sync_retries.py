"""How long the roster service is left alone."""

from datetime import UTC, datetime

import pytest

from smartworker.examples.sync.retries import (
    LONGEST_WAIT_SECONDS,
    limited_pause,
    pause_after,
    retry_after,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_pauses_double() -> None:
    """2, 4 and 8 seconds, each up to a fifth shorter."""
    for failures, seconds in ((1, 2.0), (2, 4.0), (3, 8.0)):
        assert 0.8 * seconds <= pause_after(failures, 2.0) <= seconds


def test_no_pause_is_endless() -> None:
    """Not after any number of failures."""
    assert pause_after(60, 2.0) <= LONGEST_WAIT_SECONDS


def test_a_limit_is_kept_and_spread() -> None:
    """Never earlier than asked, and not all at the same moment."""
    pauses = [limited_pause(10) for _ in range(100)]
    assert min(pauses) >= 10
    assert max(pauses) <= 15
    assert len(set(pauses)) > 50
    assert 0 <= limited_pause(0) <= 0.5
    assert limited_pause(10**9) <= 1.5 * LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("99999999", LONGEST_WAIT_SECONDS),
        ("9" * 400, LONGEST_WAIT_SECONDS),
        ("Sat, 21 Nov 2027 12:00:30 GMT", LONGEST_WAIT_SECONDS),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds or a date; what is neither says nothing."""
    assert retry_after(header, NOW) == seconds
