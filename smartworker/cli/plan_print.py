"""What a person sees of a plan and of its cost, in 80 columns and without colour."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import log

from rich import box
from rich.console import Console
from rich.table import Table

from smartworker.budget import MONTH, START_COMMANDS, TASK_COMMANDS, Forecast
from smartworker.durations import format_duration
from smartworker.policy import Decision, Policy
from smartworker.row_cost import MOST_FRESH

CHANGES = 6  # how many the person is shown
DAY = "%a %d %b %Y"
MOMENT = f"{DAY} %H:%M %Z"
HOURS = "".join(f"{hour:02}".ljust(6) for hour in range(0, 24, 3)) + "24"
MONTHS = range(28, 32)  # days: nothing to extrapolate

_BLOCKS = "░▒▓█"
_LETTERS = ".-+#"  # for terminals that have no blocks


def print_windows(policy: Policy, now: datetime) -> None:
    """The open window, all windows, and the next changes."""
    decision = policy.decide(now)
    facts = Table.grid(padding=(0, 3))
    facts.add_row("Now", _moment(policy, now), str(policy.windows.zone))
    facts.add_row("Poll", f"every {format_duration(decision.poll)}", decision.reason)
    if decision.since:
        facts.add_row("Since", _moment(policy, decision.since))
    if decision.until:
        left = timedelta(seconds=(decision.until - now).total_seconds())
        facts.add_row(
            "Until", _moment(policy, decision.until), f"in {format_duration(left)}"
        )
    plan = _table("Window", "Poll")
    for span in policy.windows.spans:
        plan.add_row(span.name, f"every {format_duration(span.poll)}")
    plan.add_row("otherwise", f"every {format_duration(policy.quiet_poll)}")
    changes = _table("Next changes", "Poll", "Because")
    for instant, coming in _changes(policy, decision):
        poll = f"every {format_duration(coming.poll)}"
        changes.add_row(_moment(policy, instant), poll, coming.reason)
    _print(facts, plan, changes if changes.row_count else "Nothing ever changes.")


def _changes(policy: Policy, decision: Decision) -> Iterator[tuple[datetime, Decision]]:
    for _ in range(CHANGES):
        if decision.until is None:
            return
        instant = decision.until
        decision = policy.decide(instant)
        yield instant, decision


def print_forecast(
    policy: Policy, forecast: Forecast, days: int, present: Forecast | None = None
) -> None:
    """The cost by window, the 24 hours of the day, and the month's budget.

    `present`: the same time with the present plan, to be compared with.
    """
    utf = _console().encoding.lower().startswith("utf")
    _print(
        _title(policy, forecast, days),
        _cost(forecast),
        strip(forecast, days, blocks=utf),
        _price(forecast, days, present),
    )


def _title(policy: Policy, forecast: Forecast, days: int) -> str:
    local = policy.windows.local
    first = local(forecast.start)
    last = local(forecast.end) - timedelta(days=1)
    hours = (forecast.end - forecast.start).total_seconds() / 3600
    span = f"{first:{DAY}}" if days == 1 else f"{first:{DAY}} to {last:{DAY}}"
    lines = [f"{span}, {hours:,g} hours in {policy.windows.zone}"]
    if forecast.workers > 1:
        lines.append(f"{forecast.workers} workers, each polls by itself")
    return "\n".join(lines)


def _cost(forecast: Forecast) -> Table:
    table = _table("Window", "Poll", "Open", "Commands", right=("Open", "Commands"))
    for share in forecast.shares:
        table.add_row(
            share.window or "otherwise",
            f"every {format_duration(share.poll)}",
            format_duration(share.open),
            f"{share.polls:,}",
        )
    whose = "its row" if forecast.workers == 1 else "their rows"
    table.add_row(whose, f"each {MOST_FRESH} commands", "", f"{forecast.row:,}")
    for job in forecast.jobs:
        table.add_row(
            f"{job.name}, {job.runs:,} runs",
            f"{job.each} each",
            "",
            f"{job.commands:,}",
        )
    if forecast.tasks:
        each = f"{len(TASK_COMMANDS) + forecast.rings} each"
        table.add_row(
            f"{forecast.tasks:,} tasks", each, "", f"{forecast.task_commands:,}"
        )
        table.add_row("leases", "while busy", "", f"{forecast.lease_commands:,}")
    table.add_section()
    table.add_row("total", "", "", f"{forecast.commands:,}")
    return table


def strip(forecast: Forecast, days: int, *, blocks: bool) -> str:
    """The local day in 48 half hours: the denser, the more polls, and the legend."""
    means = [polls / days for polls in forecast.cells]
    glyphs = _BLOCKS if blocks else _LETTERS
    levels = [_level(mean, means) for mean in means]
    cells = "".join(" " if level is None else glyphs[level] for level in levels)
    legend = []
    for level, glyph in enumerate(glyphs):
        seen = [mean for mean, of in zip(means, levels, strict=True) if of == level]
        if seen:
            legend.append(f"{glyph} {_range(min(seen), max(seen))}")
    unit = "polls per half hour" if days == 1 else "polls per half hour, on average"
    return f"{HOURS}\n{cells}\n{'   '.join(legend)} {unit}"


def _level(mean: float, means: list[float]) -> int | None:
    """Where a half hour stands between the quietest and the busiest one, by ratio."""
    if not mean:
        return None
    least, most = min(filter(None, means)), max(means)
    steps = len(_BLOCKS) - 1
    return round(steps * log(mean / least) / log(most / least)) if most > least else 0


def _range(least: float, most: float) -> str:
    low, high = (f"{value:,.1f}".removesuffix(".0") for value in (least, most))
    return low if low == high else f"{low} to {high}"


def _price(forecast: Forecast, days: int, present: Forecast | None) -> str:
    budget = f"{forecast.budget:,}"
    lines = [
        f"{forecast.commands:,} commands are {_percent(forecast.budget_share)} of the "
        f"month's {budget}, or ${forecast.dollars:.4f} pay as you go."
    ]
    if days not in MONTHS:
        month = forecast.month_commands
        share = _percent(month / forecast.budget)
        lines.append(f"{MONTH.days} days at this rate: {month:,} commands, {share}.")
    if present is not None:
        change = forecast.month_commands - present.month_commands
        lines.append(
            f"In 30 days that is {change:+,} against the present plan's "
            f"{present.month_commands:,}."
        )
    lines.append(f"Each start of a worker adds at most {START_COMMANDS}.")
    if forecast.month_commands > forecast.budget:
        lines.append("This is over the monthly budget.")
    return "\n".join(lines)


def _percent(part: float) -> str:
    digits = 1 if part >= 0.01 else 2
    return f"{100 * part:,.{digits}f} %"


def _moment(policy: Policy, instant: datetime) -> str:
    return policy.windows.local(instant).strftime(MOMENT)


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _console() -> Console:
    return Console(highlight=False, markup=False)


def _print(*parts: Table | str) -> None:
    console = _console()
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)
