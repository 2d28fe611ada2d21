"""The tables, in SQLite or in the Postgres of DATABASE_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from smartworker.errors import SettingsError

#: Seconds that a transaction may wait for another one, or for the server.
PATIENCE = 10

metadata = sa.MetaData()
_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

schedules = sa.Table(
    "sync_schedules",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("employee", sa.String(64), nullable=False),
    sa.Column("starts_at", sa.String(32), nullable=False),
    sa.Column("live", sa.Boolean, nullable=False, default=True),
    sa.Column("version", sa.Integer, nullable=False, default=0),
    # The id that the roster service has given it.
    sa.Column("external", sa.String(64)),
    sa.Index(
        "sync_schedules_event",
        "event",
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    ),
    # A deleted id must never come back: its changes would be taken for those of
    # another schedule.
    sqlite_autoincrement=True,
)
employees = sa.Table(
    "sync_employees",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False, default=0),
)
outbox = sa.Table(
    "sync_outbox",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(200), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("round", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    # Not before this time; None is at once. Times are ISO 8601 in UTC, so that they
    # sort as texts in every database.
    sa.Column("due", sa.String(32)),
    sa.Column("touched", sa.String(32), nullable=False),
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("kind", "object", "sequence"),
    sa.Index("sync_outbox_state", "state", "id"),
    sqlite_autoincrement=True,
)


class Database:
    """Transactions on one database. Holds no connection open, so it survives forks."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._is_there = False

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing; it is on disk when the block is left."""
        if not self._is_there:
            _create(self._engine)
            self._is_there = True
        with self._engine.begin() as connection:
            yield connection


def _engine(text: str) -> sa.Engine:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise SettingsError(
            "DATABASE_URL cannot be read: write sqlite:///sync.sqlite3 or "
            "postgresql://user:password@host/name."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database in (None, "", ":memory:"):
        raise SettingsError(
            "DATABASE_URL is an SQLite database in memory, which the worker would not "
            "see: name a file, such as sqlite:///sync.sqlite3."
        )
    options = {"timeout": PATIENCE} if is_sqlite else {"connect_timeout": PATIENCE}
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)
    if is_sqlite:
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # no BEGIN but our own
    connection.execute("PRAGMA journal_mode = WAL")


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later could not wait for its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _create(engine: sa.Engine) -> None:
    """Make the tables, unless somebody else just does."""
    try:
        metadata.create_all(engine)
    except sa.exc.SQLAlchemyError:
        if not all(map(sa.inspect(engine).has_table, metadata.tables)):
            raise
