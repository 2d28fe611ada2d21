"""What a report comes to, in the words of its page."""

from dataclasses import dataclass
from datetime import datetime

from smartworker.review import words
from smartworker.review.report import Day, JobFigures, Reason, Report

#: The part of the page that has more to say about a reason.
ABOUT = {
    "failed": "errors",
    "missed": "jobs",
    "late": "jobs",
    "stuck": "jobs",
    "error": "errors",
    "dead": "errors",
    "gap": "worker",
    "outage": "worker",
    "polls": "worker",
    "refused": "refused",
    "budget": "commands",
}


@dataclass(frozen=True)
class Figure:
    """A number in the head of the page: how much, what, and against the day before."""

    name: str
    value: str
    note: str
    bad: bool = False


def reasons_of(report: Report) -> list[tuple[Reason, str]]:
    """Each reason, and the section that says more; "" where the page has none."""
    missing = {
        name
        for name, found in (
            ("errors", report.day.errors),
            ("refused", report.day.refusals),
        )
        if not found
    }
    return [
        (reason, "" if about in missing else about)
        for reason in report.reasons
        for about in (ABOUT.get(reason.kind, ""),)
    ]


def figures_of(report: Report) -> list[Figure]:
    """What an operator wants to know first; red is what the verdict speaks of."""
    day, before = report.day, report.before
    kinds = {reason.kind for reason in report.reasons}
    ran, was = _ran(day), _ran(before or day)
    return [
        Figure("runs that went well", words.number(ran[0]), _was(before, was[0])),
        Figure("failed", words.number(ran[1]), _was(before, was[1]), "failed" in kinds),
        Figure("missed", *_missed(day, before), "missed" in kinds),
        Figure("commands", *_commands(day, before), "budget" in kinds),
        Figure("polls", *_polls(day), "polls" in kinds),
        Figure("errors", *_errors(day, before), bool(kinds & {"error", "dead"})),
    ]


def _missed(day: Day, before: Day | None) -> tuple[str, str]:
    def missed(of: Day) -> int:
        return sum(job.missed for job in of.jobs)

    note = _was(before, missed(before or day))
    return words.number(missed(day)), note if day.jobs else "no jobs"


def _commands(day: Day, before: Day | None) -> tuple[str, str]:
    spent = day.commands
    if spent.total is None:
        return "?", "the logs do not say"
    notes = []
    if spent.ratio is not None and spent.budget_day:
        notes.append(f"{words.percent(spent.ratio)} of the budget")
    if before is not None and before.commands.total is not None:
        notes.append(_was(before, before.commands.total))
    return words.number(spent.total), ", ".join(notes)


def _polls(day: Day) -> tuple[str, str]:
    made = day.polls.made
    planned = f"of {words.number(day.polls.demanded)} planned"
    return "?" if made is None else words.number(made), planned


def _errors(day: Day, before: Day | None) -> tuple[str, str]:
    def errors(of: Day) -> int:
        return sum(group.count for group in of.errors)

    notes = [words.many(len(day.errors), "cause")] if day.errors else []
    if before:
        notes.append(_was(before, errors(before)))
    return words.number(errors(day)), ", ".join(notes)


def _was(before: Day | None, value: int) -> str:
    """`Mon 193`: the figure of the day before."""
    return f"{before.date:%a} {words.number(value)}" if before else ""


def _ran(day: Day) -> tuple[int, int]:
    """Runs of all tasks that went well, and that failed; of jobs or not."""
    return (
        sum(task.ok for task in day.tasks),
        sum(task.failed for task in day.tasks),
    )


def legend_of(day: Day) -> list[tuple[str, str]]:
    """What the colours of the strip mean, of those that are in it."""
    outcomes = {run.outcome for run in day.runs}
    return [
        (kind, name)
        for kind, name, there in (
            ("window", "window", day.spans),
            ("poll", "poll", day.sent),
            ("ok", "went well", "ok" in outcomes),
            ("failed", "failed", "failed" in outcomes),
            ("retried", "retried", "retried" in outcomes),
            ("heard", "worker heard", day.heard_first),
            ("gap", "silent", any(not gap.planned for gap in day.gaps)),
            ("planned", "stopped", any(gap.planned for gap in day.gaps)),
            ("outage", "server away", day.outages),
            ("start", "start or stop", day.starts),
        )
        if there
    ]


@dataclass(frozen=True)
class JobRow:
    """A job in the table: its figures, how many went well before, and its troubles."""

    job: JobFigures
    change: str
    #: What is not as it should be, with its grade: "bad", "warn" or "mild".
    marks: tuple[tuple[str, str], ...]


_MARKS = (
    ("failed", "bad"),
    ("missed", "bad"),
    ("stuck", "bad"),
    ("late", "warn"),
    ("retried", "warn"),
    ("refused", "warn"),
    ("made_up", "mild"),
    ("skipped", "mild"),
    ("duplicate", "mild"),
)
_NAMES = {"made_up": "made up for", "duplicate": "called again"}


def jobs_of(day: Day, before: Day | None) -> list[JobRow]:
    """All jobs, and those of the day before that did nothing on this one."""
    was = {job.job: job for job in before.jobs} if before else {}
    now = {job.job for job in day.jobs}
    gone = [JobFigures(name) for name in was if name not in now]
    return [
        JobRow(
            job,
            words.change(job.ok, was.get(job.job, JobFigures("")).ok) if before else "",
            tuple(
                (f"{words.number(count)} {_NAMES.get(name, name)}", grade)
                for name, grade in _MARKS
                if (count := getattr(job, name))
            ),
        )
        for job in (*day.jobs, *gone)
    ]


def quiet_of(day: Day) -> str:
    """The parts of the page that have nothing to say, in one sentence."""
    if day.heard_first is None:
        return ""
    nothing = [
        name
        for name, found in (
            ("errors", day.errors),
            ("refused calls", day.refusals),
            ("silence of the worker", day.gaps),
            ("loss of the server", day.outages),
        )
        if not found
    ]
    if not nothing:
        return ""
    *others, last = nothing
    return f"No {', '.join(others)} or {last}." if others else f"No {last}."


def happened_of(day: Day, local: words.Local) -> list[tuple[datetime, str, str]]:
    """What became of worker and server, in order: when, what, and its grade."""
    found = [(each.at, f"{each.worker}: {each.how}", "") for each in day.starts]
    for each in day.changes:
        what = f"window {each.window}" if each.window else "outside of all windows"
        poll = words.took(each.poll_seconds)
        why = f" ({each.reason})" if each.reason else ""
        found.append((each.at, f"{what}: a poll each {poll}{why}", ""))
    for gap in day.gaps:
        end = f"until {local.time(gap.until)}" if gap.until else "and that goes on"
        why = ", as announced" if gap.planned else ""
        text = f"no worker was heard for {words.took(gap.seconds)}{why}, {end}"
        found.append((gap.since, text, "" if gap.planned else "bad"))
    for away in day.outages:
        end = (
            f"back after {words.took(away.seconds)}"
            if away.until
            else "not back when the logs end"
        )
        tried = words.many(away.attempts, "attempt")
        found.append((away.since, f"server away ({away.kind}), {end}, {tried}", "warn"))
    return sorted(found)
