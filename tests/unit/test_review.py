"""The review of made-up days: what is counted, what needs attention, what does not."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from smartworker.policy import Policy
from smartworker.review.analysis import Review
from smartworker.review.measures import Histogram, cause_of
from smartworker.windows import Windows
from tests.log_lines import (
    MIDNIGHT,
    WORKER,
    day_of,
    hourly,
    line,
    ready,
    run,
    stopping,
)

ZONE = "America/New_York"
POLICY = Policy(Windows.parse("20:00-23:00=30s", ZONE), timedelta(minutes=30))
DAY = date(2026, 11, 24)
NEXT_MORNING = MIDNIGHT + timedelta(hours=30)


def review(lines, now=NEXT_MORNING, day=None, policy=POLICY, budget=500_000):
    """The report of these lines."""
    found = Review(policy, budget, now, day)
    found.read("test", lines)
    return found.report()


def kinds(report):
    """What needs attention, by kind."""
    return [reason.kind for reason in report.reasons]


def at(hour, minute=0, second=0):
    """An instant of the day, by the clocks in New York."""
    return MIDNIGHT + timedelta(hours=hour, minutes=minute, seconds=second)


def test_a_quiet_day_needs_nobody():
    """402 polls as the schedule demands, and nothing else."""
    report = review(day_of())
    assert kinds(report) == []
    day = report.day
    assert (day.date, day.polls.made, day.polls.demanded) == (DAY, 402, 402)
    assert day.polls.workers == 1
    assert day.commands.total == 402
    assert day.commands.by_cause == {"poll": 402}
    assert day.commands.budget_day == round(500_000 / 30)
    assert len(day.hours) == 24
    assert [hour.polls for hour in day.hours] == [2] * 20 + [120] * 3 + [2]
    assert [h.demanded_polls for h in day.hours] == [2] * 20 + [120] * 3 + [2]
    assert [span.window for span in day.spans] == ["20:00-23:00"]
    assert day.gaps == ()
    assert report.before is None


def test_an_empty_day_needs_attention():
    """A log that holds nothing is no good news."""
    assert kinds(review([], day=DAY)) == ["empty"]
    assert kinds(review([b"GET / 200", b"{}"])) == ["empty"]


def test_runs_of_jobs_are_counted_by_what_became_of_them():
    """Each of the eight figures, and the start delay from trigger to start."""
    accepted = {"slot": "s", "trigger_id": "t", "address": "::1"}
    lines = [
        *day_of(),
        line("trigger_accepted", at(9), job="a", task_id="1", **accepted),
        *run(at(9, 0, 3), "1", "a", seconds=2),
        *run(at(10), "2", "a", seconds=4),
        *run(at(11), "3", "a", error="ValueError: no lane 7"),
        line("task_retried", at(12), "warning", job="a", task="t", error="E: x"),
        line("run_missed", at(13), "error", job="a", slot="s", task_id="4"),
        line("run_late", at(13), "warning", job="a", slot="s", task_id="4"),
        line("trigger_replayed", at(14), job="a", task_id="1", **accepted),
        line("trigger_skipped", at(14), job="a", reason="paused", address="::1"),
        *run(at(15), "5", seconds=1),
    ]
    report = review(lines)
    (job,) = report.day.jobs
    assert (job.ok, job.failed, job.retried, job.missed) == (2, 1, 1, 1)
    assert (job.late, job.duplicate, job.skipped) == (1, 1, 1)
    assert job.start_delay.count == 1
    assert job.start_delay.p50 == pytest.approx(3, rel=0.02)
    assert (job.seconds.count, job.seconds.longest) == (3, 4.0)
    assert kinds(report) == ["failed", "missed", "late"]
    tasks = {task.task: (task.ok, task.failed) for task in report.day.tasks}
    assert tasks["shop.clean"] == (3, 1)


def test_the_order_of_lines_does_not_matter():
    """A platform exports the newest line first, and files come in any order."""
    lines = [
        *day_of(MIDNIGHT - timedelta(days=1)),
        ready(at(1)),
        *day_of(),
        line("trigger_accepted", at(9), job="a", task_id="1", address="x"),
        *run(at(9, 0, 3), "1", "a"),
        line("broker_lost", at(10), "warning", kind="lost", error="E"),
        line("broker_back", at(10, 9), kind="lost", away_seconds=540, attempts=9),
    ]
    expected = review(lines)
    shuffled = random.Random(4)
    for _ in range(5):
        shuffled.shuffle(lines)
        assert review(lines) == expected
    assert review(lines[::-1]) == expected


def test_errors_of_one_cause_are_one_group():
    """Numbers and ids do not make another cause; first, last and one sample stay."""
    lines = [
        *day_of(),
        *run(at(9), "1", error="TimeoutError: lane 17 after 3.5 s"),
        *run(at(10), "2", error="TimeoutError: lane 4 after 12 s"),
        *run(at(11), "3", error="KeyError: 'lane'"),
    ]
    first, second = review(lines).day.errors
    assert first.cause == "TimeoutError: lane # after # s"
    assert (first.count, first.first, first.last) == (2, at(9, 0, 1), at(10, 0, 1))
    assert "lane 17" in first.sample
    assert second.cause == "KeyError: 'lane'"


def test_refusals_by_address_and_bursts():
    """A few are listed; a burst needs attention."""
    refused = {"status": 401, "reason": "the token is wrong"}
    few = [
        line("trigger_refused", at(9, n), "warning", address="10.0.0.9", **refused)
        for n in range(3)
    ]
    report = review([*day_of(), *few])
    (one,) = report.day.refusals
    assert (one.address, one.count) == ("10.0.0.9", 3)
    assert one.reasons == {"401 the token is wrong": 3}
    assert kinds(report) == []
    assert kinds(review([*day_of(), *(few * 7)])) == ["refused"]
    guess = line("sign_in_refused", at(9), "warning", status=401, address="10.0.0.9")
    assert kinds(review([*day_of(), *([guess] * 20)])) == ["refused"]


def test_a_missing_hour_is_a_gap():
    """The worker speaks each hour; one that does not was not there."""
    lines = [ready(at(0)), *day_of()]
    gone = [each for number, each in enumerate(lines) if number not in (10, 11)]
    report = review(gone)
    (gap,) = report.day.gaps
    assert gap.seconds == 3 * 3600
    assert not gap.planned
    assert kinds(report)[0] == "gap"
    assert kinds(review(lines)) == []


def test_a_worker_that_never_came_back():
    """Silent to the end of the day, and said so."""
    report = review(day_of()[:15])
    (gap,) = report.day.gaps
    assert gap.until is None
    assert gap.seconds == pytest.approx(9 * 3600, abs=1)
    assert "still silent" in report.reasons[0].text
    said = {"commands": {"cron": 1}, "billed": 1}
    web = [
        line("web_report", at(hour), since=at(hour - 1).isoformat(), **said)
        for hour in range(1, 25)
    ]
    assert review([*day_of()[:15], *web]).day.gaps == report.day.gaps


def test_a_deploy_is_no_news():
    """The next worker comes first, or comes a moment later."""
    overlapping = [
        ready(at(9, 5), "celery@two"),
        stopping(at(9, 6)),
        *(hourly(at(hour), worker="celery@two") for hour in range(10, 24)),
    ]
    assert review([*day_of()[:9], *overlapping]).day.gaps == ()
    brief = [stopping(at(9, 5)), ready(at(9, 6)), *day_of()[9:]]
    report = review([*day_of()[:9], *brief])
    (gap,) = report.day.gaps
    assert (gap.seconds, gap.planned) == (60.0, True)
    assert "gap" not in kinds(report)


def test_a_crash_is_a_gap_up_to_the_next_start():
    """No last word, and the next worker has another name, as on Render."""
    after = [
        ready(at(9, 40), "celery@two"),
        *(hourly(at(hour), worker="celery@two") for hour in range(10, 25)),
    ]
    report = review([ready(at(0)), *day_of()[:9], *after])
    (gap,) = report.day.gaps
    assert gap.worker == "celery@two"
    assert (gap.planned, gap.until) == (False, at(9, 40))
    assert gap.seconds == pytest.approx(40 * 60, abs=1)
    assert "gap" in kinds(report)


def test_outages_count_when_they_are_long():
    """A reconnect of seconds is listed; minutes need attention, and one without end."""
    lost = line("broker_lost", at(9), "warning", kind="lost", error="E")
    back = {"kind": "lost", "attempts": 3, "read_back": 0}
    short = line("broker_back", at(9, 0, 4), away_seconds=4.0, **back)
    report = review([*day_of(), lost, short])
    (outage,) = report.day.outages
    assert (outage.since, outage.seconds, outage.attempts) == (at(9), 4.0, 3)
    assert kinds(report) == []
    long = line("broker_back", at(9, 10), away_seconds=600.0, **back)
    assert kinds(review([*day_of(), lost, long])) == ["outage"]
    report = review([*day_of(), lost])
    assert report.day.outages[0].until is None
    assert kinds(report) == ["outage"]


def test_an_outage_ends_when_the_next_worker_is_ready():
    """The one that told of it was replaced meanwhile, and never says more."""
    lost = line("broker_lost", at(9), "warning", kind="lost", error="E")
    other = "celery@two"
    deploy = [stopping(at(9, 1)), ready(at(8)), ready(at(9, 2), other)]
    rest = [hourly(at(hour), worker=other) for hour in range(10, 25)]
    report = review([*day_of()[:9], lost, *deploy, *rest])
    (outage,) = report.day.outages
    assert (outage.until, outage.seconds) == (at(9, 2), 120.0)
    assert "outage" not in kinds(report)


def test_calls_that_no_worker_heard():
    """The web's log alone, or the one of a worker that never came, is no good day."""
    accepted = {"job": "a", "slot": "s", "task_id": "1", "address": "x"}
    said = {"since": at(1).isoformat(), "commands": {"cron": 1}, "billed": 1}
    web = [
        line("web_report", at(2), **said),
        line("trigger_accepted", at(9), **accepted),
    ]
    report = review(web)
    (gap,) = report.day.gaps
    assert (gap.since, gap.until, gap.planned) == (at(2), None, False)
    assert kinds(report) == ["gap"]
    assert review(web[:1]).day.gaps == ()


