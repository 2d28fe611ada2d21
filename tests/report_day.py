"""A day as the review might find it, for the tests of its page."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random

from smartworker.review.report import (
    Commands,
    Day,
    ErrorGroup,
    Gap,
    Hour,
    JobFigures,
    Outage,
    Polls,
    Reading,
    Reason,
    Refusal,
    Report,
    Run,
    Sent,
    Spread,
    Start,
    TaskFigures,
    WindowChange,
    WindowSpan,
)
from smartworker.windows import Windows

ZONE = "America/New_York"
WINDOWS = Windows.parse("20:00-23:00=30s", ZONE)
QUIET = 1800.0
FAST = 30.0
HOUR = timedelta(hours=1)


def hours_of(day: date, runs: tuple[Run, ...] = ()) -> tuple[Hour, ...]:
    """The hours of a local day with the polls of the plan and what else was sent."""
    since, until = ends_of(day)
    found: list[Hour] = []
    while since < until:
        open_now = WINDOWS.at(since) is not None
        polls = int(3600 / (FAST if open_now else QUIET))
        mine = [run for run in runs if since <= run.start < since + HOUR]
        label = WINDOWS.local(since).strftime("%H")
        if found and found[-1].label == label:
            label += "b"
        failed = sum(run.outcome == "failed" for run in mine)
        sent = polls + 4 * len(mine) + 2
        found.append(Hour(since, label, sent, polls, len(mine), failed, polls))
        since += HOUR
    return tuple(found)


def ends_of(day: date) -> tuple[datetime, datetime]:
    """The midnights of a local day."""
    return WINDOWS.midnight(day), WINDOWS.midnight(day + timedelta(days=1))


def spans_of(day: date) -> tuple[WindowSpan, ...]:
    """The evening window of a local day."""
    since, until = ends_of(day)
    edges = [since]
    while (edge := WINDOWS.next_change(edges[-1])) is not None and edge < until:
        edges.append(edge)
    edges.append(until)
    return tuple(
        WindowSpan(window.name, window.poll.total_seconds(), start, end)
        for start, end in pairwise(edges)
        if (window := WINDOWS.at(start)) is not None
    )


def calm(day: date) -> Day:
    """A day on which nothing happened but polls and one good run."""
    since, until = ends_of(day)
    run = Run(until - 3 * HOUR, 4.2, "swim.schedule", "schedule-swim-lanes", "ok")
    spans = spans_of(day)
    edges = [since, *(e for span in spans for e in (span.since, span.until)), until]
    sent = tuple(
        Sent(a, b, int((b - a).total_seconds() / poll), poll)
        for a, b in pairwise(edges)
        for poll in [FAST if WINDOWS.at(a) else QUIET]
    )
    polls = sum(each.polls for each in sent)
    return Day(
        date=day,
        since=since,
        until=until,
        heard_first=since + timedelta(minutes=11),
        heard_last=until - timedelta(minutes=4),
        jobs=(
            JobFigures("schedule-swim-lanes", ok=1, seconds=Spread(1, 4.2, 4.2, 4.2)),
        ),
        tasks=(TaskFigures("swim.schedule", ok=1, seconds=Spread(1, 4.2, 4.2, 4.2)),),
        errors=(),
        refusals=(),
        changes=tuple(
            WindowChange(at, window, poll, old, None)
            for span in spans
            for at, window, poll, old in (
                (span.since, span.window, FAST, QUIET),
                (span.until, None, QUIET, FAST),
            )
        ),
        spans=spans,
        gaps=(),
        outages=(),
        starts=(),
        polls=Polls(polls, polls, 1),
        commands=Commands(
            polls + 30,
            {"poll": polls, "task": 12, "lease": 18},
            500_000,
            16_666,
            (polls + 30) / 16_666,
        ),
        hours=hours_of(day, (run,)),
        runs=(run,),
        runs_left_out=0,
        sent=sent,
        events={"task_finished": 1},
        durations=((1.0, 0), (5.0, 1)),
    )


def report_of(day: Day, before: Day | None = None, *reasons: Reason) -> Report:
    """A report with nothing odd in what was read."""
    reading = Reading(1204, 873, 320, 0, 0, 0, 181_000, ("worker.log",), (), ())
    return Report(ZONE, day.until + HOUR, day, before, reasons, reading)


def busy(day: date, seed: int = 4) -> Day:
    """A day with work, failures, silence and a server that went away."""
    quiet, random = calm(day), Random(seed)
    since = quiet.since
    runs = tuple(
        Run(
            since + random.uniform(0, 23.4) * HOUR,
            random.lognormvariate(1, 1.2),
            task,
            job,
            random.choices(("ok", "failed", "retried"), (90, 4, 6))[0],
        )
        for task, job in (
            ("shop.sync", "sync-orders"),
            ("shop.price", None),
            ("shop.price", None),
            ("shop.mail", None),
        )
        for _ in range(55)
    )
    counts = {
        name: sum(run.outcome == name for run in runs)
        for name in ("ok", "failed", "retried")
    }
    return replace(
        quiet,
        jobs=(
            JobFigures(
                "sync-orders",
                ok=49,
                failed=4,
                retried=2,
                missed=1,
                late=2,
                duplicate=3,
                skipped=1,
                seconds=Spread(55, 2.7, 18.4, 41.0),
                start_delay=Spread(55, 0.006, 0.41, 2.2),
            ),
            JobFigures(
                "nightly-sum-of-everything-sold-in-all-shops",
                ok=1,
                made_up=1,
                seconds=Spread(1, 312, 312, 312),
                start_delay=Spread(1, 0.02, 0.02, 0.02),
            ),
            *quiet.jobs,
        ),
        tasks=(
            TaskFigures("shop.price", 99, 5, 6, Spread(110, 2.7, 22.0, 68.0)),
            TaskFigures("shop.sync", 49, 4, 2, Spread(55, 2.7, 18.4, 41.0)),
            TaskFigures("shop.mail", 52, 1, 2, Spread(55, 0.24, 1.6, 3.1)),
            *quiet.tasks,
        ),
        errors=(
            ErrorGroup(
                "ConnectionError: shop.example refused order #",
                "task_failed",
                7,
                since + 9 * HOUR,
                since + 17 * HOUR,
                "shop.sync",
                "sync-orders",
                '{"event":"task_failed","task":"shop.sync","attempt":3,"error":"Connecti'
                'onError: shop.example refused order 88213","timestamp":"2026-11-02"}',
            ),
            ErrorGroup(
                "ValueError: no price for #",
                "task_failed",
                3,
                since + 11 * HOUR,
                since + 12 * HOUR,
                "shop.price",
                None,
                '{"event":"task_failed","task":"shop.price","error":"ValueError: no pri'
                'ce for 17"}',
            ),
        ),
        refusals=(
            Refusal(
                "203.0.113.9",
                41,
                {"401 wrong token": 40, "429 too many": 1},
                since + 3 * HOUR,
                since + 4 * HOUR,
            ),
            Refusal("2001:db8::17", 1, {"403 no token": 1}, since + HOUR, since + HOUR),
        ),
        gaps=(
            Gap(since + 6 * HOUR, since + 7.5 * HOUR, 5400, "celery@shop", False),
            Gap(since + 14 * HOUR, since + 14.2 * HOUR, 720, "celery@shop", True),
        ),
        outages=(
            Outage(
                since + 16 * HOUR,
                since + 16.4 * HOUR,
                1440,
                "timeout",
                12,
                "celery@shop",
            ),
        ),
        starts=(
            Start(since + 7.5 * HOUR, "celery@shop", "ready"),
            Start(since + 14 * HOUR, "celery@shop", "stopping"),
            Start(since + 14.2 * HOUR, "celery@shop", "ready"),
        ),
        commands=Commands(
            1316,
            {"poll": 402, "task": 880, "lease": 26, "start": 8},
            500_000,
            16_666,
            1316 / 16_666,
        ),
        hours=hours_of(day, runs),
        runs=runs,
        durations=(
            (0.1, 4),
            (0.5, 21),
            (1, 30),
            (2, 46),
            (5, 71),
            (10, 33),
            (30, 13),
            (60, 2),
            (300, 0),
            (float("inf"), 1),
        ),
        events={"task_finished": counts["ok"], "task_failed": counts["failed"]},
    )


TROUBLES = (
    Reason("failed", "10 runs failed, 4 of them of sync-orders.", 10),
    Reason("missed", "sync-orders missed 1 slot that nobody called for.", 1),
    Reason("gap", "No worker was heard of for 90 minutes from 06:00.", 1),
    Reason("refused", "203.0.113.9 was refused 41 times.", 41),
)
