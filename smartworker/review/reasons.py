"""What in a day needs somebody's attention, the worst first."""

from collections.abc import Iterator

from smartworker.review.report import Day, Gap, Outage, Reason

#: Calls that one address may be refused before it is worth a sentence.
REFUSED = 20
#: Seconds without a worker, though it had said that it stops.
PLANNED_GAP = 300.0
#: Seconds without the server, all outages of a day together.
AWAY = 300.0
#: Polls below this share of the plan's are too few, above that many times too many.
FEW, MANY = 0.8, 2.0
#: So many polls more or less are no news: each start, window and reconnect polls once.
SLACK = 50
#: Events with a sentence of their own here, or followed by one that has.
_TOLD = (
    "task_",
    "run_",
    "broker_",
    "budget_",
    "message_dead",
    "trigger_refused",
    "management_",
)


def reasons(day: Day, grave: dict[str, int]) -> tuple[Reason, ...]:
    """Why somebody should look at this day; `grave`: error lines by event."""
    if not day.events:
        text = f"The logs hold no line of smartworker for {day.date}."
        return (Reason("empty", text, 0),)
    return (
        *_runs(day),
        *_errors(grave, day),
        *_gaps(day.gaps),
        *_outages(day.outages),
        *_refusals(day),
        *_figures(day),
    )


def _runs(day: Day) -> Iterator[Reason]:
    failed = sum(task.failed for task in day.tasks)
    if failed:
        names = [task.task for task in day.tasks if task.failed]
        yield Reason("failed", f"{_runs_of(failed)} failed: {_names(names)}.", failed)
    for kind, words in (
        ("missed", "missed: nobody called for {} until the deadline"),
        ("stuck", "stuck: {} took more than twice as long as allowed"),
        ("late", "late: nobody called for {} within its grace"),
    ):
        count = sum(getattr(job, kind) for job in day.jobs)
        if count:
            names = [job.job for job in day.jobs if getattr(job, kind)]
            text = f"{_runs_of(count)} {words.format(_names(names))}."
            yield Reason(kind, text, count)


def _errors(grave: dict[str, int], day: Day) -> Iterator[Reason]:
    dead = day.events.get("message_dead", 0)
    if dead:
        text = f"{dead} message(s) went to the dead letters: smartworker dead list."
        yield Reason("dead", text, dead)
    rest = {n: count for n, count in grave.items() if not n.startswith(_TOLD)}
    if rest:
        total = sum(rest.values())
        names = sorted(rest, key=lambda name: (-rest[name], name))
        yield Reason("error", f"{total} error line(s): {_names(names)}.", total)


def _gaps(gaps: tuple[Gap, ...]) -> Iterator[Reason]:
    grave = [g for g in gaps if not g.planned or g.seconds > PLANNED_GAP]
    if grave:
        seconds = sum(gap.seconds for gap in grave)
        still = any(gap.until is None for gap in grave)
        ending = " and is still silent" if still else ""
        times = "1 gap" if len(grave) == 1 else f"{len(grave)} gaps"
        text = f"No worker was heard of for {_long(seconds)} in {times}{ending}."
        yield Reason("gap", text, len(grave))


def _outages(outages: tuple[Outage, ...]) -> Iterator[Reason]:
    away = sum(outage.seconds for outage in outages)
    still = any(outage.until is None for outage in outages)
    if outages and (away > AWAY or still):
        ending = ", and it is not back" if still else ""
        text = f"Redis was away for {_long(away)} in all{ending}."
        yield Reason("outage", text, len(outages))


def _refusals(day: Day) -> Iterator[Reason]:
    bursts = [one for one in day.refusals if one.count >= REFUSED]
    if bursts:
        total = sum(one.count for one in bursts)
        names = _names([one.address for one in bursts])
        yield Reason("refused", f"{total} calls were refused, from {names}.", total)


def _figures(day: Day) -> Iterator[Reason]:
    spent = day.commands
    if spent.total is not None and spent.budget_day and spent.total > spent.budget_day:
        text = (
            f"{spent.total:,} commands are more than the day's share of the budget, "
            f"{spent.budget_day:,}."
        )
        yield Reason("budget", text, spent.total)
    warned = day.events.get("budget_warned", 0)
    exhausted = day.events.get("budget_exhausted", 0)
    if exhausted:
        text = "The month's budget is used up: smartworker budget."
        yield Reason("budget", text, exhausted)
    elif warned:
        text = "The month's budget is being used up: smartworker budget."
        yield Reason("budget", text, warned)
    made, demanded = day.polls.made, day.polls.demanded
    if made is None:
        return
    few = made < demanded * FEW and demanded - made > SLACK
    if few or made > demanded * MANY + SLACK:
        text = f"{made:,} polls, where the schedule demands {demanded:,}."
        yield Reason("polls", text, made)


def _names(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _runs_of(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _long(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
