"""What happens to tasks, as JSON lines, through Celery's own signals."""

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from celery import Celery, signals
from celery.exceptions import Retry

import smartworker
from smartworker.settings import Settings
from smartworker.worker import journal

TOKEN = "t" * 20 + "-cron-token-of-the-job"
ADMIN = "a" * 20 + "-token-of-the-administrator"
PASSWORD = "pass%2Fword"
URL = f"redis://user:{PASSWORD}@broker.example:6379/0"
DATABASE = "postgresql://me:of-the-database@db.example/app"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def app() -> Celery:
    """An app that never connects; its handlers are Celery's own signals."""
    made = Celery("journal", set_as_current=False)
    settings = Settings(
        redis_url=URL,
        cron_tokens=(f"book:{TOKEN}",),
        admin_token=ADMIN,
        database_url=DATABASE,
    )
    return smartworker.setup(made, settings)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The stream that everything is written to."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def lines(app: Celery, stderr: io.StringIO) -> Iterator[Lines]:
    """Everything that was logged, one object for each line."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in journal.TALKATIVE}
    journal.take_over(app)
    signals.setup_logging.send(sender=None, loglevel=logging.INFO)
    yield lambda: [json.loads(line) for line in stderr.getvalue().splitlines()]
    root.handlers[:], root.level = kept
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.contextvars.clear_contextvars()
    signals.setup_logging.disconnect(dispatch_uid=journal.OURS)
    journal._started.clear()
    journal._bound.clear()


def task(**headers: Any) -> SimpleNamespace:
    """What the signals carry of a task."""
    return SimpleNamespace(
        name="book_lanes", request=SimpleNamespace(headers=headers or None)
    )


def begin(task_id: str, **headers: Any) -> None:
    """A task starts to run."""
    signals.task_prerun.send(sender=None, task_id=task_id, task=task(**headers))


def end(task_id: str, state: str) -> None:
    """A task has run."""
    signals.task_postrun.send(sender=None, task_id=task_id, task=task(), state=state)


def test_a_task_that_ends_well_is_two_lines(lines: Lines) -> None:
    """Started and finished, with its names from the trigger to the last line."""
    begin("id-1", job="book", trigger_id="trigger-1", irrelevant="x")
    end("id-1", "SUCCESS")
    started, finished = lines()
    names = {
        "task_id": "id-1",
        "task": "book_lanes",
        "job": "book",
        "trigger_id": "trigger-1",
        "level": "info",
    }
    assert started.pop("timestamp").endswith("Z")
    assert started == {"event": "task_started", **names}
    assert 0 <= finished.pop("seconds") < 5
    finished.pop("timestamp")
    assert finished == {"event": "task_finished", "state": "SUCCESS", **names}


def test_a_task_without_trigger_has_no_empty_fields(lines: Lines) -> None:
    """Started by `.delay()`: job and trigger_id are left out, not null."""
    begin("id-2")
    end("id-2", "SUCCESS")
    for line in lines():
        assert {"job", "trigger_id"}.isdisjoint(line)
        assert line["task_id"] == "id-2"


def test_a_failed_task_says_its_error_once(lines: Lines) -> None:
    """Failed instead of finished, with its type, its text and how long it took."""
    begin("id-3", job="book")
    signals.task_failure.send(
        sender=None, task_id="id-3", exception=ValueError("no lane"), args=(), kwargs={}
    )
    end("id-3", "FAILURE")
    _, failed = lines()
    assert failed["event"] == "task_failed"
    assert failed["level"] == "error"
    assert failed["error"] == "ValueError: no lane"
    assert failed["task_id"] == "id-3"
    assert failed["job"] == "book"
    assert 0 <= failed["seconds"] < 5


def test_a_retry_says_why(lines: Lines) -> None:
    """A warning with the reason; `finished` belongs to the last run alone."""
    begin("id-4")
    signals.task_retry.send(
        sender=None,
        request=SimpleNamespace(id="id-4", retries=1),
        reason=Retry(exc=OSError("facility is slow"), when=4),
        einfo=None,
    )
    end("id-4", "RETRY")
    _, retried = lines()
    assert retried["event"] == "task_retried"
    assert retried["level"] == "warning"
    assert retried["error"] == "OSError: facility is slow"
    assert retried["task_id"] == "id-4"
    assert (retried["attempt"], retried["retry_seconds"]) == (2, 4)
    assert 0 <= retried["seconds"] < 5


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        (None, None),
        (0.5, 0.5),
        (datetime(2020, 1, 1, tzinfo=UTC), 0),
        (datetime(2020, 1, 1), 0),  # noqa: DTZ001 - as an app without UTC says it
    ],
)
def test_a_retry_says_when(lines: Lines, when: Any, shown: float | None) -> None:
    """A countdown, or an instant as seconds from now; nothing where nobody knows."""
    signals.task_retry.send(sender=None, request=None, reason=Retry("later", when=when))
    (line,) = lines()
    assert line["retry_seconds"] == shown
    assert line["attempt"] is None
    assert line["error"] == "Retry: later"


def test_lines_between_and_after_tasks_are_told_apart(lines: Lines) -> None:
    """A task's own lines carry its names, the next line after it does not."""
    begin("id-5", job="book")
    logging.getLogger("booking").info("lane 3 is free")
    end("id-5", "SUCCESS")
    logging.getLogger("booking").info("nothing to do")
    _, inside, _, after = lines()
    assert inside["event"] == "lane 3 is free"
    assert (inside["task_id"], inside["job"]) == ("id-5", "book")
    assert inside["logger"] == "booking"
    assert {"task_id", "task", "job"}.isdisjoint(after)


