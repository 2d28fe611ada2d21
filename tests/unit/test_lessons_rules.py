"""The rules of the marketplace and its words; pure."""

from datetime import UTC, date, datetime

import pytest

from smartworker.examples.lessons import words
from smartworker.examples.lessons.booking import Booking
from smartworker.examples.lessons.rules import (
    HOUR,
    Lesson,
    Status,
    answer,
    bounds,
    day_of,
    why_not_cancel,
    why_not_check_in,
)
from smartworker.examples.lessons.words import Kind

START = int(datetime(2026, 11, 27, 23, tzinfo=UTC).timestamp())
LESSON = Lesson(places=2, starts_at=START, ends_at=START + HOUR)
BOOKING = Booking(
    id=7,
    status=Status.CONFIRMED,
    lesson_id=1,
    title="Piano\nBcc: everybody@example.com",
    starts_at=START,
    price_cents=4500,
    student=3,
    student_name="Ann",
    student_email="ann@example.com",
    teacher=1,
    teacher_name="Clara",
)


@pytest.mark.parametrize(
    ("taken", "has_one", "before", "status"),
    [
        (0, False, HOUR, Status.CONFIRMED),
        (1, False, 1, Status.CONFIRMED),
        (2, False, HOUR, Status.DECLINED),
        (1, True, HOUR, Status.DECLINED),
        (0, False, 0, Status.DECLINED),
    ],
)
def test_who_gets_a_place(
    taken: int, has_one: bool, before: int, status: Status
) -> None:
    """While there is one, before the lesson, one for each student."""
    found, why = answer(LESSON, taken, has_one=has_one, now=START - before)
    assert found is status
    assert why.endswith(".")


@pytest.mark.parametrize(
    ("status", "before", "can"),
    [
        (Status.CONFIRMED, 2 * HOUR, True),
        (Status.CONFIRMED, 2 * HOUR - 1, False),
        (Status.REQUESTED, 0, True),
        (Status.CANCELLED, 9 * HOUR, False),
        (Status.ATTENDED, -HOUR, False),
    ],
)
def test_until_when_one_can_cancel(status: Status, before: int, can: bool) -> None:
    """Two hours before; what nobody has confirmed at any time."""
    assert (why_not_cancel(status, LESSON, START - before) is None) is can


@pytest.mark.parametrize(
    ("status", "before", "can"),
    [
        (Status.CONFIRMED, HOUR // 2, True),
        (Status.CONFIRMED, HOUR // 2 + 1, False),
        (Status.CONFIRMED, -HOUR, True),
        (Status.DECLINED, 0, False),
    ],
)
def test_when_one_can_check_in(status: Status, before: int, can: bool) -> None:
    """From half an hour before, with a place."""
    assert (why_not_check_in(status, LESSON, START - before) is None) is can


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 11, 1), 25), (date(2026, 3, 8), 23), (date(2026, 11, 24), 24)],
)
def test_a_day_is_as_long_as_its_clocks_say(day: date, hours: int) -> None:
    """Midnight to midnight in New York; the last second belongs to it, the end not."""
    first, last = bounds(day)
    assert last - first == hours * HOUR
    assert day_of(first) == day_of(last - 1) == day
    assert day_of(last) != day


def test_a_letter_has_one_line_for_each_header() -> None:
    """A title cannot add a header, and the same letter has the same id."""
    first, again = (words.letter(Kind.CONFIRMED, BOOKING, START + n) for n in (0, 5))
    assert first["Subject"] == "You have a place in Piano Bcc: everybody@example.com"
    assert first["Bcc"] is None
    assert (
        first["Message-ID"]
        == again["Message-ID"]
        == ("<confirmed-7@lessons.example.com>")
    )
    assert first["Date"] != again["Date"]
    assert "on Friday, 27 November, 18:00." in first.get_content()


@pytest.mark.parametrize(
    ("kind", "people"),
    [
        (Kind.CONFIRMED, [3, 1]),
        (Kind.DECLINED, [3]),
        (Kind.CANCELLED, [3, 1]),
        (Kind.REMINDER, [3]),
        (Kind.NO_SHOW, [3, 1]),
        (Kind.ATTENDED, []),
    ],
)
def test_who_is_told(kind: Kind, people: list[int]) -> None:
    """The student of everything, the teacher of who comes and who does not."""
    told = list(words.notes(kind, BOOKING))
    assert [person for person, _ in told] == people
    assert all(text.endswith(".") and "\n" not in text for _, text in told)
