"""What the marketplace keeps. Times are whole seconds since 1970, in UTC."""

import sqlalchemy as sa

metadata = sa.MetaData()


def _number() -> sa.Column[int]:
    # SQLite counts up by itself in an INTEGER alone.
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, primary_key=True, autoincrement=True)


def _time(name: str, *, nullable: bool = False, index: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, index=index)


people = sa.Table(
    "lessons_people",
    metadata,
    _number(),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("email", sa.String(200), nullable=False, unique=True),
    sa.Column("password", sa.String(200), nullable=False),
)
sessions = sa.Table(
    "lessons_sessions",
    metadata,
    # A hash: who reads the table gets no session by it.
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("person", sa.ForeignKey(people.c.id), nullable=False),
    _time("expires_at", index=True),
)
lessons = sa.Table(
    "lessons_lessons",
    metadata,
    _number(),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("teacher", sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("places", sa.Integer, nullable=False),
    sa.Column("price_cents", sa.Integer, nullable=False),
    _time("starts_at", index=True),
    _time("ends_at"),
)
bookings = sa.Table(
    "lessons_bookings",
    metadata,
    _number(),
    sa.Column("lesson", sa.ForeignKey(lessons.c.id), nullable=False, index=True),
    sa.Column("student", sa.ForeignKey(people.c.id), nullable=False, index=True),
    sa.Column("status", sa.String(16), nullable=False),
    _time("requested_at"),
    _time("reminded_at", nullable=True),
)
notices = sa.Table(
    "lessons_notices",
    metadata,
    _number(),
    # What it is about: a task that runs twice tells once.
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("person", sa.ForeignKey(people.c.id), nullable=False, index=True),
    sa.Column("text", sa.Text, nullable=False),
    _time("created_at"),
    _time("read_at", nullable=True),
)
letters = sa.Table(
    "lessons_letters",
    metadata,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("recipient", sa.String(200), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    # "sent", or why the mail server will never take it.
    sa.Column("outcome", sa.Text, nullable=False),
    _time("at", index=True),
)
happenings = sa.Table(
    "lessons_happenings",
    metadata,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
    _time("at", index=True),
)
figures = sa.Table(
    "lessons_figures",
    metadata,
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("revenue_cents", sa.Integer, nullable=False),
    _time("computed_at"),
)
availability = sa.Table(
    "lessons_availability",
    metadata,
    sa.Column("lesson", sa.ForeignKey(lessons.c.id), primary_key=True),
    sa.Column("free", sa.Integer, nullable=False),
    _time("computed_at"),
)
health = sa.Table(
    "lessons_health",
    metadata,
    sa.Column("part", sa.String(32), primary_key=True),
    sa.Column("trouble", sa.Text, nullable=False),
    _time("checked_at"),
)
