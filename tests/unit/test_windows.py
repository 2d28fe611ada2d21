"""Windows: how they are written, and the days on which the clocks change."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import pytz
from freezegun import freeze_time

from smartworker.clock import SystemClock
from smartworker.windows import EVERY_DAY, Span, Window, Windows, find_zone

EASTERN = "America/New_York"


def utc(text: str) -> datetime:
    """An instant in UTC, written without its zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def eastern(text: str) -> Windows:
    """Windows in Eastern time."""
    return Windows.parse(text, EASTERN)


def occurrence(windows: Windows, near: str) -> tuple[str, str] | None:
    """The window open at `near`, as bounds in UTC."""
    window = windows.at(utc(near))
    if window is None:
        return None
    return (f"{window.start:%m-%d %H:%M}", f"{window.end:%m-%d %H:%M}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("20:00-23:00=30s", ["20:00-23:00"]),
        ("9:00-12:00=1m;20:00-23:00=30s", ["09:00-12:00", "20:00-23:00"]),
        (" 20:00 - 23:00 = 30s ; ", ["20:00-23:00"]),
        ("mon-fri 20:00-23:00=30s", ["mon-fri 20:00-23:00"]),
        ("sat,sun 9:00-12:00=1m", ["sat,sun 09:00-12:00"]),
        ("Sat, SUN 9:00-12:00=1m", ["sat,sun 09:00-12:00"]),
        ("fri-mon 9:00-12:00=1m", ["fri-mon 09:00-12:00"]),
        ("mon-wed,fri 9:00-12:00=1m", ["mon-wed,fri 09:00-12:00"]),
        ("mon,wed 9:00-12:00=1m", ["mon,wed 09:00-12:00"]),
        ("mon-sun 9:00-12:00=1m", ["09:00-12:00"]),
        ("22:00-2:00=1m", ["22:00-02:00"]),
        ("20:00-24:00=1m", ["20:00-24:00"]),
        ("0:00-24:00=1m", ["00:00-24:00"]),
        ("20:00-23:00=30s@Europe/Berlin", ["20:00-23:00@Europe/Berlin"]),
        ("20:00-23:00=30s@America/New_York", ["20:00-23:00"]),
        ("20:00-23:00=30s;20:00-23:00=30s", ["20:00-23:00"]),
    ],
)
def test_reads_what_the_grammar_allows(text: str, names: list[str]) -> None:
    """Each span gets one canonical name; the same span twice is one span."""
    assert [span.name for span in eastern(text).spans] == names


