"""Members and bookings in SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from smartworker.errors import SettingsError
from smartworker.examples.swim.booking import Member, Preference

DEFAULT_PATH = Path("swim.sqlite3")
_PREFIX = "sqlite:///"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS members (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS preferences (
    member TEXT NOT NULL REFERENCES members (name),
    rank INTEGER NOT NULL,
    pool TEXT NOT NULL,
    lane INTEGER,
    time TEXT NOT NULL,
    weekday INTEGER,
    PRIMARY KEY (member, rank)
);
CREATE TABLE IF NOT EXISTS bookings (
    member TEXT NOT NULL REFERENCES members (name),
    date TEXT NOT NULL,
    slot TEXT NOT NULL,
    confirmation TEXT NOT NULL,
    PRIMARY KEY (member, date)
);
"""
SEEDS = (
    Member(
        "alice",
        "lane-4-please",
        (Preference("Main", 4, "06:00"), Preference("Main", None, "07:00")),
    ),
    Member(
        "ben",
        "early-bird",
        (
            Preference("Main", 1, "06:00", weekday=5),
            Preference("Warm-up", None, "06:00"),
            Preference("Main", None, "18:00"),
        ),
    ),
)


@dataclass(frozen=True)
class Booking:
    """A lane that a member has on a date."""

    member: str
    day: date
    slot: str
    confirmation: str


class Database:
    """One SQLite file; made and seeded at first use."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def from_url(cls, url: str | None) -> "Database":
        """The database of DATABASE_URL, or `swim.sqlite3` in the working directory."""
        if not url:
            return cls(DEFAULT_PATH)
        if not url.startswith(_PREFIX) or len(url) == len(_PREFIX):
            raise SettingsError(
                f"DATABASE_URL starts with {url.partition(':')[0]!r}: the swim example "
                "keeps its members in SQLite, such as sqlite:///swim.sqlite3."
            )
        return cls(Path(url.removeprefix(_PREFIX)))

    def members(self) -> list[Member]:
        """All members, each with ranked preferences."""
        with self._open() as rows:
            return [
                Member(name, password, tuple(self._preferences(rows, name)))
                for name, password in rows.execute(
                    "SELECT name, password FROM members ORDER BY name"
                ).fetchall()
            ]

    def booking(self, member: str, day: date) -> Booking | None:
        """What the member has on this date."""
        with self._open() as rows:
            found = rows.execute(
                "SELECT slot, confirmation FROM bookings WHERE member = ? AND date = ?",
                (member, day.isoformat()),
            ).fetchone()
        return Booking(member, day, *found) if found else None

    def keep(self, booking: Booking) -> None:
        """Store a booking; the first one for a member and date stays."""
        with self._open() as rows:
            rows.execute(
                "INSERT INTO bookings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    booking.member,
                    booking.day.isoformat(),
                    booking.slot,
                    booking.confirmation,
                ),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10)) as rows:
            rows.executescript(_SCHEMA)
            with rows:
                self._seed(rows)
                yield rows

    @staticmethod
    def _seed(rows: sqlite3.Connection) -> None:
        if rows.execute("SELECT 1 FROM members").fetchone():
            return
        for member in SEEDS:
            rows.execute(
                "INSERT INTO members VALUES (?, ?) ON CONFLICT DO NOTHING",
                (member.name, member.password),
            )
            rows.executemany(
                "INSERT INTO preferences VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                [
                    (member.name, rank, want.pool, want.lane, want.time, want.weekday)
                    for rank, want in enumerate(member.preferences)
                ],
            )

    @staticmethod
    def _preferences(rows: sqlite3.Connection, member: str) -> Iterator[Preference]:
        found = rows.execute(
            "SELECT pool, lane, time, weekday FROM preferences "
            "WHERE member = ? ORDER BY rank",
            (member,),
        )
        for row in found.fetchall():
            yield Preference(*row)
