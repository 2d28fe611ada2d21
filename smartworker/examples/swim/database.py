"""Members with their preferences, and bookings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from smartworker.examples.swim.booking import Member, Preference
from smartworker.examples.swim.rows import Open, Rows, opener, sqlite_file

DEFAULT_PATH = Path("swim.sqlite3")
SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS members (
        name VARCHAR(100) PRIMARY KEY,
        password TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS preferences (
        member VARCHAR(100) NOT NULL REFERENCES members (name),
        rank INTEGER NOT NULL,
        pool TEXT NOT NULL,
        lane INTEGER,
        time TEXT NOT NULL,
        weekday INTEGER,
        PRIMARY KEY (member, rank)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS bookings (
        member VARCHAR(100) NOT NULL REFERENCES members (name),
        date VARCHAR(10) NOT NULL,
        slot TEXT NOT NULL,
        confirmation TEXT NOT NULL,
        PRIMARY KEY (member, date)
    )
    """,
)
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
    """Made and seeded at first use."""

    def __init__(self, path: Path = DEFAULT_PATH, open_: Open | None = None) -> None:
        """A SQLite file, or whatever `open_` opens."""
        self._open = open_ or sqlite_file(path, SCHEMA)

    @classmethod
    def from_url(cls, url: str | None) -> "Database":
        """The database of DATABASE_URL, or `swim.sqlite3` in the working directory.

        Raises SettingsError for one that cannot be used.
        """
        return cls(open_=opener(url, SCHEMA)) if url else cls()

    def members(self) -> list[Member]:
        """All members, each with ranked preferences."""
        return self._members("")

    def member(self, name: str) -> Member | None:
        """The member of this name."""
        return next(iter(self._members(name)), None)

    def save(self, member: Member) -> bool:
        """Add a member or change one; true if it is a new one."""
        with self._open() as rows:
            _seed(rows)
            changed = rows.run(
                "UPDATE members SET password = :password WHERE name = :name",
                name=member.name,
                password=member.password,
            )
            if not changed:
                _insert(rows, member)
            _rank(rows, member.name, member.preferences)
        return not changed

    def booking(self, member: str, day: date) -> Booking | None:
        """What the member has on this date."""
        return next(iter(self.bookings(member, day)), None)

    def bookings(
        self, member: str | None = None, day: date | None = None
    ) -> list[Booking]:
        """All bookings, of one member or date if that is given, by date."""
        with self._open() as rows:
            found = rows.all(
                "SELECT member, date, slot, confirmation FROM bookings "
                "WHERE (:member = '' OR member = :member) "
                "AND (:date = '' OR date = :date) ORDER BY date, member",
                member=member or "",
                date=day.isoformat() if day else "",
            )
        return [
            Booking(name, date.fromisoformat(text), slot, confirmation)
            for name, text, slot, confirmation in found
        ]

    def keep(self, booking: Booking) -> Booking:
        """Store a booking; the first one for a member and date stays, and is given."""
        with self._open() as rows:
            rows.run(
                "INSERT INTO bookings (member, date, slot, confirmation) "
                "VALUES (:member, :date, :slot, :confirmation) ON CONFLICT DO NOTHING",
                member=booking.member,
                date=booking.day.isoformat(),
                slot=booking.slot,
                confirmation=booking.confirmation,
            )
        return self.booking(booking.member, booking.day) or booking

    def _members(self, only: str) -> list[Member]:
        with self._open() as rows:
            _seed(rows)
            found = rows.all(
                "SELECT name, password FROM members "
                "WHERE :name = '' OR name = :name ORDER BY name",
                name=only,
            )
            return [
                Member(name, password, _preferences(rows, name))
                for name, password in found
            ]


def _seed(rows: Rows) -> None:
    if not rows.all("SELECT 1 FROM members LIMIT 1"):
        for member in SEEDS:
            _insert(rows, member)
            _rank(rows, member.name, member.preferences)


def _insert(rows: Rows, member: Member) -> None:
    rows.run(
        "INSERT INTO members (name, password) VALUES (:name, :password) "
        "ON CONFLICT DO NOTHING",
        name=member.name,
        password=member.password,
    )


def _rank(rows: Rows, member: str, preferences: Sequence[Preference]) -> None:
    rows.run("DELETE FROM preferences WHERE member = :member", member=member)
    for rank, want in enumerate(preferences):
        rows.run(
            "INSERT INTO preferences (member, rank, pool, lane, time, weekday) "
            "VALUES (:member, :rank, :pool, :lane, :time, :weekday) "
            "ON CONFLICT DO NOTHING",
            member=member,
            rank=rank,
            pool=want.pool,
            lane=want.lane,
            time=want.time,
            weekday=want.weekday,
        )


def _preferences(rows: Rows, member: str) -> tuple[Preference, ...]:
    found = rows.all(
        "SELECT pool, lane, time, weekday FROM preferences "
        "WHERE member = :member ORDER BY rank",
        member=member,
    )
    return tuple(Preference(*row) for row in found)