def test_the_budget_and_the_polls_are_held_against_what_they_should_be():
    """More commands than the day's share, and far more polls than demanded."""
    lines = [*day_of()[:-1], hourly(at(24), 2, take=20_000)]
    assert kinds(review(lines)) == ["budget"]
    assert kinds(review(lines, budget=1_000_000)) == []
    warned = line("budget_warned", at(9), "warning", month="2026-11", share=0.6)
    assert kinds(review([*day_of(), warned])) == ["budget"]
    spent = line("budget_exhausted", at(10), "error", month="2026-11", spent=500_000)
    (reason,) = review([*day_of(), warned, spent]).reasons
    assert reason.kind == "budget"
    assert reason.text == "The month's budget is used up: smartworker budget."
    many = [*day_of()[:-1], hourly(at(24), 3600)]
    assert kinds(review(many)) == ["polls"]
    none = [hourly(at(hour), 0) for hour in range(1, 25)]
    assert kinds(review(none)) == ["polls"]


def test_what_the_web_process_sent_is_counted_too():
    """Its reports have no polls, and are no sign of a worker."""
    said = line(
        "web_report",
        at(12),
        since=at(11).isoformat(),
        commands={"cron": 30},
        billed=30,
    )
    day = review([*day_of(), said]).day
    assert day.commands.total == 432
    assert day.commands.by_cause == {"poll": 402, "cron": 30}
    assert day.polls.made == 402
    assert day.hours[11].commands == 32


