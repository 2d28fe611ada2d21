"""The database of DATABASE_URL: SQLite by the standard library, others by SQLAlchemy.

A worker with a SQLite file so needs nothing that is not installed anyway. The SQL is
what SQLite and PostgreSQL have in common, with `:name` for values.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from smartworker.errors import SettingsError
from smartworker.store.database import POSTGRES_DRIVERS, unusable

if TYPE_CHECKING:
    from sqlalchemy import URL

PATIENCE_SECONDS = 10
_SQLITE = "sqlite:///"
#: Whoever makes the tables holds this; PostgreSQL fails if two make them at once.
_LOCK = "SELECT pg_advisory_xact_lock(7946)"


class Rows(Protocol):
    """An open transaction."""

    def all(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query, and give its rows."""

    def run(self, sql: str, **values: Any) -> int:
        """Run a statement, and give the number of rows that it changed."""


Open = Callable[[], AbstractContextManager[Rows]]


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, **values: Any) -> int:
        return self._connection.execute(sql, values).rowcount


class _Sqlalchemy:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def all(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        return [tuple(row) for row in self._connection.execute(text(sql), values)]

    def run(self, sql: str, **values: Any) -> int:
        from sqlalchemy import text

        return int(self._connection.execute(text(sql), values).rowcount)


def sqlite_file(path: Path, schema: Sequence[str]) -> Open:
    """How to open a SQLite file that has, or gets, these tables."""

    @contextmanager
    def open_() -> Iterator[Rows]:
        with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS)) as connection:
            for statement in schema:
                connection.execute(statement)
            with connection:
                yield _Sqlite(connection)

    return open_


def opener(url: str, schema: Sequence[str]) -> Open:
    """How to open the database of this URL. Raises SettingsError if that cannot be."""
    if url.startswith("sqlite"):
        path = url.removeprefix(_SQLITE)
        if path in (url, "", ":memory:"):
            raise SettingsError(
                "DATABASE_URL starts with 'sqlite' and names no file: write it as "
                "sqlite:///swim.sqlite3."
            )
        return sqlite_file(Path(path), schema)
    if reason := unusable(url):
        raise SettingsError(reason)
    return _foreign(url, schema)


def _foreign(url: str, schema: Sequence[str]) -> Open:
    from sqlalchemy import NullPool, create_engine

    made = _url(url)
    if made.get_backend_name() != "postgresql":
        raise SettingsError(
            f"DATABASE_URL starts with {made.get_backend_name()!r}: the swim example "
            "keeps its members in SQLite or in PostgreSQL."
        )
    name = "timeout" if made.get_dialect().driver == "pg8000" else "connect_timeout"
    # No connection is kept: the worker forks, and a database may want to sleep.
    engine = create_engine(
        made,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={name: PATIENCE_SECONDS},
    )
    lock, ready = threading.Lock(), threading.Event()

    @contextmanager
    def open_() -> Iterator[Rows]:
        with lock:
            if not ready.is_set():
                with engine.begin() as connection:
                    rows = _Sqlalchemy(connection)
                    rows.all(_LOCK)
                    for statement in schema:
                        rows.run(statement)
                ready.set()
        with engine.begin() as connection:
            yield _Sqlalchemy(connection)

    return open_


def _url(text: str) -> "URL":
    from sqlalchemy import make_url

    url = make_url(text)
    # `postgres` is how Heroku and Render write it.
    if url.drivername in ("postgres", "postgresql"):
        known = (name for name in POSTGRES_DRIVERS if find_spec(name) is not None)
        url = url.set(drivername=f"postgresql+{next(known, POSTGRES_DRIVERS[0])}")
    return url
