"""What a person sees of a review, in 80 columns and without colour."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from smartworker.cli.shown import plain
from smartworker.windows import find_zone

if TYPE_CHECKING:
    from smartworker.review.report import Day, Report, Spread

MOST = 8  # rows of a table; the rest is in the page and in --json
CAUSE = 120  # characters of an error
#: Beside the runs that went well and those that failed.
COLUMNS = {
    "retried": "Retry",
    "missed": "Miss",
    "late": "Late",
    "made_up": "Made up",
    "stuck": "Stuck",
    "duplicate": "Dup",
    "skipped": "Skip",
    "refused": "Refused",
}
_BARS = "▁▂▃▄▅▆▇█"
_LETTERS = "._-:=+*#"  # for terminals that have no blocks


class Printer:
    """Turns a report into tables; local times are those of its zone."""

    def __init__(self, report: "Report") -> None:
        self._report = report
        self._zone = find_zone(report.zone)

    def parts(self) -> list[RenderableType]:
        """Everything, in the order in which it is read."""
        day = self._report.day
        found: list[RenderableType | None] = [
            self._title(),
            self._reasons(),
            self._jobs(day),
            self._tasks(day),
            self._errors(day),
            self._refusals(day),
            self._presence(day),
            self._costs(),
            self._hours(day),
            self._read(),
        ]
        return [part for part in found if part is not None]

    def _title(self) -> str:
        day = self._report.day
        length = round((day.until - day.since).total_seconds() / 3600)
        title = f"{day.date:%a %d %b %Y}, {length} hours in {self._report.zone}"
        if self._report.before is None:
            return title
        return f"{title}; in brackets: the day before"

    def _reasons(self) -> RenderableType:
        if not self._report.reasons:
            return "Nothing needs attention."
        rows = Table.grid(padding=(0, 2))
        for reason in self._report.reasons:
            rows.add_row(Text("!"), Text(plain(reason.text)))
        return rows

    def _jobs(self, day: "Day") -> Table | None:
        """Only the columns in which something stands."""
        if not day.jobs:
            return None
        before = self._report.before
        old = {} if before is None else {job.job: job for job in before.jobs}
        shown = [name for name in COLUMNS if any(getattr(j, name) for j in day.jobs)]
        delays = any(job.start_delay.count for job in day.jobs)
        names = ["OK", "Failed", *(COLUMNS[name] for name in shown)]
        rows = _table("Job", *names, *(["Start"] if delays else []))
        for job in day.jobs[: 2 * MOST]:
            then = old.get(job.job)
            cells = [
                _against(job.ok, then.ok if then else None),
                _against(job.failed, then.failed if then else None),
                *(_count(getattr(job, name)) for name in shown),
            ]
            if delays:
                delay = job.start_delay
                cells.append(_seconds(delay.p50) if delay.count else "")
            rows.add_row(plain(job.job), *cells)
        return _more(rows, len(day.jobs), 2 * MOST)

    def _tasks(self, day: "Day") -> Table | None:
        if not day.tasks:
            return None
        rows = _table("Slowest tasks", "Runs", "Failed", "p50", "p95", "Longest")
        for task in day.tasks[:MOST]:
            rows.add_row(
                plain(task.task),
                f"{task.ok + task.failed + task.retried:,}",
                _count(task.failed),
                *_spread(task.seconds),
            )
        return _more(rows, len(day.tasks), MOST)

    def _errors(self, day: "Day") -> Table | None:
        if not day.errors:
            return None
        rows = _table("Errors by cause", "Count", "First", "Last")
        for group in day.errors[:MOST]:
            what = f"{group.event}: {group.cause}" if group.event else group.cause
            what = plain(what[:CAUSE])
            rows.add_row(
                what,
                f"{group.count:,}",
                self._time(group.first),
                self._time(group.last),
            )
        return _more(rows, len(day.errors), MOST)

    def _refusals(self, day: "Day") -> Table | None:
        if not day.refusals:
            return None
        rows = _table("Refused calls from", "Count", "First", "Last")
        for one in day.refusals[:MOST]:
            why = next(iter(one.reasons), "")
            rows.add_row(
                plain(f"{one.address}  {why}"),
                f"{one.count:,}",
                self._time(one.first),
                self._time(one.last),
            )
        return _more(rows, len(day.refusals), MOST)

    def _presence(self, day: "Day") -> Table | None:
        moments: list[tuple[datetime, str]] = []
        for change in day.changes:
            what = (
                f"window {plain(change.window)} opened"
                if change.window
                else plain(change.reason or "window closed")
            )
            moments.append(
                (change.at, f"{what}, a poll every {change.poll_seconds:g} s")
            )
        for start in day.starts:
            moments.append((start.at, f"{plain(start.worker)} {_words(start.how)}"))
        for gap in day.gaps:
            how = "as planned" if gap.planned else "without a word"
            end = f"until {self._time(gap.until)}" if gap.until else "and still is"
            text = f"no worker {end} ({_seconds(gap.seconds)}), gone {how}"
            moments.append((gap.since, text))
        for outage in day.outages:
            end = f"back at {self._time(outage.until)}" if outage.until else "not back"
            text = f"Redis away ({plain(outage.kind)}), {end}"
            moments.append((outage.since, f"{text}, {_seconds(outage.seconds)}"))
        if not moments:
            return None
        rows = _table("Time", "What happened", right=False)
        for at, text in sorted(moments)[: 3 * MOST]:
            rows.add_row(self._time(at), text)
        return _more(rows, len(moments), 3 * MOST)

    def _costs(self) -> Table | str:
        day, before = self._report.day, self._report.before
        spent, polls = day.commands, day.polls
        if spent.total is None:
            return "Polls and commands: the logs have no worker_report of this day."
        rows = _table("Commands", "Count")
        for cause, count in spent.by_cause.items():
            rows.add_row(plain(cause), f"{count:,}")
        rows.add_section()
        then = None if before is None else before.commands.total
        rows.add_row("total", _against(spent.total, then))
        rows.add_row("the budget's share of a day", f"{spent.budget_day:,}")
        if polls.made is not None:
            text = f"polls; the schedule demands {polls.demanded:,}"
            rows.add_row(text, f"{polls.made:,}")
        return rows

    def _hours(self, day: "Day") -> str | None:
        most = max((hour.commands for hour in day.hours), default=0)
        if not most:
            return None
        utf = Console().encoding.lower().startswith("utf")
        glyphs = _BARS if utf else _LETTERS
        bars = "".join(
            glyphs[hour.commands * (len(glyphs) - 1) // most] * 2 for hour in day.hours
        )
        marks = "".join(f"{hour.label[:2]:<6}" for hour in day.hours[::3])
        return f"{marks}\n{bars}\ncommands per hour, at most {most:,}"

    def _read(self) -> str:
        read = self._report.reading
        text = (
            f"{read.lines:,} lines read, {read.events:,} of smartworker, "
            f"{read.foreign:,} of others, {read.broken:,} broken"
        )
        if read.console:
            text += (
                f", {read.console:,} of the console format, which is not read: "
                "set SMARTWORKER_LOG_FORMAT=json"
            )
        lines = [f"{text}."]
        lines += [f"broken: {plain(line)[:70]}" for line in read.broken_samples]
        return "\n".join(lines)

    def _time(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).strftime("%H:%M:%S")


def print_report(report: "Report", page: Path | None) -> None:
    """The reasons first, then the day."""
    console = Console(highlight=False, markup=False, soft_wrap=False)
    for number, part in enumerate(Printer(report).parts()):
        if number:
            console.print()
        console.print(part)
    if page is not None:
        console.print(f"\nThe page is in {plain(page)}.", soft_wrap=True)


def _table(first: str, *columns: str, right: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(first, overflow="fold" if right else "ellipsis")
    for column in columns:
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    return table


def _more(rows: Table, count: int, most: int) -> Table:
    if count > most:
        rows.add_row(f"and {count - most} more")
    return rows


def _words(how: str) -> str:
    return "is ready" if how == "ready" else "stops"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _against(now: int, then: int | None) -> str:
    return _count(now) if then is None else f"{now:,} ({then:,})"


def _spread(spread: "Spread") -> tuple[str, str, str]:
    if not spread.count:
        return "", "", ""
    return _seconds(spread.p50), _seconds(spread.p95), _seconds(spread.longest)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
