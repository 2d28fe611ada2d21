"""Which slots are looked at, and when; what becomes of those without a record."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.cron.missed import DELAY, SLACK, Look, Lookout, plan
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.slots import Slot

NEW_YORK = "America/New_York"
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HAIR = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    """A time of 2026 in UTC, such as 06-10T12:00."""
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


def job(schedule: str | None = "0 * * * *", name: str = "book", **options: Any) -> Job:
    """A job in UTC with a grace of 15 minutes."""
    return Jobs().declare(
        name, "swim.book", schedule=schedule, **{"zone": "UTC", **options}
    )


def lookout(*jobs: Job, until: datetime | None = NOON) -> Lookout:
    """A lookout whose jobs were always known, and that looked at `until`."""
    made = Lookout(jobs)
    if until is not None:
        made.done(until)
    return made


def walk(watch: Lookout, until: datetime) -> list[tuple[datetime, Look]]:
    """All looks up to a time, each when the lookout asks for it."""
    found = []
    moment = watch.next_look(NOON)
    while moment is not None and moment <= until:
        found += [(moment, look) for look in watch.due(moment)]
        watch.done(moment)
        following = watch.next_look(moment)
        assert following is None or following > moment
        moment = following
    return found


def times(looks: list[Look]) -> list[datetime]:
    """The times of their slots."""
    return [look.slot.time for look in looks]


def test_a_job_without_schedule_is_never_looked_at() -> None:
    """It is due whenever it is called: nobody can miss it."""
    watch = lookout(job(None))
    assert not watch
    assert watch.times == {}
    assert watch.due(NOON + 24 * HOUR) == []
    assert watch.next_look(NOON) is None
    watch.see("book", NOON)
    watch.done(NOON)


def test_rounds_each_minute_of_the_repeated_hour_find_a_slot_once() -> None:
    """Its hour comes twice, and it does not."""
    watch = lookout(job("30 1 * * *", zone=NEW_YORK), until=at("11-01T04:00"))
    found = []
    for minute in range(4 * 60):
        now = at("11-01T04:00") + minute * MINUTE
        found += watch.due(now)
        watch.done(now)
        following = watch.next_look(now)
        assert following is not None
        assert following > now
    assert times(found) == [at("11-01T05:30")]


def test_one_look_a_slot_when_the_grace_is_the_deadline() -> None:
    """When it has passed, and not a moment before."""
    watch = lookout(job())
    due = at("06-10T12:15") + SLACK
    assert watch.next_look(NOON) == due
    assert watch.due(due - HAIR) == []
    (look,) = watch.due(due)
    assert look == Look(job(), Slot(NOON, scheduled=True), missed=True)
    assert watch.due(due) == [look]
    watch.done(due)
    assert watch.due(due) == []
    assert watch.due(due + 30 * MINUTE) == []
    assert watch.next_look(due) == due + HOUR


def test_late_comes_before_missed() -> None:
    """A look after the grace, and another one after the deadline."""
    watch = lookout(job(deadline="40m"))
    found = walk(watch, at("06-10T14:00"))
    assert [(moment - SLACK, look.missed) for moment, look in found] == [
        (at("06-10T12:15"), False),
        # The one of eleven was known before this lookout began to look.
        (at("06-10T12:40"), True),
        (at("06-10T13:15"), False),
        (at("06-10T13:40"), True),
    ]
    assert [look.slot.time.hour for _, look in found] == [12, 12, 13, 13]


def test_what_is_missed_is_not_late_too() -> None:
    """After hours without a look each slot is looked at once."""
    watch = lookout(job(deadline="40m"))
    looks = watch.due(at("06-10T14:20"))
    assert [(look.slot.time.hour, look.missed) for look in looks] == [
        (12, True),
        (13, True),
        (14, False),
    ]


def test_a_deadline_longer_than_the_schedule() -> None:
    """Several slots wait at the same time; each gets its looks."""
    watch = lookout(job(deadline="2h30m"))
    found = walk(watch, at("06-10T16:00"))
    missed = [(m - SLACK, x.slot.time.hour) for m, x in found if x.missed]
    assert missed == [
        (at("06-10T12:30"), 10),
        (at("06-10T13:30"), 11),
        (at("06-10T14:30"), 12),
        (at("06-10T15:30"), 13),
    ]


def test_what_this_worker_has_seen_is_not_asked_for() -> None:
    """Its message was here: neither late nor missed."""
    watch = lookout(job(deadline="40m"), job(name="other"))
    watch.see("book", NOON)
    watch.see("nobody", NOON)
    looks = watch.due(at("06-10T12:50"))
    assert [look.job.name for look in looks] == ["other"]
    watch.done(at("06-10T12:50"))
    (look,) = [x for x in watch.due(at("06-10T13:50")) if x.job.name == "book"]
    assert look.slot.time.hour == 13


def test_what_was_seen_is_forgotten_when_nobody_will_ask() -> None:
    """Memory does not grow, whatever messages say of their slots."""
    watch = lookout(job(deadline="40m"))
    for minutes in range(-10_000, 10_000, 10):
        watch.see("book", NOON + timedelta(minutes=minutes))
    watch.done(NOON)
    assert len(watch._seen["book"]) == 5
    watch.done(NOON + 24 * HOUR)
    assert watch._seen["book"] == set()


def test_a_look_that_was_not_taken_comes_again() -> None:
    """Nothing is lost while the server is away, up to the cap and the reach."""
    watch = lookout(job(catch_up_cap=3, catch_up_within="2h"))
    assert times(watch.due(at("06-10T13:20"))) == [at("06-10T12:00"), at("06-10T13:00")]
    assert times(watch.due(at("06-10T14:20"))) == [at("06-10T13:00"), at("06-10T14:00")]
    watch = lookout(job(catch_up_cap=3))
    found = times(watch.due(at("06-10T20:20")))
    assert [time.hour for time in found] == [18, 19, 20]


def test_at_the_start_it_looks_back() -> None:
    """Slots whose deadline passed while no worker ran, within the reach."""
    watch = lookout(job(catch_up_within="3h"), until=None)
    assert times(watch.due(NOON)) == [at("06-10T10:00"), at("06-10T11:00")]
    assert all(look.missed for look in watch.due(NOON))
    assert times(watch.due(NOON + 16 * MINUTE))[-1] == NOON


def test_at_the_start_nothing_is_late() -> None:
    """The worker before may have said so; whether it is missed shows soon."""
    watch = lookout(job(deadline="40m"), until=None)
    assert all(look.missed for look in watch.due(NOON + 20 * MINUTE))


def test_the_newest_count_at_the_start() -> None:
    """The cap bounds them; a minute's schedule would have 720."""
    watch = lookout(job("* * * * *", catch_up_cap=4), until=None)
    assert times(watch.due(NOON)) == [
        NOON - timedelta(minutes=minutes) for minutes in (19, 18, 17, 16)
    ]


