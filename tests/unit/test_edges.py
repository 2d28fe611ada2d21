"""Timers at window edges: APScheduler and windows.py mean the same instants."""

import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytz
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from smartworker.policy import Decision, Policy
from smartworker.windows import Windows
from smartworker.worker.edges import WATCH, Edges

NEW_YORK = "America/New_York"
HAIR = timedelta(microseconds=1)
YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def by_windows(span: str, zone: str, since: datetime, until: datetime) -> list[Any]:
    """All changes that windows.py sees, in UTC."""
    windows, found = Windows.parse(f"{span}=1m", zone), []
    change = windows.next_change(since)
    while change is not None and change < until:
        found.append(change)
        change = windows.next_change(change)
    return found


def by_cron(span: str, zone: str, since: datetime, until: datetime) -> list[Any]:
    """All instants at which a cron trigger fires at start or end of the span."""
    found = set()
    for bound in span.split("-"):
        hour, minute = map(int, bound.split(":"))
        trigger = CronTrigger(
            hour=hour % 24, minute=minute, timezone=pytz.timezone(zone)
        )
        fire = trigger.get_next_fire_time(None, since + HAIR)
        while fire.astimezone(UTC) < until:
            found.add(fire.astimezone(UTC))
            fire = trigger.get_next_fire_time(fire, fire.astimezone(UTC) + HAIR)
    return sorted(found)


def around(day: str) -> tuple[datetime, datetime]:
    """From a day before this one to two days after it."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return start - timedelta(days=1), start + timedelta(days=2)


def clock(*times: str) -> list[datetime]:
    """Instants of 2026 in UTC."""
    return [datetime.fromisoformat(f"2026-{time}:00+00:00") for time in times]


def test_every_edge_of_the_default_window_in_2026() -> None:
    """730 edges: a cron trigger in the zone fires at the same UTC instants."""
    ours = by_windows("20:00-23:00", NEW_YORK, *YEAR)
    assert ours == by_cron("20:00-23:00", NEW_YORK, *YEAR)
    # 2026 begins in UTC with New York's last evening of 2025, and ends before the
    # last evening of 2026: 365 openings, 365 closings.
    assert len(ours) == 730
    assert {(edge.hour, edge.minute) for edge in ours} == {
        (0, 0),
        (1, 0),
        (3, 0),
        (4, 0),
    }


@pytest.mark.parametrize("span", ["20:00-23:00", "05:00-08:30", "22:00-04:00"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        (NEW_YORK, "2026-03-08"),
        (NEW_YORK, "2026-11-01"),
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("Europe/London", "2026-10-25"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("Australia/Lord_Howe", "2026-10-04"),
        ("America/Havana", "2024-03-10"),
        ("America/Santiago", "2026-09-06"),
        ("Africa/Casablanca", "2026-02-15"),
        ("Atlantic/Azores", "2026-03-29"),
        ("Asia/Kolkata", "2026-03-08"),
        ("UTC", "2026-03-08"),
    ],
)
def test_days_of_clock_changes_agree(span: str, zone: str, day: str) -> None:
    """Edges outside the missing and the repeated hour: the same instants."""
    ours = by_windows(span, zone, *around(day))
    assert ours == by_cron(span, zone, *around(day))
    # Three days; a clock change moves at most one edge in or out.
    assert len(ours) in (5, 6, 7)


@pytest.mark.parametrize(
    ("span", "day", "ours", "cron"),
    [
        pytest.param(
            "02:30-04:00",
            "2026-03-08",
            clock("03-08T07:00", "03-08T08:00"),
            clock("03-08T07:30", "03-08T08:00"),
            id="start in the missing hour: we open at the jump",
        ),
        pytest.param(
            "01:00-02:30",
            "2026-03-08",
            clock("03-08T06:00", "03-08T07:00"),
            clock("03-08T06:00", "03-08T07:30"),
            id="end in the missing hour: we close at the jump",
        ),
        pytest.param(
            "02:10-02:40",
            "2026-03-08",
            clock(),
            clock("03-08T07:10", "03-08T07:40"),
            id="inside the missing hour: there is no such window",
        ),
        pytest.param(
            "01:30-04:00",
            "2026-11-01",
            clock("11-01T05:30", "11-01T09:00"),
            clock("11-01T05:30", "11-01T06:30", "11-01T09:00"),
            id="start in the repeated hour: we open once, at its first pass",
        ),
        pytest.param(
            "00:15-01:30",
            "2026-11-01",
            clock("11-01T04:15", "11-01T06:30"),
            clock("11-01T04:15", "11-01T05:30", "11-01T06:30"),
            id="end in the repeated hour: we close once, at its last pass",
        ),
    ],
)
def test_bounds_in_the_missing_and_the_repeated_hour(
    span: str, day: str, ours: list[datetime], cron: list[datetime]
) -> None:
    """Where cron would guess, windows.py decides and the date trigger obeys."""
    start = datetime.fromisoformat(day).replace(hour=4, tzinfo=UTC)
    while_open = (start, start + timedelta(hours=8))
    assert by_windows(span, NEW_YORK, *while_open) == ours
    assert by_cron(span, NEW_YORK, *while_open) == cron
    for edge in ours:
        fire = DateTrigger(edge).get_next_fire_time(None, start)
        assert fire.astimezone(UTC) == edge


def decision(until: datetime | None) -> Decision:
    """A decision that holds until then."""
    return Decision(timedelta(seconds=30), None, None, until, "a test")


class Rig:
    """Edges whose calls from the scheduler's thread are carried out by hand."""

    def __init__(self, *untils: datetime | None) -> None:
        self.untils = list(untils)
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.edges = Edges(self.turn, self.calls.put)

    def turn(self) -> Decision:
        """The next decision of the list."""
        return decision(self.untils.pop(0))

    @property
    def armed(self) -> datetime | None:
        """When the date job will fire, in UTC."""
        job = self.edges._scheduler.get_job("edge")
        return None if job is None else job.next_run_time.astimezone(UTC)