def test_a_span_holds_what_was_written() -> None:
    """Days count from Monday, times are minutes, the zone is pytz's."""
    (span,) = eastern("mon,sun 22:30-2:00=1m30s@Europe/Berlin").spans
    assert span == Span(
        days=frozenset({0, 6}),
        start=1350,
        end=120,
        poll=timedelta(seconds=90),
        zone=pytz.timezone("Europe/Berlin"),
        own_zone=True,
    )
    assert eastern("20:00-23:00=30s").spans[0].days == EVERY_DAY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no window in it: write 20:00-23:00=30s"),
        (" ; ", "there is no window in it"),
        ("8pm-11pm=30s", "'8pm-11pm=30s' is not a window: write 20:00-23:00=30s"),
        ("20:00–23:00=30s", "is not a window"),  # noqa: RUF001  # people paste dashes
        ("mon-fri20:00-23:00=30s", "is not a window"),
        ("20:00-23:00", "'20:00-23:00' has no poll: write 20:00-23:00=30s"),
        ("20:00-23:00=", "has no poll"),
        ("20:00-23:00=@Europe/Berlin", "has no poll"),
        ("20:00-23:00=0s", "'0s' is no time at all: write a poll from 1s to 24h."),
        ("20:00-23:00=-5s", "'-5s' is not a duration such as 30s"),
        ("20:00-23:00=30", "'30' is not a duration such as 30s"),
        ("20:00-20:00=30s", "'20:00-20:00=30s' ends where it starts: write 00:00-24:0"),
        ("25:00-26:00=30s", "'25:00' is not a time of day: allowed is 0:00 to 23:59"),
        ("24:00-3:00=30s", "'24:00' is not a time of day: allowed is 0:00 to 23:59"),
        ("20:00-24:01=30s", "'24:01' is not a time of day: allowed is 0:00 to 24:00"),
        ("12:60-13:00=30s", "'12:60' is not a time of day"),
        ("12:5-13:00=30s", "'12:5' is not a time of day"),
        ("foo 20:00-23:00=30s", "'foo' is not a weekday: allowed is mon, tue, wed,"),
        ("mon- 20:00-23:00=30s", "'' is not a weekday"),
        ("mon-fri-sun 20:00-23:00=30s", "'fri-sun' is not a weekday"),
        ("20:00-23:00=30s@Mars", "'Mars' is not a time zone: write a name such as"),
        ("20:00-23:00=30s@", "'' is not a time zone"),
        ("20:00-23:00=30s;20:00-23:00=1m", "20:00-23:00 is there twice with differen"),
        ("mon-sun 20:00-23:00=30s;20:00-23:00=1m", "20:00-23:00 is there twice"),
    ],
)
def test_refuses_the_rest_with_a_sentence(text: str, sentence: str) -> None:
    """The error names the piece and what is allowed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared
        eastern(text)
    assert str(caught.value).startswith(sentence) or sentence in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("Eastern", "America/New_York"),
        ("EDT", "America/New_York"),
        ("US/Eastrn", "America/New_York"),
        ("tokio", "Asia/Tokyo"),
    ],
)
def test_an_unknown_zone_suggests_the_nearest(name: str, near: str) -> None:
    """A city, a nickname and a misspelling all lead to a name that works."""
    with pytest.raises(ValueError, match=f"did you mean {near}"):
        Windows.parse("20:00-23:00=30s", name)


def test_the_old_name_of_eastern_time_works() -> None:
    """pytz brings US/Eastern with it, whatever the system's database lacks."""
    window = Windows.parse("20:00-23:00=30s", "US/Eastern").at(utc("2026-07-02T00:00"))
    assert window is not None
    assert find_zone(" america/new_york ") is pytz.timezone(EASTERN)


def test_a_window_is_open_from_its_start_and_closed_at_its_end() -> None:
    """The interval is half open, to the microsecond."""
    windows = eastern("20:00-23:00=30s")
    start, end = utc("2026-07-02T00:00"), utc("2026-07-02T03:00")
    instant = timedelta(microseconds=1)
    assert windows.at(start) == Window("20:00-23:00", timedelta(seconds=30), start, end)
    assert windows.at(end - instant) == windows.at(start)
    assert windows.at(start - instant) is None
    assert windows.at(end) is None


def test_any_offset_may_ask_and_utc_answers() -> None:
    """What comes in may be in any zone, what goes out is UTC."""
    windows = eastern("20:00-23:00=30s")
    berlin = pytz.timezone("Europe/Berlin").localize(datetime(2026, 7, 2, 3))  # noqa: DTZ001
    here = datetime(2026, 7, 1, 21, tzinfo=timezone(timedelta(hours=-4)))
    assert windows.at(berlin) == windows.at(here) is not None
    change = windows.next_change(here)
    assert change == utc("2026-07-02T03:00")
    assert change is not None
    assert change.tzinfo is UTC


def test_a_naive_datetime_is_refused() -> None:
    """No zone is guessed."""
    windows, naive = eastern("20:00-23:00=30s"), datetime(2026, 7, 1)  # noqa: DTZ001
    for ask in (windows.at, windows.next_change, windows.last_change, windows.local):
        with pytest.raises(ValueError, match="has no time zone"):
            ask(naive)


def test_no_spans_and_full_cover_never_change() -> None:
    """Without an edge there is neither a next nor a last change."""
    now = utc("2026-07-02T00:00")
    for windows in (
        Windows(()),
        eastern("0:00-24:00=30s"),
        eastern("0:00-24:00=30s;10:00-12:00=1m"),
    ):
        assert windows.next_change(now) is None
        assert windows.last_change(now) is None
    assert Windows(()).at(now) is None