def test_nothing_is_remembered_of_finished_tasks(lines: Lines) -> None:
    """A worker that runs for months keeps no list of all its tasks."""
    for number in range(100):
        begin(str(number))
        end(str(number), "SUCCESS")
    assert journal._started == {}
    assert len(lines()) == 200


def test_a_failure_without_a_start_has_no_duration(lines: Lines) -> None:
    """A task that was killed before it began: null, not an error in the logging."""
    signals.task_failure.send(
        sender=None, task_id="unknown", exception=KeyError("x"), args=(), kwargs={}
    )
    (line,) = lines()
    assert line["seconds"] is None


def test_a_failure_outside_the_task_is_still_named(lines: Lines) -> None:
    """The worker's parent reports a killed child: the line says whose failure."""
    signals.task_failure.send(
        sender=None, task_id="id-6", exception=OSError("killed"), args=(), kwargs={}
    )
    (line,) = lines()
    assert line["event"] == "task_failed"
    assert line["task_id"] == "id-6"


def test_stopping_says_signal_and_manner(lines: Lines) -> None:
    """Which worker, which signal, warm or cold."""
    signals.worker_shutting_down.send(
        sender="celery@host", sig="SIGTERM", how="Warm", exitcode=0
    )
    (line,) = lines()
    line.pop("timestamp")
    assert line == {
        "event": "worker_stopping",
        "level": "info",
        "worker": "celery@host",
        "signal": "SIGTERM",
        "how": "warm",
    }


def test_secrets_never_appear(lines: Lines, stderr: io.StringIO) -> None:
    """Tokens, passwords, whole URLs, raw or decoded: in names, errors, own lines."""
    everything = (TOKEN, ADMIN, PASSWORD, "pass/word", "of-the-database")
    text = " ".join((*everything, URL, DATABASE))
    begin("id-7", job=text, trigger_id=TOKEN)
    signals.task_failure.send(
        sender=None, task_id="id-7", exception=ValueError(text), args=(), kwargs={}
    )
    signals.task_retry.send(sender=None, request=None, reason=text, einfo=None)
    log = logging.getLogger("celery.worker")
    log.warning("Connected to %s", URL)
    log.warning("values", extra={"nested": {"list": [{"token": TOKEN}], ADMIN: 1}})
    try:
        raise ConnectionError(text)
    except ConnectionError:
        log.exception("Cannot connect to %s", URL)
    output = stderr.getvalue()
    assert len(output.splitlines()) == 6
    for secret in everything:
        assert secret not in output
    assert output.count("***") >= 12