def test_slots_before_a_job_was_known_are_no_ones_fault() -> None:
    """Neither at the start nor later; the time it was known is itself before."""
    watch = lookout(job(), job(name="new"), until=None)
    watch.know({"book": at("06-10T09:00"), "new": NOON + MINUTE})
    assert times(watch.due(NOON + 20 * MINUTE)) == [
        at("06-10T10:00"),
        at("06-10T11:00"),
        NOON,
    ]
    watch.done(NOON + 20 * MINUTE)
    looks = watch.due(at("06-10T13:20"))
    assert [look.job.name for look in looks] == ["book", "new"]
    # A pause that ended later, or an emptied server.
    watch.know({"book": at("06-10T13:05"), "new": NOON})
    assert [look.job.name for look in looks if watch.counts(look)] == ["new"]
    assert [look.job.name for look in watch.due(at("06-10T13:20"))] == ["new"]


def test_what_is_older_than_its_record_is_not_looked_for() -> None:
    """Nobody could tell whether it ran."""
    short = job(retention="16m", catch_up_within="10m")
    watch = lookout(short)
    assert times(watch.due(NOON + timedelta(minutes=15, seconds=54))) == [NOON]
    assert times(watch.due(NOON + timedelta(minutes=15, seconds=55))) == []
    long = job(grace="2h", catch_up_within="1h")
    watch = lookout(long)
    due = at("06-10T14:00") + SLACK
    assert NOON in times(watch.due(due))
    assert NOON not in times(watch.due(due + DELAY))


