"""The tables, in SQLite or Postgres. Money is kept in whole cents."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from smartworker.errors import SettingsError

DEFAULT_URL = "sqlite:///pricing.sqlite3"
#: Seconds for which SQLite waits for another writer.
LOCK_SECONDS = 30

metadata = sa.MetaData()
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("product", sa.String(100), nullable=False),
    sa.Column("price_cents", sa.Integer, nullable=False),
    sa.Column("floor_cents", sa.Integer, nullable=False),
    sa.Column("expires_on", sa.Date, nullable=False, index=True),
    # What the history ends with; None before its first entry.
    sa.Column("recorded_cents", sa.Integer),
)
discounts = sa.Table(
    "discounts",
    metadata,
    sa.Column("batch_id", sa.ForeignKey("batches.id"), primary_key=True),
    sa.Column("price_cents", sa.Integer, nullable=False),
    sa.Column("percent", sa.Integer, nullable=False),
)
price_history = sa.Table(
    "price_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("batch_id", sa.ForeignKey("batches.id"), nullable=False, index=True),
    sa.Column("price_cents", sa.Integer, nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
)
#: How far a recompute is: written with each chunk, so that a run that was killed goes
#: on behind the last one.
recomputes = sa.Table(
    "recomputes",
    metadata,
    sa.Column("run", sa.String(64), primary_key=True),
    sa.Column("today", sa.Date, nullable=False, index=True),
    sa.Column("days_threshold", sa.Integer, nullable=False),
    sa.Column("last_id", sa.Integer, nullable=False),
    sa.Column("checked", sa.Integer, nullable=False),
    sa.Column("changed", sa.Integer, nullable=False),
    sa.Column("withdrawn", sa.Integer, nullable=False),
)


def connect_engine(url: str | None) -> sa.Engine:
    """An engine for DATABASE_URL, with all tables. Raises SettingsError.

    It holds no connection while nobody uses it, and so survives a fork.
    """
    try:
        engine = sa.create_engine(
            _url(url or DEFAULT_URL), poolclass=sa.NullPool, hide_parameters=True
        )
    except (ArgumentError, ImportError) as error:
        raise SettingsError(
            "DATABASE_URL is no address of a database that can be opened: write "
            "sqlite:///pricing.sqlite3 or postgresql+psycopg://user@host/name, and "
            "install the driver that it names."
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
    _create(engine)
    return engine


@contextmanager
def transaction(connection: sa.Connection) -> Iterator[sa.Connection]:
    """One transaction that writes; SQLite takes its lock at the start.

    Otherwise it would begin to read, and fail where another process wrote meanwhile.
    """
    with connection.begin():
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT for rows that may be there: those are overwritten."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgres

        postgres = insert_postgres(table)
        return postgres.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=_others(table, postgres)
        )
    from sqlalchemy.dialects.sqlite import insert as insert_sqlite

    sqlite = insert_sqlite(table)
    return sqlite.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=_others(table, sqlite)
    )


def money(cents: int) -> Decimal:
    """Cents as money."""
    return Decimal(cents).scaleb(-2)


def cents(amount: Decimal) -> int:
    """Money as cents; it has no more than two decimals."""
    return int(amount.scaleb(2))


def _others(table: sa.Table, insert: Any) -> dict[str, Any]:
    return {
        column.name: insert.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }


def _url(text: str) -> sa.URL:
    url = sa.make_url(text)
    # As Heroku and Render write it.
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def _create(engine: sa.Engine) -> None:
    """Make the tables, unless another process just does."""
    try:
        metadata.create_all(engine)
    except SQLAlchemyError:
        if not sa.inspect(engine).has_table(recomputes.name):
            raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # We begin transactions by ourselves, see `transaction`.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
    # Readers do not wait for the writer, and a kill leaves nothing half written.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
