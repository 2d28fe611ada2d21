"""The page of a report: one file that opens offline, on a phone and on paper.

It loads nothing and runs no script. All that comes from logs is escaped: by Jinja in
the text, by the tree that the charts are built as in the pictures.
"""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from smartworker.errors import SettingsError
from smartworker.review import charts, summary, words
from smartworker.review.report import (
    Day,
    Report,
    Spread,
    TaskFigures,
)
from smartworker.review.svg import plain

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: Rows of a table that the page shows; it says how many more there are.
MOST_ROWS = 50


def render(report: Report) -> str:
    """The page. Raises SettingsError without Jinja, ValueError for an unknown zone."""
    day = report.day
    local = words.Local.of(report.zone, day)
    template = _environment().get_template("report.html")
    return template.render(
        report=report,
        day=day,
        before=report.before,
        local=local,
        style=_markup(_template("report.css")),
        figures=summary.figures_of(report),
        reasons=summary.reasons_of(report),
        grade="bad" if report.reasons else "good",
        legend=summary.legend_of(day),
        strip=_markup(charts.strip(day, local, report.made_at)),
        hours=_markup(charts.hours(day.hours, day.commands.budget_day)),
        durations=_markup(charts.durations(day.durations)) if day.durations else None,
        jobs=summary.jobs_of(day, report.before),
        tasks=_tasks(day.tasks[:MOST_ROWS]),
        causes=_causes(day, report.before),
        quiet=summary.quiet_of(day),
        happened=summary.happened_of(day, local),
        most_rows=MOST_ROWS,
    )


def _tasks(tasks: Sequence[TaskFigures]) -> list[tuple[TaskFigures, "Markup | None"]]:
    """Tasks with a picture of how long their runs took, all on one scale."""
    spreads = [task.seconds for task in tasks if task.seconds.count]
    least, most = _range(spreads)
    return [
        (
            task,
            _markup(charts.spread(f"spread-{index}", task.seconds, least, most))
            if task.seconds.count
            else None,
        )
        for index, task in enumerate(tasks)
    ]


def _range(spreads: Iterable[Spread]) -> tuple[float, float]:
    ends = [(each.p50, each.longest) for each in spreads]
    return min((end[0] for end in ends), default=0), max(
        (end[1] for end in ends), default=1
    )


def _causes(day: Day, before: Day | None) -> list[tuple[str, int, str, "Markup"]]:
    """Commands by cause, the most first: cause, count, against before, its bar."""
    found = sorted(day.commands.by_cause.items(), key=lambda item: (-item[1], item[0]))
    most = max((count for _, count in found), default=0)
    was = before.commands.by_cause if before and before.commands.total else None
    return [
        (
            cause,
            count,
            "" if was is None else words.change(count, was.get(cause, 0)),
            _markup(charts.bar(f"cause-{index}", count, most, f"{cause}: {count}")),
        )
        for index, (cause, count) in enumerate(found)
    ]


def _environment() -> "Environment":
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise SettingsError(
            "The page of a report needs jinja2: install smartworker[review]."
        ) from error
    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        took=words.took, number=words.number, percent=words.percent, plain=_plain
    )
    made.globals.update(many=words.many)
    return made


def _plain(text: str | None) -> str:
    """Text from a log without what no page may hold."""
    return plain(text or "")


def _markup(text: str) -> "Markup":
    """Made by us from escaped parts; Jinja leaves it as it is."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - charts escape, the style is a file of ours


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")