def test_two_days_are_compared():
    """The newest day that is over, and the one before it; today is not over."""
    lines = [
        *day_of(MIDNIGHT - timedelta(days=1)),
        *run(at(-5), "0", "a"),
        *day_of(),
        *run(at(9), "1", "a"),
        *run(at(9), "2", "a"),
        *run(at(26), "3", "a"),
    ]
    report = review(lines)
    assert report.day.date == DAY
    assert report.before is not None
    assert report.before.date == DAY - timedelta(days=1)
    assert report.day.jobs[0].ok == 2
    assert report.before.jobs[0].ok == 1
    today = review(lines, day=date(2026, 11, 25))
    assert today.day.jobs[0].ok == 1
    assert today.before == report.day


def test_a_log_of_today_alone_is_today_so_far():
    """Nothing else is there, and what has not come yet is no gap."""
    report = review(day_of()[:10], now=at(10, 30))
    assert report.day.date == DAY
    assert kinds(report) == []


@pytest.mark.parametrize(
    ("day", "midnight", "hours", "label"),
    [
        (date(2026, 3, 8), datetime(2026, 3, 8, 5, tzinfo=UTC), 23, "03"),
        (date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC), 25, "01b"),
    ],
)
def test_days_of_a_clock_change(day, midnight, hours, label):
    """23 and 25 hours, each with its line, and the last second is still that day's."""
    last = midnight + timedelta(hours=hours) - timedelta(milliseconds=1)
    lines = [
        *day_of(midnight, hours),
        *run(last - timedelta(seconds=1), "1"),
        *run(last + timedelta(seconds=1), "2"),
    ]
    report = review(lines, now=midnight + timedelta(days=3), day=day)
    assert report.day.until - report.day.since == timedelta(hours=hours)
    assert len(report.day.hours) == hours
    assert report.day.hours[2].label == label
    assert report.day.tasks[0].ok == 1
    assert report.day.hours[-1].runs == 1
    assert "gap" not in kinds(report)
    assert sum(h.demanded_polls for h in report.day.hours) == report.day.polls.demanded


