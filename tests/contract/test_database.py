"""The history of runs in a database: the same as in Redis, and no command."""

import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smartworker.settings import Settings
from smartworker.store import database, history
from smartworker.store.database import DatabaseAway, DatabaseHistory, unusable
from smartworker.store.history import open_history, why_not_database
from smartworker.store.runs import KEPT
from tests.contract.test_runs import record

PASSWORD = "p@ss/w:rd"
QUOTED = "p%40ss%2Fw%3Ard"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "runs.sqlite3"


@pytest.fixture
def kept(path: Path) -> DatabaseHistory:
    """The history in it."""
    return DatabaseHistory(f"sqlite:///{path}")


def test_the_table_is_made_at_first_use(kept: DatabaseHistory, path: Path) -> None:
    """By a reader as well as by a writer."""
    assert kept.last("book", 5) == []
    kept.add(record())
    with closing(sqlite3.connect(path)) as rows, rows:
        ((count,),) = rows.execute("SELECT count(*) FROM smartworker_runs").fetchall()
    assert count == 1


def test_runs_come_back_as_they_were(kept: DatabaseHistory) -> None:
    """Newest first, each job by itself, as many as asked for."""
    for number in range(5):
        kept.add(record(number, seconds=None, tail=(), error="a 泳\n'\"\\%s :x"))
        kept.add(record(number, job="email"))
    found = kept.last("book", 3)
    assert [run.task_id for run in found] == ["id-4", "id-3", "id-2"]
    assert found[0] == record(4, seconds=None, tail=(), error="a 泳\n'\"\\%s :x")
    assert kept.last("email", 1) == [record(4, job="email")]
    assert kept.last("another", 5) == []


def test_others_and_a_new_process_see_them(kept: DatabaseHistory, path: Path) -> None:
    """Nothing is only in memory."""
    kept.add(record())
    assert DatabaseHistory(f"sqlite:///{path}").last("book", 5) == [record()]


def test_a_file_that_others_use_stays_theirs(kept: DatabaseHistory, path: Path) -> None:
    """One table more, and no lock that stays."""
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE members (name TEXT)")
        theirs.execute("INSERT INTO members VALUES ('alice')")
    kept.add(record())
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("INSERT INTO members VALUES ('ben')")
        assert len(theirs.execute("SELECT * FROM members").fetchall()) == 2


def test_old_runs_go_now_and_then(kept: DatabaseHistory, path: Path) -> None:
    """A process that begins looks, and each that writes many; other jobs stay."""
    kept.add(record(0, job="email"))
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.executemany(
            "INSERT INTO smartworker_runs (job, slot, task_id, trigger, state, started,"
            " error, tail) VALUES ('book', '', ?, '', '', '', '', '[]')",
            [(str(number),) for number in range(2 * KEPT)],
        )
    DatabaseHistory(f"sqlite:///{path}").add(record(1))
    found = kept.last("book", 10 * KEPT)
    assert len(found) == KEPT
    assert found[0] == record(1)
    assert kept.last("email", 5) == [record(0, job="email")]


def test_rows_that_are_no_runs_are_left_out(kept: DatabaseHistory, path: Path) -> None:
    """Anybody may write there."""
    kept.add(record(1))
    for tail in ("{", "null", "[1]", '"text"'):
        with closing(sqlite3.connect(path)) as rows, rows:
            rows.execute(
                "INSERT INTO smartworker_runs (job, slot, task_id, trigger, state,"
                " started, error, tail) VALUES ('book', '', '', '', '', '', '', ?)",
                (tail,),
            )
    assert kept.last("book", 9) == [record(1)]


