"""SQLAlchemy's home: the history of cron jobs in the database of DATABASE_URL."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from smartworker.errors import SmartworkerError
from smartworker.logs import Redactor
from smartworker.store.runs import KEPT, RunRecord, record_of

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Table

TABLE = "smartworker_runs"
#: Seconds that the database may take to answer.
PATIENCE = 5
#: The oldest runs of a job are deleted with the first of a process and each so many.
PRUNE_EACH = 50
#: Drivers for PostgreSQL, in the order in which they are looked for.
POSTGRES_DRIVERS = ("psycopg", "psycopg2", "pg8000")

_MYSQL = {
    "connect_timeout": PATIENCE,
    "read_timeout": PATIENCE,
    "write_timeout": PATIENCE,
}
_LIBPQ = {
    "connect_timeout": PATIENCE,
    "tcp_user_timeout": PATIENCE * 1000,
    "keepalives_idle": PATIENCE,
    "keepalives_interval": 1,
    "keepalives_count": PATIENCE,
}
_IN_MEMORY = (None, "", ":memory:")
#: What bounds the time to connect and to wait, by driver.
_TIMEOUTS: dict[str, dict[str, Any]] = {
    "mysqldb": _MYSQL,
    "pg8000": {"timeout": PATIENCE},
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pymysql": _MYSQL,
    "pysqlite": {"timeout": PATIENCE},
}


class DatabaseAway(SmartworkerError):
    """The database of DATABASE_URL did not take or give the history."""


def unusable(url: str) -> str | None:
    """Why the history cannot be kept there, in one sentence; None if it can.

    Connects to nothing.
    """
    if find_spec("sqlalchemy") is None:
        return (
            "DATABASE_URL is set and SQLAlchemy is not installed: install "
            "smartworker[postgres], or it and your database's driver."
        )
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        found = _url(url)
        dialect = found.get_dialect()
    except NoSuchModuleError:
        return (
            f"DATABASE_URL starts with {url.partition(':')[0][:30]!r}, and SQLAlchemy "
            "knows no such database: write one such as postgresql:// or sqlite:///."
        )
    except (ArgumentError, ValueError):
        return (
            "DATABASE_URL cannot be read: write postgresql://user:password@host/name, "
            "with @ : / of the password percent-encoded."
        )
    if dialect.is_async:
        return (
            f"DATABASE_URL names the driver {dialect.driver}, which needs an event "
            "loop: name another one, such as postgresql+psycopg://."
        )
    if found.get_backend_name() == "sqlite" and found.database in _IN_MEMORY:
        return (
            "DATABASE_URL is an SQLite database in memory, which no other process "
            "sees: name a file, such as sqlite:///runs.sqlite3."
        )
    try:
        dialect.import_dbapi()
    except ImportError:
        return (
            f"DATABASE_URL needs the driver {dialect.driver}, which is not installed: "
            "install it, or name another one, such as postgresql+psycopg://."
        )
    return None


class DatabaseHistory:
    """Runs in one table. Holds no connection open between two calls.

    So it survives a fork, and a database that is billed by the hour may sleep.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        password = _url(url).password or ""
        self._redactor = Redactor([password, quote(password), quote_plus(password)])
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._is_there = False
        self._added: Counter[str] = Counter()

    def add(self, record: RunRecord) -> None:
        """Remember a run; now and then forget the oldest. Raises DatabaseAway."""
        table = _table()
        values = {**record.as_json(), "tail": json.dumps(record.tail)}
        with self._connected() as connection:
            connection.execute(table.insert().values(values))
        with self._lock:
            due = self._added[record.job] % PRUNE_EACH == 0
            self._added[record.job] += 1
        if due:
            with self._connected() as connection:
                _prune(connection, record.job)

    def last(self, job: str, count: int) -> list[RunRecord]:
        """The last runs of a job, newest first. Raises DatabaseAway."""
        table = _table()
        query = table.select().where(table.c.job == job).order_by(table.c.id.desc())
        with self._connected() as connection:
            rows = connection.execute(query.limit(count)).mappings().all()
        found = (_record(dict(row)) for row in rows)
        return [record for record in found if record is not None]

    @contextmanager
    def _connected(self) -> "Iterator[Connection]":
        """A transaction on a connection of its own, and the table is there."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            engine = self._made()
            if not self._is_there:
                _create(engine)
                self._is_there = True
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    limit = f"SET LOCAL statement_timeout = {PATIENCE * 1000}"
                    connection.execute(text(limit))
                yield connection
        # A driver may raise errors of its own, an OSError among them.
        except (SQLAlchemyError, OSError, ValueError) as error:
            self._is_there = False
            raise DatabaseAway(self._said(error)) from None

    def _made(self) -> "Engine":
        from sqlalchemy import NullPool, create_engine

        with self._lock:
            if self._engine is None:
                url = _url(self._url)
                self._engine = create_engine(
                    url,
                    poolclass=NullPool,
                    hide_parameters=True,
                    connect_args=_TIMEOUTS.get(url.get_dialect().driver, {}),
                )
            return self._engine

    def _said(self, error: Exception) -> str:
        """The driver's own words, on one line, without the password."""
        cause = getattr(error, "orig", None) or error
        said = " ".join(self._redactor.clean(str(cause)).split())[:200]
        return f"The database of DATABASE_URL: {type(cause).__name__}: {said}"


@cache
def _table() -> "Table":
    import sqlalchemy as sa

    return sa.Table(
        TABLE,
        sa.MetaData(),
        # SQLite counts up by itself in an INTEGER alone.
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("job", sa.String(255), nullable=False),
        sa.Column("slot", sa.String(255), nullable=False),
        sa.Column("task_id", sa.String(255), nullable=False),
        sa.Column("trigger", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("started", sa.String(64), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("tail", sa.Text(), nullable=False),
        # Last: tables of earlier releases get it afterwards.
        sa.Column("trigger_id", sa.String(64), server_default="", nullable=False),
        sa.Index(f"{TABLE}_job", "job", "id"),
    )


def _create(engine: "Engine") -> None:
    """Make the table and its last column, unless somebody else just does."""
    from sqlalchemy import inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        _table().metadata.create_all(engine)
    except SQLAlchemyError:
        if not inspect(engine).has_table(TABLE):
            raise

    def is_complete() -> bool:
        return "trigger_id" in {c["name"] for c in inspect(engine).get_columns(TABLE)}

    if is_complete():
        return
    column = "trigger_id VARCHAR(64) DEFAULT '' NOT NULL"
    try:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {TABLE} ADD COLUMN {column}"))
    except SQLAlchemyError:
        if not is_complete():
            raise


def _prune(connection: "Connection", job: str) -> None:
    from sqlalchemy import select

    table = _table()
    oldest = connection.scalar(
        select(table.c.id)
        .where(table.c.job == job)
        .order_by(table.c.id.desc())
        .offset(KEPT)
        .limit(1)
    )
    if oldest is not None:
        old = table.c.id <= oldest
        connection.execute(table.delete().where(table.c.job == job, old))


def _record(row: dict[str, Any]) -> RunRecord | None:
    try:
        return record_of({**row, "tail": json.loads(row["tail"])})
    except ValueError:
        return None


def _url(text: str) -> "URL":
    """The URL, with a driver that is there. Raises ArgumentError or ValueError."""
    from sqlalchemy import make_url

    url = make_url(text)
    # As Heroku and Render write it.
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    if url.drivername == "postgresql":
        known = (name for name in POSTGRES_DRIVERS if find_spec(name) is not None)
        url = url.set(drivername=f"postgresql+{next(known, POSTGRES_DRIVERS[0])}")
    return url