def test_the_shortest_poll_wins_and_then_the_first_written() -> None:
    """Overlaps are decided the same way each time."""
    windows = eastern("8:00-20:00=5m;10:00-12:00=30s;11:00-13:00=30s")
    names = {
        hour: windows.at(utc(f"2026-07-01T{hour + 4}:30")) for hour in range(8, 14)
    }
    assert [window.name for window in names.values() if window] == [
        "08:00-20:00",
        "08:00-20:00",
        "10:00-12:00",
        "10:00-12:00",
        "11:00-13:00",
        "08:00-20:00",
    ]
    assert windows.next_change(utc("2026-07-01T14:30")) == utc("2026-07-01T16:00")


def test_adjacent_windows_change_at_their_seam() -> None:
    """One closes in the instant in which the other opens."""
    windows = eastern("20:00-21:00=30s;21:00-22:00=10s")
    assert windows.next_change(utc("2026-07-02T00:00")) == utc("2026-07-02T01:00")
    assert windows.last_change(utc("2026-07-02T01:00")) == utc("2026-07-02T01:00")


def test_days_that_touch_do_not_change_at_midnight() -> None:
    """`mon-fri 0:00-24:00` is one stretch from Monday to Saturday."""
    windows = eastern("mon-fri 0:00-24:00=30s")
    wednesday = utc("2026-07-01T12:00")
    assert windows.last_change(wednesday) == utc("2026-06-29T04:00")
    assert windows.next_change(wednesday) == utc("2026-07-04T04:00")


def test_a_span_over_midnight_belongs_to_the_day_of_its_start() -> None:
    """Friday's night reaches into Saturday, and Sunday's does not exist."""
    windows = eastern("fri 22:00-2:00=30s")
    assert occurrence(windows, "2026-07-04T05:00") == ("07-04 02:00", "07-04 06:00")
    assert windows.at(utc("2026-07-03T05:00")) is None
    assert windows.next_change(utc("2026-07-04T06:00")) == utc("2026-07-11T02:00")


def test_each_span_may_live_in_its_own_zone() -> None:
    """Berlin's and New York's evenings are six hours apart."""
    windows = eastern("20:00-23:00=30s;20:00-23:00=1m@Europe/Berlin")
    assert occurrence(windows, "2026-07-01T18:30") == ("07-01 18:00", "07-01 21:00")
    assert occurrence(windows, "2026-07-02T00:30") == ("07-02 00:00", "07-02 03:00")