def test_many_begin_at_the_same_time(path: Path) -> None:
    """Each makes the table, and each writes."""
    start = threading.Barrier(8)
    errors: list[Exception] = []

    def write(number: int) -> None:
        mine = DatabaseHistory(f"sqlite:///{path}")
        start.wait(5)
        try:
            mine.add(record(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(DatabaseHistory(f"sqlite:///{path}").last("book", 9)) == 8


def test_a_database_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """Translated, without a chain that would show more."""
    broken = DatabaseHistory(f"sqlite:///{tmp_path}")
    for call in (lambda: broken.add(record()), lambda: broken.last("book", 1)):
        with pytest.raises(DatabaseAway, match="unable to open") as caught:
            call()
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_a_table_of_an_earlier_release_gets_its_new_column(path: Path) -> None:
    """Its runs stay, without a trigger_id, and the earlier release still writes."""
    DatabaseHistory(f"sqlite:///{path}").add(record(1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"ALTER TABLE {database.TABLE} DROP COLUMN trigger_id")
    DatabaseHistory(f"sqlite:///{path}").add(record(2, trigger_id="t-2"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f'INSERT INTO {database.TABLE} (job, slot, task_id, "trigger", state, '  # noqa: S608
            f'started, seconds, error, tail) SELECT job, slot, task_id, "trigger", '
            f"state, started, seconds, error, tail FROM {database.TABLE} WHERE id = 2"
        )
    found = DatabaseHistory(f"sqlite:///{path}").last(record(1).job, 9)
    assert [run.trigger_id for run in found] == ["", "t-2", ""]


def test_a_table_of_another_form_is_an_error(path: Path) -> None:
    """What it holds is not shown."""
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE smartworker_runs (id INTEGER)")
    with pytest.raises(DatabaseAway, match="no column") as caught:
        DatabaseHistory(f"sqlite:///{path}").add(record(error="top-secret"))
    assert "top-secret" not in str(caught.value)


def test_a_table_that_was_dropped_is_made_again(
    kept: DatabaseHistory, path: Path
) -> None:
    """The first run after that is told about, the next one is kept."""
    kept.add(record(1))
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute("DROP TABLE smartworker_runs")
    with pytest.raises(DatabaseAway, match="no such table"):
        kept.add(record(2))
    kept.add(record(2))
    assert kept.last("book", 5) == [record(2)]


def test_it_recovers_when_the_database_does(tmp_path: Path) -> None:
    """The same object, without a restart."""
    home = tmp_path / "later"
    kept = DatabaseHistory(f"sqlite:///{home}/runs.sqlite3")
    with pytest.raises(DatabaseAway):
        kept.add(record())
    home.mkdir()
    kept.add(record())
    assert kept.last("book", 1) == [record()]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///runs.sqlite3", None),
        ("sqlite:////tmp/runs.sqlite3", None),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        (f"nosuch://me:{QUOTED}@h/db", "'nosuch'"),
        (f"postgresql+nosuch://me:{QUOTED}@h/db", "SQLAlchemy knows no"),
        (f"postgresql+asyncpg://me:{QUOTED}@h/db", "event loop"),
        (f"oracle+cx_oracle://me:{QUOTED}@h/db", "cx_oracle, which is not installed"),
        (QUOTED, "cannot be read"),
        ("", "cannot be read"),
        (f"postgresql://me:{QUOTED}@h:port/db", "cannot be read"),
    ],
)
def test_urls(url: str, says: str | None) -> None:
    """What can have the history, and the sentence for what cannot."""
    found = unusable(url)
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert says in found
        assert QUOTED not in found
        assert found.endswith(".")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
def test_postgres_is_spelled_in_two_ways(
    scheme: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And any driver that is there will do; one that is named stays."""
    monkeypatch.setattr(database, "find_spec", lambda name: name == driver or None)
    url = database._url(f"{scheme}://me:{QUOTED}@h:5433/db?sslmode=require")
    assert url.drivername == f"postgresql+{driver}"
    assert (url.password, url.host, url.port) == (PASSWORD, "h", 5433)
    assert url.query == {"sslmode": "require"}
    named = database._url("postgresql+pg8000://h/db")
    assert named.drivername == "postgresql+pg8000"


def test_without_sqlalchemy_redis_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one sentence says what to install."""
    settings = Settings(database_url=f"postgresql://me:{QUOTED}@h/db")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    why = why_not_database(settings)
    assert why is not None
    assert "smartworker[postgres]" in why
    assert QUOTED not in why
    assert isinstance(open_history(settings, _never), history.RedisHistory)


def test_the_settings_choose(path: Path) -> None:
    """Redis without a database, the database with one; nothing connects yet."""
    assert isinstance(open_history(Settings(), _never), history.RedisHistory)
    assert why_not_database(Settings()) is None
    settings = Settings(database_url=f"sqlite:///{path}")
    assert isinstance(open_history(settings, _never), DatabaseHistory)
    assert why_not_database(settings) is None
    assert not path.exists()


def _never() -> Any:
    raise AssertionError("Redis is not asked")
