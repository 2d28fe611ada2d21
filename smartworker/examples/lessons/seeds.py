"""People and lessons to try, put in once."""

import sqlalchemy as sa

from smartworker.examples.lessons import accounts
from smartworker.examples.lessons.database import insert_once
from smartworker.examples.lessons.rules import HOUR
from smartworker.examples.lessons.tables import lessons, people

PASSWORD = "do-re-mi"  # noqa: S105 - of people who do not exist
TEACHERS = ("Clara", "Django")
STUDENTS = ("ann", "bob", "cleo", "dan")
#: Title, teacher, places, price in cents, begins in hours, and how many hours it takes.
LESSONS = (
    ("Piano for beginners", 0, 2, 4500, 20, 1),
    ("Gypsy jazz guitar", 1, 1, 6000, 72, 2),
    ("Sight reading", 0, 8, 2500, 120, 1),
)


def seed(rows: sa.Connection, now: int) -> None:
    """Add people and lessons, unless they are there."""
    for name in (*TEACHERS, *STUDENTS):
        values = {"name": name.capitalize(), "email": f"{name.lower()}@example.com"}
        known = sa.select(people.c.id).where(people.c.email == values["email"])
        if rows.scalar(known) is None:
            password = accounts.hashed(PASSWORD)
            insert_once(rows, people, {**values, "password": password})
    if rows.scalar(sa.select(sa.func.count()).select_from(lessons)):
        return
    ids = {row.name: row.id for row in rows.execute(sa.select(people))}
    for title, teacher, places, cents, begins, hours in LESSONS:
        starts_at = now + begins * HOUR
        rows.execute(
            lessons.insert().values(
                title=title,
                teacher=ids[TEACHERS[teacher]],
                places=places,
                price_cents=cents,
                starts_at=starts_at,
                ends_at=starts_at + hours * HOUR,
            )
        )
