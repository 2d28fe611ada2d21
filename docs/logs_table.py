"""Writes the tables of docs/logs.md from the table of events: run it after a change."""

from collections.abc import Iterator
from pathlib import Path

from smartworker.events import EVENTS, FIELDS

PAGE = Path(__file__).parent / "logs.md"
BEGIN, END = "<!-- events -->\n", "<!-- /events -->\n"


def tables() -> str:
    """Both tables, as they stand in the page."""
    return "\n".join([*_events(), "", *_fields(), ""])


def renewed(page: str) -> str:
    """The page with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + tables() + "\n" + END + rest.partition(END)[2]


def _events() -> Iterator[str]:
    yield "| event | level | its fields | what it tells |"
    yield "| --- | --- | --- | --- |"
    for event in sorted(EVENTS.values(), key=lambda event: event.name):
        fields = " ".join(f"`{name}`" for name in event.fields)
        yield f"| `{event.name}` | {event.level} | {fields} | {event.meaning} |"


def _fields() -> Iterator[str]:
    yield "| field | unit | what it is |"
    yield "| --- | --- | --- |"
    for name, field in FIELDS.items():
        yield f"| `{name}` | {field.unit} | {field.meaning} |"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
