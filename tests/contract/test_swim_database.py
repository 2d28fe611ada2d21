"""Members and bookings, on SQLite and on PostgreSQL.

PostgreSQL needs SQLAlchemy, a driver, and POSTGRES_URL: a database that may be emptied.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from smartworker.errors import SettingsError
from smartworker.examples.swim.booking import Member, Preference
from smartworker.examples.swim.database import SCHEMA, SEEDS, Booking, Database
from smartworker.examples.swim.rows import opener

SUNDAY = date(2026, 11, 22)
MONDAY = date(2026, 11, 23)
CLEO = Member("cleo", "fast", (Preference("Main", 2, "18:00", 6),))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'swim.sqlite3'}"
        return
    found = os.environ.get("POSTGRES_URL")
    if not found:
        pytest.skip("POSTGRES_URL is not set")
    with opener(found, ())() as rows:
        for table in ("bookings", "preferences", "members"):
            rows.run(f"DROP TABLE IF EXISTS {table}")
    yield found


def test_the_first_use_makes_and_seeds_it_once(url: str) -> None:
    """Also when several processes are the first at the same time."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Database.from_url(url).members(), range(4)))
    assert found == [list(SEEDS)] * 4


def test_members_are_added_and_changed(url: str) -> None:
    """Password and preferences, whose order is their rank."""
    database = Database.from_url(url)
    assert database.member("cleo") is None
    assert database.save(CLEO)
    assert database.member("cleo") == CLEO
    wants = (Preference("Spa", None, "07:00"), Preference("Main", 1, "06:00"))
    changed = Member("cleo", "faster", wants)
    assert not database.save(changed)
    assert database.members() == [*SEEDS, changed]


def test_a_member_has_one_booking_a_date(url: str) -> None:
    """Ten at once: the first stays, and all are told which one that is."""
    database = Database.from_url(url)
    database.members()
    start = threading.Barrier(10)

    def keep(number: int) -> Booking:
        start.wait()
        return database.keep(Booking("alice", SUNDAY, f"slot-{number}", "c"))

    with ThreadPoolExecutor(10) as pool:
        told = set(pool.map(keep, range(10)))
    assert told == {database.booking("alice", SUNDAY)}


def test_bookings_are_listed_by_member_and_date(url: str) -> None:
    """Both may be left out."""
    database = Database.from_url(url)
    database.members()
    first, second, third = (
        Booking("ben", SUNDAY, "one", "c1"),
        Booking("alice", MONDAY, "two", "c2"),
        Booking("ben", MONDAY, "three", "c3"),
    )
    for booking in (third, second, first):
        assert database.keep(booking) == booking
    assert database.bookings() == [first, second, third]
    assert database.bookings("ben") == [first, third]
    assert database.bookings(day=MONDAY) == [second, third]
    assert database.bookings("ben", MONDAY) == [third]
    assert database.booking("alice", SUNDAY) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://user:secret@host/db", "PostgreSQL|driver"),
        ("nonsense", "DATABASE_URL"),
        ("nosuch://user:secret@host/db", "SQLAlchemy knows no such database"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence(url: str, said: str) -> None:
    """It names the variable and never shows the password."""
    with pytest.raises(SettingsError, match=said) as caught:
        opener(url, SCHEMA)
    assert "DATABASE_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