def test_celery_says_nothing_twice(lines: Lines) -> None:
    """Its own lines about received and finished tasks are left out, warnings stay."""
    for name in ("celery.app.trace", "celery.worker.strategy", "apscheduler.scheduler"):
        logging.getLogger(name).info("Task %s succeeded", "x")
    logging.getLogger("celery.app.trace").warning("retried")
    logging.getLogger("celery.worker").info("mingle: all alone")
    assert [line["event"] for line in lines()] == ["retried", "mingle: all alone"]


def test_connecting_twice_logs_once(app: Celery, lines: Lines) -> None:
    """Two apps in one process, or setup called again: one line for each event."""
    journal.connect()
    smartworker.setup(Celery("second", set_as_current=False), Settings(redis_url=URL))
    begin("id-8")
    assert [line["event"] for line in lines()] == ["task_started"]


def test_a_task_called_inside_another_gives_its_fields_back(lines: Lines) -> None:
    """`inner.apply()` in a task: the outer task's id stands on its later lines."""
    begin("outer")
    begin("inner")
    signals.task_postrun.send(sender=None, task_id="inner", state="SUCCESS")
    signals.task_postrun.send(sender=None, task_id="outer", state="SUCCESS")
    logging.getLogger("celery.worker").info("after")
    names = [line.get("task_id") for line in lines()]
    assert names == ["outer", "inner", "inner", "outer", None]


def test_a_logging_set_up_of_the_users_own_is_left_alone(app: Celery) -> None:
    """Somebody else answers Celery's signal: no handler of theirs is replaced."""
    handlers = logging.getLogger().handlers[:]

    def theirs(**_: Any) -> None:
        """The user's receiver."""

    signals.setup_logging.connect(theirs)
    try:
        journal.take_over(app)
        signals.setup_logging.send(sender=None, loglevel=logging.INFO)
    finally:
        signals.setup_logging.disconnect(theirs)
    assert logging.getLogger().handlers == handlers


def test_a_common_word_as_password_leaves_the_names_whole(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masking must not change what a line is called."""
    made = Celery("weak", set_as_current=False)
    journal.configure(
        smartworker.setup(made, Settings(redis_url="redis://:task@broker.example/0"))
    )
    begin("id-9")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["task_id"]) == ("task_started", "id-9")


def test_the_next_try_may_begin_in_another_thread_before_this_one_ends(
    lines: Lines,
) -> None:
    """Of the threads pool: the same task twice for a moment, each with its own time."""
    begin("id-10", job="book")
    next_try = threading.Thread(target=begin, args=("id-10",))
    next_try.start()
    next_try.join()
    end("id-10", "RETRY")
    logging.getLogger("celery.worker").info("after")
    assert "job" not in lines()[-1]
    assert len(journal._started) == len(journal._bound) == 1


def test_what_celery_cannot_do_after_a_run_is_its_failure(lines: Lines) -> None:
    """A step of a chain that cannot be published: the line still says whose it was."""
    begin("id-11", job="book", trigger_id="t-1")
    end("id-11", "SUCCESS")
    for task_id in ("id-11", "id-12"):
        signals.task_failure.send(
            sender=None, task_id=task_id, exception=TypeError("x"), args=(), kwargs={}
        )
    known, unknown = lines()[-2:]
    assert (known["job"], known["trigger_id"]) == ("book", "t-1")
    assert {"job", "trigger_id"}.isdisjoint(unknown)