def test_a_flood_of_names_shares_one_row():
    """Names, causes and addresses of an attacker do not fill the memory."""
    lines = [
        each
        for n in range(3000)
        for each in (
            *run(at(9), f"{n}", task=f"t{'x' * n}", error=f"E{'y' * (n % 290)}: {n}"),
            line("trigger_refused", at(9), address=f"2001::{n:x}", status=401),
        )
    ]
    day = review([*day_of(), *lines]).day
    assert len(day.tasks) <= 501
    assert sum(task.failed for task in day.tasks) == 3000
    assert len(day.errors) <= 301
    assert sum(group.count for group in day.errors) == 3000
    assert len(day.refusals) <= 1001
    assert sum(one.count for one in day.refusals) == 3000
    assert len(day.runs) == 2000
    assert day.runs_left_out == 1000


def test_percentiles_are_exact_within_two_percent():
    """Against the sorted list, from milliseconds to hours."""
    rng = random.Random(7)
    values = sorted(rng.lognormvariate(1, 3) for _ in range(5000))
    found = Histogram()
    for value in values:
        found.add(value)
    spread = found.spread()
    for share, measured in ((0.5, spread.p50), (0.95, spread.p95)):
        exact = values[int(share * len(values)) - 1]
        assert measured == pytest.approx(exact, rel=0.025)
    assert spread.longest == round(values[-1], 3)
    assert sum(count for _, count in found.steps()) == 5000


def test_error_lines_of_libraries_count():
    """Celery's own line about a failed task is left out: our event says it."""
    lines = [
        line("Pool callback raised 12", at(9), "error", logger="celery.pool"),
        line("Task x raised", at(9), "error", logger="celery.app.trace"),
        line("fine", at(9), "info", logger="celery.pool"),
    ]
    report = review([*day_of(), *lines])
    (group,) = report.day.errors
    assert (group.event, group.cause) == ("log", "Pool callback raised #")
    assert kinds(report) == ["error"]


def test_a_cause_that_is_known_keeps_its_count():
    """Also when there are too many of them; new ones are counted together."""
    lines = [
        hourly(at(hour), 0, **{f"cause-{n}": 1 for n in range(150)})
        for hour in range(1, 11)
    ]
    found = review(lines).day.commands
    assert found.total == 1500
    assert len(found.by_cause) <= 101
    assert found.by_cause["cause-7"] == 10
    assert found.total == found.by_cause["(others)"] + 10 * 99


def test_causes_hide_what_differs():
    """Ids, addresses, times and numbers; words stay."""
    assert cause_of("E: key 1f0e8c4a-1111-2222-3333-444455556666 is gone") == (
        "E: key # is gone"
    )
    assert cause_of("object at 0x7f3a, 12.5 s, 10:00:01") == "object at #, # s, #"
    assert cause_of("decade facade") == "decade facade"


def test_starts_and_window_changes_are_listed():
    """As they came."""
    changed = line(
        "interval_changed",
        at(20),
        old_poll_seconds=1800.0,
        poll_seconds=30.0,
        window="20:00-23:00",
        until=None,
        reason="window 20:00-23:00 is open",
        commands=40,
    )
    day = review([ready(at(0)), *day_of(), changed, stopping(at(23, 59))]).day
    assert [(s.at, s.worker, s.how) for s in day.starts] == [
        (at(0), WORKER, "ready"),
        (at(23, 59), WORKER, "stopping"),
    ]
    (change,) = day.changes
    assert (change.at, change.window, change.poll_seconds) == (
        at(20),
        "20:00-23:00",
        30,
    )
