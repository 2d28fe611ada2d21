"""Transactions on SQLite, or on the Postgres of DATABASE_URL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from smartworker.errors import SettingsError
from smartworker.examples.lessons.tables import metadata

DEFAULT_URL = "sqlite:///lessons.sqlite3"
#: Seconds that a transaction may wait for another one, or for the server.
PATIENCE = 20


class Database:
    """Holds no connection while nobody uses it, so it survives forks."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._is_there = False

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing; kept when the block is left without an error."""
        if not self._is_there:
            _create(self._engine)
            self._is_there = True
        with self._engine.begin() as connection:
            yield connection


def insert_once(
    rows: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> bool:
    """Add a row unless its key is there; whether it was added."""
    insert = _insert(rows, table, values, None)
    return rows.execute(insert.returning(*table.primary_key)).first() is not None


def put(rows: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> None:
    """Add a row, or overwrite the one with its key."""
    rows.execute(_insert(rows, table, values, dict(values)))


def _insert(
    rows: sa.Connection,
    table: sa.Table,
    values: Mapping[str, Any],
    instead: dict[str, Any] | None,
) -> Any:
    dialect: Any = postgresql if rows.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(**values)
    if instead is None:
        return insert.on_conflict_do_nothing()
    key = list(table.primary_key)
    return insert.on_conflict_do_update(index_elements=key, set_=instead)


def _engine(text: str) -> sa.Engine:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise SettingsError(
            "DATABASE_URL cannot be read: write sqlite:///lessons.sqlite3 or "
            "postgresql://user:password@host/name."
        ) from None
    # As Heroku and Render write it.
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url,
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": PATIENCE},
        )
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        hide_parameters=True,
        connect_args={"timeout": PATIENCE},
    )
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
    """Make the tables, unless another process just does."""
    try:
        metadata.create_all(engine)
    except sa.exc.SQLAlchemyError:
        if not all(map(sa.inspect(engine).has_table, metadata.tables)):
            raise