@pytest.mark.parametrize(
    ("zone", "text", "near", "expected"),
    [
        # 2026-03-08: 02:00 EST becomes 03:00 EDT at 07:00 UTC.
        (EASTERN, "20:00-23:00=1m", "2026-03-08T01:30", ("03-08 01:00", "03-08 04:00")),
        (EASTERN, "20:00-23:00=1m", "2026-03-09T01:30", ("03-09 00:00", "03-09 03:00")),
        (EASTERN, "2:30-4:00=1m", "2026-03-08T07:30", ("03-08 07:00", "03-08 08:00")),
        (EASTERN, "1:00-2:30=1m", "2026-03-08T06:30", ("03-08 06:00", "03-08 07:00")),
        (EASTERN, "1:00-4:00=1m", "2026-03-08T06:30", ("03-08 06:00", "03-08 08:00")),
        (EASTERN, "2:15-2:45=1m", "2026-03-08T07:00", None),
        (EASTERN, "2:00-3:00=1m", "2026-03-08T07:00", None),
        (EASTERN, "22:00-2:30=1m", "2026-03-08T06:30", ("03-08 03:00", "03-08 07:00")),
        # 2026-11-01: 02:00 EDT becomes 01:00 EST at 06:00 UTC.
        (EASTERN, "20:00-23:00=1m", "2026-11-01T01:30", ("11-01 00:00", "11-01 03:00")),
        (EASTERN, "20:00-23:00=1m", "2026-11-02T01:30", ("11-02 01:00", "11-02 04:00")),
        (EASTERN, "1:30-3:00=1m", "2026-11-01T06:15", ("11-01 05:30", "11-01 08:00")),
        (EASTERN, "0:30-1:30=1m", "2026-11-01T06:15", ("11-01 04:30", "11-01 06:30")),
        (EASTERN, "1:15-1:45=1m", "2026-11-01T06:00", ("11-01 05:15", "11-01 06:45")),
        (EASTERN, "1:00-2:00=1m", "2026-11-01T06:00", ("11-01 05:00", "11-01 07:00")),
        (EASTERN, "0:00-1:00=1m", "2026-11-01T04:30", ("11-01 04:00", "11-01 05:00")),
        (EASTERN, "2:00-3:00=1m", "2026-11-01T07:30", ("11-01 07:00", "11-01 08:00")),
        # Half an hour: 2026-10-04 02:00 becomes 02:30 at 15:30 UTC the day before.
        (
            "Australia/Lord_Howe",
            "2:15-3:00=1m",
            "2026-10-03T15:45",
            ("10-03 15:30", "10-03 16:00"),
        ),
        # And 2026-04-05 02:00 becomes 01:30 at 15:00 UTC the day before.
        (
            "Australia/Lord_Howe",
            "1:45-2:00=1m",
            "2026-04-04T15:00",
            ("04-04 14:45", "04-04 15:30"),
        ),
        # Midnight is missing: 2018-11-04 00:00 becomes 01:00 at 03:00 UTC.
        (
            "America/Sao_Paulo",
            "sun 0:00-2:00=1m",
            "2018-11-04T03:30",
            ("11-04 03:00", "11-04 04:00"),
        ),
        # The last hour of Saturday comes twice: 2018-02-18 00:00 becomes 23:00.
        (
            "America/Sao_Paulo",
            "sat 22:00-24:00=1m",
            "2018-02-18T02:30",
            ("02-18 00:00", "02-18 03:00"),
        ),
        # Midnight comes twice: 2025-11-02 01:00 becomes 00:00 at 05:00 UTC.
        (
            "America/Havana",
            "sun 0:00-0:30=1m",
            "2025-11-02T04:45",
            ("11-02 04:00", "11-02 05:30"),
        ),
        (
            "Asia/Beirut",
            "sun 0:30-2:00=1m",
            "2026-03-28T22:30",
            ("03-28 22:00", "03-28 23:00"),
        ),
        # 2011-12-30 was left out: the 29th ends at 10:00 UTC, where the 31st begins.
        ("Pacific/Apia", "fri 9:00-17:00=1m", "2011-12-30T20:00", None),
        (
            "Pacific/Apia",
            "22:00-2:00=1m",
            "2011-12-30T09:00",
            ("12-30 08:00", "12-30 10:00"),
        ),
        (
            "Pacific/Apia",
            "fri 22:00-2:00=1m",
            "2011-12-30T11:00",
            ("12-30 10:00", "12-30 12:00"),
        ),
    ],
)
def test_real_days_of_clock_changes(
    zone: str, text: str, near: str, expected: tuple[str, str] | None
) -> None:
    """One unbroken window, or none; bounds in UTC."""
    assert occurrence(Windows.parse(text, zone), near) == expected


def test_a_weekly_span_that_a_clock_change_swallows_comes_a_week_later() -> None:
    """The search looks further than a week."""
    sunday = eastern("sun 2:15-2:45=1m")
    assert sunday.next_change(utc("2026-03-01T08:00")) == utc("2026-03-15T06:15")
    assert sunday.last_change(utc("2026-03-15T06:00")) == utc("2026-03-01T07:45")
    friday = Windows.parse("fri 9:00-10:00=1m", "Pacific/Apia")
    assert friday.next_change(utc("2011-12-24T00:00")) == utc("2012-01-05T19:00")


def test_midnights_bound_days_of_every_length() -> None:
    """A local day has 23, 24 or 25 hours, and once none."""
    windows = eastern("20:00-23:00=30s")
    lengths = [
        (windows.midnight(date(2026, month, day + 1)) - windows.midnight(first)).seconds
        // 3600
        for month, day in ((3, 8), (11, 1))
        for first in [date(2026, month, day)]
    ]
    assert lengths == [23, 1]  # 25 hours are one day and one hour
    apia = Windows.parse("20:00-23:00=30s", "Pacific/Apia")
    assert apia.midnight(date(2011, 12, 30)) == apia.midnight(date(2011, 12, 31))


@freeze_time("2026-11-01 05:59:59")
def test_the_wall_clock_of_the_machine_finds_the_window() -> None:
    """The instant before the second pass of 01:00 lies inside 0:30-1:30."""
    windows = eastern("0:30-1:30=1m")
    now = SystemClock().now()
    assert f"{windows.local(now):%H:%M:%S %Z}" == "01:59:59 EDT"
    assert windows.at(now) is not None