RigOf = Callable[..., Rig]
FAR = datetime(2126, 11, 1, 5, 30, tzinfo=UTC)


@pytest.fixture
def rig() -> Iterator[RigOf]:
    """Started edges, stopped at the end."""
    made: list[Rig] = []

    def start(*untils: datetime | None) -> Rig:
        made.append(Rig(*untils))
        made[-1].edges.start()
        return made[-1]

    yield start
    for one in made:
        one.edges.stop()


def test_the_start_decides_here_and_now(rig: RigOf) -> None:
    """One decision, in the calling thread, and the date job stands at its end."""
    one = rig(FAR)
    assert one.untils == []
    assert one.armed == FAR
    assert one.calls.empty()


def test_each_turn_arms_the_next_edge(rig: RigOf) -> None:
    """After every turn the one date job stands at the new decision's end."""
    untils = [FAR + timedelta(hours=n) for n in range(5)]
    one = rig(*untils)
    for until in untils[1:]:
        one.edges.ring()
        one.calls.get(timeout=5)()
        assert one.armed == until
    names = [job.id for job in one.edges._scheduler.get_jobs()]
    assert len(names) == 2
    assert names.count("edge") == 1


def test_the_scheduler_rings_at_the_edge(rig: RigOf) -> None:
    """An edge that is due rings through `soon`, and nothing is decided before."""
    one = rig(datetime.now(UTC), FAR)
    step = one.calls.get(timeout=5)
    assert one.untils == [FAR], "the decision is made in the loop, not in the timer"
    step()
    assert one.armed == FAR


def test_an_edge_long_past_rings_all_the_same(rig: RigOf) -> None:
    """A machine that slept over the edge misses nothing: no misfire grace."""
    one = rig(datetime(2026, 1, 1, tzinfo=UTC), FAR)
    one.calls.get(timeout=5)()
    assert one.armed == FAR


def test_windows_that_never_change_need_no_date(rig: RigOf) -> None:
    """Open all day: no date job, and the clock is still looked at each minute."""
    one = rig(None)
    assert one.armed is None
    (watch,) = one.edges._scheduler.get_jobs()
    assert watch.trigger.interval == timedelta(seconds=WATCH) == timedelta(minutes=1)
    assert watch.coalesce


def test_the_real_policy_over_both_clock_changes(rig: RigOf) -> None:
    """Date jobs in UTC at 20:00 and 23:00 New York time, before and after."""
    policy = Policy(Windows.parse("20:00-23:00=30s", NEW_YORK), timedelta(minutes=30))
    for now, edges in (
        ("2126-03-09T12:00+00:00", ["03-10T01:00", "03-10T04:00", "03-11T00:00"]),
        ("2126-11-02T12:00+00:00", ["11-03T00:00", "11-03T03:00", "11-04T01:00"]),
    ):
        moment, found = datetime.fromisoformat(now), []
        untils = []
        for _ in edges:
            until = policy.decide(moment).until
            assert until is not None
            untils.append(until)
            moment = until
        one = rig(*untils)
        found.append(one.armed)
        for _ in untils[1:]:
            one.edges.ring()
            one.calls.get(timeout=5)()
            found.append(one.armed)
        assert found == untils
        local = pytz.timezone(NEW_YORK)
        assert [until.astimezone(local).hour for until in untils] == [20, 23, 20]


def test_nothing_is_armed_after_the_stop(rig: RigOf) -> None:
    """A turn that comes late finds the scheduler ended, and stopping twice is fine."""
    one = rig(FAR, FAR)
    one.edges.stop()
    one.edges.stop()
    one.edges._step()
    assert one.untils == []
    assert not one.edges._scheduler.running