def test_slots_outside_the_windows_are_not_missed() -> None:
    """No call would be taken there."""
    watch = lookout(job(windows="08:00-13:30"))
    found = walk(watch, at("06-11T12:00"))
    assert [look.slot.time.hour for _, look in found] == [12, 13, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-06-10", 24), ("2026-11-01", 25)]
)
def test_an_hourly_job_on_the_days_of_clock_changes(day: str, hours: int) -> None:
    """As many looks as the local day has hours, each after its real slot."""
    zone = job(zone=NEW_YORK).schedule._tz  # type: ignore[union-attr]
    midnight = datetime.fromisoformat(day).replace(tzinfo=zone)
    begin = midnight.astimezone(UTC)
    end = (midnight + timedelta(days=1)).astimezone(UTC)
    watch = Lookout([job(zone=NEW_YORK)])
    watch.done(begin + timedelta(minutes=14))
    found = []
    moment = watch.next_look(begin)
    while moment is not None and moment <= end + timedelta(minutes=14):
        found += [(moment, look.slot.time) for look in watch.due(moment)]
        watch.done(moment)
        moment = watch.next_look(moment)
    assert len(found) == hours
    assert all(moment - slot == 15 * MINUTE + SLACK for moment, slot in found)


@pytest.mark.parametrize(
    ("schedule", "day", "slots"),
    [
        pytest.param("30 2 * * *", "03-08", ["03-08T07:00"], id="the missing hour"),
        pytest.param("30 1 * * *", "11-01", ["11-01T05:30"], id="the repeated hour"),
        pytest.param("0 21 * * *", "03-08", ["03-09T01:00"], id="spring evening"),
        pytest.param("0 21 * * *", "11-01", ["11-02T02:00"], id="autumn evening"),
        pytest.param(
            "*/30 1 * * *",
            "11-01",
            ["11-01T05:00", "11-01T05:30", "11-01T06:00", "11-01T06:30"],
            id="every half hour",
        ),
    ],
)
def test_local_times_on_the_days_of_clock_changes(
    schedule: str, day: str, slots: list[str]
) -> None:
    """Each slot that comes is looked at once, at its real time."""
    begin = at(f"{day}T04:20")
    watch = Lookout([job(schedule, zone=NEW_YORK)])
    watch.done(begin)
    found: list[datetime] = []
    moment = watch.next_look(begin)
    while moment is not None and moment <= begin + 24 * HOUR:
        found += times(watch.due(moment))
        watch.done(moment)
        moment = watch.next_look(moment)
    assert found == [at(slot) for slot in slots]


def test_a_clock_that_is_set_back_asks_nothing_twice() -> None:
    """And one that is set forward skips nothing within the reach."""
    watch = lookout(job())
    watch.done(at("06-10T14:20"))
    assert watch.due(at("06-10T13:20")) == []
    assert times(watch.due(at("06-10T16:20"))) == [at("06-10T15:00"), at("06-10T16:00")]


def absent(catch_up: str, *hours: int, **options: Any) -> list[Look]:
    """Missed slots of a job that have no record."""
    one = job(catch_up=catch_up, **options)
    return [
        Look(one, Slot(at(f"06-10T{hour:02}:00"), scheduled=True), missed=True)
        for hour in hours
    ]


@pytest.mark.parametrize(
    ("catch_up", "made_up"),
    [
        ("skip", [False, False, False]),
        ("once", [False, False, True]),
        ("all", [True, True, True]),
    ],
)
def test_the_policy_says_what_is_made_up_for(
    catch_up: str, made_up: list[bool]
) -> None:
    """Nothing, the last slot, or each."""
    looks = absent(catch_up, 9, 10, 11)
    assert plan(looks, NOON) == list(zip(looks, made_up, strict=True))


def test_what_is_too_old_is_only_reported() -> None:
    """By the job's own measure; the last slot too."""
    looks = absent("all", 9, 10, 11, catch_up_within="2h")
    assert [again for _, again in plan(looks, NOON)] == [False, True, True]
    looks = absent("once", 9, catch_up_within="2h")
    assert [again for _, again in plan(looks, NOON)] == [False]


def test_outside_its_windows_a_job_is_not_made_up_for() -> None:
    """Nobody may start it then."""
    looks = absent("all", 10, 11, windows="08:00-11:30")
    assert [again for _, again in plan(looks, NOON)] == [False, False]
    assert [again for _, again in plan(looks, at("06-10T11:20"))] == [True, True]


def test_each_job_has_its_own_last_slot() -> None:
    """The looks of several jobs may come together."""
    looks = [*absent("once", 9, 10), *absent("once", 8, name="other")]
    assert [again for _, again in plan(looks, NOON)] == [False, True, True]
