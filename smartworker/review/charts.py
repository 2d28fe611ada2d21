"""The charts of a report: numbers in, inline SVG out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log10

from smartworker.review.report import Day, Hour, Run, Sent, Spread
from smartworker.review.svg import Drawing
from smartworker.review.words import Local, many, number, took

#: A mark that is narrower than this, in percent, cannot be seen on a phone.
THINNEST = 0.35
#: Polls that are closer together, in percent, are drawn as one band.
CLOSEST = 0.3
LABEL_EVERY = 3
#: The name of a lane is no longer than this on a phone, in percent.
NAMES_END = 22
#: Runs of one outcome inside one of so many parts of the day share a mark.
PARTS = 480

Place = Callable[[datetime], float]


@dataclass(frozen=True)
class Lane:
    """One row of the strip, with the foot of its name above it."""

    name: str
    top: float
    height: float


WINDOWS = Lane("windows", 16, 14)
POLLS = Lane("polls", 50, 14)
RUNS = Lane("runs that went well", 84, 14)
FAILED = Lane("failed or retried", 118, 14)
WORKER = Lane("worker", 152, 14)
LANES = (WINDOWS, POLLS, RUNS, FAILED, WORKER)
STRIP_HEIGHT = 192.0
STRIP_FOOT = 170.0


def placed(since: datetime, until: datetime) -> Place:
    """Where an instant lies between two others, in percent, and never outside."""
    whole = (until - since) / timedelta(seconds=1)

    def place(instant: datetime) -> float:
        part = (instant - since) / timedelta(seconds=1)
        return min(max(part / whole, 0.0), 1.0) * 100

    return place


def strip(day: Day, local: Local, now: datetime) -> str:
    """A day from midnight to midnight: windows, polls, runs, and when nobody spoke.

    What has no end yet reaches to `now`, which is marked if the day is not over.
    """
    drawing = Drawing(
        "strip",
        STRIP_HEIGHT,
        f"The day hour by hour, {len(day.hours)} hours",
        _told(day, local),
    )
    place = placed(day.since, day.until)
    _hours_of(drawing, day.hours, place)
    for lane in LANES:
        drawing.text("lane", 0, lane.top - 4, lane.name)
    for span in day.spans:
        left, right = place(span.since), place(span.until)
        tip = f"window {span.window}: a poll each {took(span.poll_seconds)}"
        drawing.box("tint", left, WINDOWS.top, right - left, STRIP_FOOT - WINDOWS.top)
        drawing.box(
            "window", left, WINDOWS.top, right - left, WINDOWS.height, tip, round_by=2
        )
    for left, width, tip in _polls(day.sent, place, local):
        drawing.box("poll", left, POLLS.top, width, POLLS.height, tip)
    for kind, lane, left, width, tip in _runs(day, local):
        drawing.box(kind, left, lane.top, width, lane.height, tip, round_by=1)
    _life(drawing, day, place, local, min(now, day.until))
    if day.since < now < day.until:
        x = place(now)
        drawing.line("now", (x, WINDOWS.top - 4, x, STRIP_FOOT))
        if x > NAMES_END:
            anchor = "middle" if x < 95 else "end"
            drawing.text("value", x, WINDOWS.top - 6, "now", anchor)
    return str(drawing)


def _hours_of(drawing: Drawing, hours: Sequence[Hour], place: Place) -> None:
    """A line for each hour and a label for each third."""
    for index, hour in enumerate(hours):
        x = place(hour.since)
        labelled = _labelled(hour)
        drawing.line(
            "hour strong" if labelled else "hour", (x, WINDOWS.top, x, STRIP_FOOT)
        )
        if labelled:
            drawing.text(
                "axis", x, STRIP_HEIGHT - 6, hour.label, "middle" if index else "start"
            )


def _labelled(hour: Hour) -> bool:
    """Each third hour of the clock, and the one that comes a second time."""
    return not (hour.label.isdigit() and int(hour.label) % LABEL_EVERY)


def _told(day: Day, local: Local) -> str:
    """The strip in words; the tables of the page have the rest."""
    said = [
        f"window {span.window} from {local.time(span.since)} to "
        f"{local.time(span.until)}"
        for span in day.spans
    ]
    made = day.polls.made
    said.append("polls unknown" if made is None else many(made, "poll"))
    failed = sum(hour.failed for hour in day.hours)
    said.append(f"{many(sum(hour.runs for hour in day.hours), 'run')}, {failed} failed")
    said.extend(
        f"no worker heard from {local.time(gap.since)} to {local.time(gap.until)}"
        for gap in day.gaps
    )
    said.extend(
        f"server away from {local.time(outage.since)} to {local.time(outage.until)}"
        for outage in day.outages
    )
    return "; ".join(said) + "."


def _polls(
    sent: Sequence[Sent], place: Place, local: Local
) -> Iterator[tuple[float, float, str]]:
    """Ticks where they can be told apart, a band where they cannot.

    A report says how many polls there were and not when, so they are spread evenly.
    """
    for each in sent:
        if each.polls <= 0:
            continue
        left, right = place(each.since), place(each.at)
        tip = (
            f"{many(each.polls, 'poll')} from {local.time(each.since)} "
            f"to {local.time(each.at)}"
        )
        step = (right - left) / each.polls
        if step < CLOSEST:
            yield left, max(right - left, THINNEST), tip
        else:
            for index in range(each.polls):
                middle = left + step * (index + 0.5)
                yield middle - THINNEST / 2, THINNEST, tip


def _runs(day: Day, local: Local) -> Iterator[tuple[str, Lane, float, float, str]]:
    """One mark for all runs of an outcome that begin in the same part of the day."""
    place = placed(day.since, day.until)
    together: dict[tuple[str, int], list[Run]] = {}
    for run in day.runs:
        part = int(place(run.start) / 100 * PARTS)
        together.setdefault((run.outcome, part), []).append(run)
    for (outcome, _), runs in together.items():
        left = place(min(run.start for run in runs))
        right = max(place(run.start + timedelta(seconds=run.seconds)) for run in runs)
        lane = RUNS if outcome == "ok" else FAILED
        width = max(right - left, THINNEST)
        yield outcome, lane, min(left, 100 - width), width, _tip(runs, outcome, local)


def _tip(runs: Sequence[Run], outcome: str, local: Local) -> str:
    first = min(runs, key=lambda run: run.start)
    if len(runs) > 1:
        names = sorted({run.job or run.task for run in runs})
        shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
        return f"{local.time(first.start)}: {len(runs)} runs {outcome}: {shown}"
    name = first.job or first.task
    return f"{local.second(first.start)} {name}: {outcome} after {took(first.seconds)}"


def _life(
    drawing: Drawing, day: Day, place: Place, local: Local, end: datetime
) -> None:
    """When a worker was heard, when none was, and when the server was away."""
    top, height = WORKER.top, WORKER.height
    if day.heard_first is not None and day.heard_last is not None:
        left, right = place(day.heard_first), place(day.heard_last)
        drawing.box("heard", left, top + 5, right - left, 4, "a worker was heard")
    for gap in day.gaps:
        left, right = place(gap.since), place(gap.until or end)
        kind = "gap planned" if gap.planned else "gap"
        tip = (
            f"no worker heard from {local.time(gap.since)} to {local.time(gap.until)}, "
            f"{took(gap.seconds)}{', as announced' if gap.planned else ''}"
        )
        drawing.box(kind, left, top, max(right - left, THINNEST), height, tip)
    for outage in day.outages:
        left, right = place(outage.since), place(outage.until or end)
        tip = f"server away from {local.time(outage.since)}, {took(outage.seconds)}"
        drawing.box("outage", left, top, max(right - left, THINNEST), height, tip)
    for start in day.starts:
        tip = f"{local.second(start.at)} {start.worker}: {start.how}"
        x = min(place(start.at), 100 - THINNEST)
        drawing.box(f"start {start.how}", x, top - 2, THINNEST, height + 4, tip)


BARS_TOP = 18.0
BARS_FOOT = 138.0
BARS_HEIGHT = 160.0


def hours(found: Sequence[Hour], budget_day: int) -> str:
    """Billed commands in each hour, the polls among them darker.

    A dashed line is the hour's share of the budget, left out where it is far above.
    """
    most = max((hour.commands for hour in found), default=0)
    busiest = max(found, key=lambda hour: hour.commands, default=None)
    told = f"{many(sum(hour.commands for hour in found), 'command')} in all"
    if busiest is not None and most:
        told += f", most at {busiest.label}: {number(most)}"
    drawing = Drawing("hours", BARS_HEIGHT, "Commands per hour", f"{told}.")
    share = budget_day / len(found) if found else 0.0
    shown = 0 < share <= most * 2
    top = max(most, share if shown else 0, 1)
    scale = (BARS_FOOT - BARS_TOP) / top
    for index, hour in enumerate(found):
        _bar_of_hour(drawing, hour, index, 100 / len(found), scale)
    drawing.line("base", (0, BARS_FOOT, 100, BARS_FOOT))
    if shown:
        y = BARS_FOOT - share * scale
        drawing.line("limit", (0, y, 100, y))
        drawing.text("axis", 0, y - 4, f"budget: {number(share)} an hour")
    return str(drawing)


def _bar_of_hour(
    drawing: Drawing, hour: Hour, index: int, width: float, scale: float
) -> None:
    left, inner = width * (index + 0.14), width * 0.72
    tall = hour.commands * scale
    polls = min(hour.polls, hour.commands) * scale
    tip = (
        f"{hour.label}: {many(hour.commands, 'command')}, {many(hour.polls, 'poll')} "
        f"of {number(hour.demanded_polls)} planned, {many(hour.runs, 'run')}"
    )
    if hour.commands:
        drawing.box("sent", left, BARS_FOOT - tall, inner, tall, tip, round_by=1)
        drawing.box("poll", left, BARS_FOOT - polls, inner, polls, tip, round_by=1)
    if _labelled(hour):
        drawing.text(
            "axis", width * (index + 0.5), BARS_HEIGHT - 6, hour.label, "middle"
        )
    if hour.commands and hour.commands * scale == BARS_FOOT - BARS_TOP:
        anchor = "start" if index < 2 else "end" if width * index > 94 else "middle"
        x = {"start": left, "end": left + inner}.get(anchor, left + inner / 2)
        drawing.text("value", x, BARS_TOP - 5, number(hour.commands), anchor)


def durations(found: Sequence[tuple[float, int]]) -> str:
    """How many runs took how long; each bar stands for runs up to its duration."""
    most = max((count for _, count in found), default=0)
    total = sum(count for _, count in found)
    told = ", ".join(
        f"{number(count)} up to {_edge(found, index)}"
        for index, (_, count) in enumerate(found)
        if count
    )
    drawing = Drawing(
        "durations", BARS_HEIGHT, f"How long {many(total, 'run')} took", f"{told}."
    )
    width = 100 / max(len(found), 1)
    scale = (BARS_FOOT - BARS_TOP) / max(most, 1)
    every = 1 + len(found) // 9
    for index, (_, count) in enumerate(found):
        middle = width * (index + 0.5)
        tall = count * scale
        if count:
            drawing.box(
                "took",
                width * (index + 0.1),
                BARS_FOOT - tall,
                width * 0.8,
                tall,
                f"{many(count, 'run')} up to {_edge(found, index)}",
                round_by=1,
            )
            drawing.text("value", middle, BARS_FOOT - tall - 5, number(count), "middle")
        if index % every == 0:
            drawing.text("axis", middle, BARS_HEIGHT - 6, _edge(found, index), "middle")
    drawing.line("base", (0, BARS_FOOT, 100, BARS_FOOT))
    return str(drawing)


def _edge(found: Sequence[tuple[float, int]], index: int) -> str:
    """The upper end of a bar; the last may have none."""
    seconds = found[index][0]
    if seconds == float("inf"):
        return "more"
    return took(seconds)


#: The scale of all spreads of a page: from a millisecond to a day.
SHORTEST, LONGEST = 0.001, 86_400.0


def spread(name: str, found: Spread, least: float, most: float) -> str:
    """A line from the median to the longest, with a mark at each percentile.

    `least` and `most` are the seconds at the ends, the same for all rows of a table,
    on a scale where each step is ten times the one before.
    """
    told = (
        f"half within {took(found.p50)}, 95 of 100 within {took(found.p95)}, "
        f"the longest {took(found.longest)}"
    )
    drawing = Drawing(name, 16, told, f"{many(found.count, 'run')}.")
    low, high = log10(max(least, SHORTEST)), log10(min(max(most, SHORTEST), LONGEST))

    def place(seconds: float) -> float:
        part = log10(min(max(seconds, SHORTEST), LONGEST)) - low
        return min(max(part / max(high - low, 0.1), 0.0), 1.0) * 94 + 3

    drawing.line("base", (3, 8, 97, 8))
    p50, p95, longest = (place(each) for each in (found.p50, found.p95, found.longest))
    drawing.line("reach", (p50, 8, longest, 8))
    drawing.box("usual", p50, 4, max(p95 - p50, 0.8), 8, round_by=2)
    drawing.box("median", p50 - 0.6, 2, 1.6, 12, round_by=1)
    drawing.box("tail", longest - 0.6, 4, 1.2, 8, round_by=1)
    return str(drawing)


def bar(name: str, value: float, most: float, told: str, kind: str = "sent") -> str:
    """One lying bar, as long as its value is of the most."""
    drawing = Drawing(name, 12, told, f"{percent_of(value, most):.0f} percent.")
    drawing.box("track", 0, 2, 100, 8, round_by=4)
    part = percent_of(value, most)
    if part > 0:
        drawing.box(kind, 0, 2, max(part, 0.8), 8, round_by=4)
    return str(drawing)


def percent_of(value: float, most: float) -> float:
    """A part in percent, between 0 and 100."""
    return min(max(value / most, 0.0), 1.0) * 100 if most > 0 else 0.0
