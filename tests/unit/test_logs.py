"""One line for each event, in one form, without secrets."""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from smartworker import logs

Output = Callable[[], str]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[Output]:
    """What was written since the last call; the root logger is put back at the end."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:], root.level = kept
    logging.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    """Each line as the object it must be."""
    return [json.loads(line) for line in text.splitlines()]


def only(text: str) -> dict[str, Any]:
    """The one line there is."""
    (line,) = lines(text)
    return line


def test_an_event_is_one_json_line(output: Output) -> None:
    """Event, level, time in UTC, and the fields as they are."""
    logs.configure()
    logs.get_logger("test").info("interval_changed", old=30.0, window=None, ok=True)
    line = only(output())
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "interval_changed",
        "level": "info",
        "old": 30.0,
        "window": None,
        "ok": True,
    }


def test_line_breaks_stay_inside_the_line(output: Output) -> None:
    """A value of several lines, and letters of all languages, are one line."""
    logs.configure()
    logs.get_logger("test").info("note", text="first\nsecond\r\nthird", name="Zoë 泳")
    text = output()
    assert text.count("\n") == 1
    assert "Zoë 泳" in text
    assert only(text)["text"] == "first\nsecond\r\nthird"


def test_foreign_loggers_are_included(output: Output) -> None:
    """A library's line has the same form and the name of its logger."""
    logs.configure()
    logging.getLogger("kombu.connection").warning("lost %s after %d s", "it", 3)
    line = only(output())
    assert line["event"] == "lost it after 3 s"
    assert line["level"] == "warning"
    assert line["logger"] == "kombu.connection"
    assert "timestamp" in line


def test_extra_fields_of_foreign_loggers_are_kept(output: Output) -> None:
    """`extra=` becomes fields; what JSON does not know becomes text."""
    logs.configure()
    logging.getLogger("x").info("e", extra={"data": {"a": [1, {2}]}, "o": object})
    line = only(output())
    assert line["data"] == {"a": [1, [2]]}
    assert line["o"] == "<class 'object'>"


def test_warnings_are_lines_too(output: Output) -> None:
    """Python's own warnings go where everything goes."""
    logs.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old redis://u:secret@host", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    line = only(output())
    assert line["logger"] == "py.warnings"
    assert "secret" not in line["event"]


def test_an_exception_is_one_line_with_its_traceback(output: Output) -> None:
    """The traceback is a field; type, text and place stand in it."""
    logs.configure()
    try:
        raise ValueError("no lane")
    except ValueError:
        logs.get_logger("test").exception("task_failed")
        logging.getLogger("foreign").exception("broken")
    ours, foreign = lines(output())
    for line in (ours, foreign):
        assert line["level"] == "error"
        assert "ValueError: no lane" in line["exception"]
        assert "test_logs.py" in line["exception"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://default:p4ss@host", "rediss://default:***@host"),
        ("redis://u:p%40ss:word@host/0", "redis://u:***@host/0"),
        ("redis://u:p@ss@host/0", "redis://u:***@host/0"),
        ("a redis://u:1@h b amqp://v:2@i c", "a redis://u:***@h b amqp://v:***@i c"),
        ("db+postgresql://me:pw@db/app", "db+postgresql://me:***@db/app"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer xyz'}", "{'authorization': 'bearer ***'}"),
        ('{"authorization": "BEARER xyz"}', '{"authorization": "BEARER ***"}'),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("https://host/path?at=me@home", "https://host/path?at=me@home"),
        ("the bear was here at 10:30", "the bear was here at 10:30"),
    ],
)
def test_secrets_are_recognised_by_their_form(text: str, clean: str) -> None:
    """Passwords in URLs and bearer tokens, known or not; nothing else."""
    assert logs.Redactor().clean(text) == clean


@pytest.mark.parametrize("piece", ["a", "a.", "x://", "://", "redis://u:", "bearer "])
def test_long_texts_take_no_longer_than_reading_them(piece: str) -> None:
    """A log line of a megabyte must not hold up the worker."""
    begun = time.monotonic()
    logs.Redactor(["secret"]).clean(piece * (1_000_000 // len(piece)))
    assert time.monotonic() - begun < 2


def test_known_secrets_are_replaced_everywhere() -> None:
    """The longest first, so that no rest of one remains; trifles are no secrets."""
    redactor = logs.Redactor(["token-long", "token", "abc", ""])
    assert redactor.clean("x token-long token abc") == "x *** *** abc"


def test_values_are_cleaned_at_any_depth() -> None:
    """Keys, values, lists, tuples, sets, objects; numbers and None stay."""

    class Broker:
        def __str__(self) -> str:
            return "redis://u:pw@h"

    redactor = logs.Redactor(["hidden"])
    found = redactor.value(
        {"hidden": [("a hidden b",), {"hidden"}, {"k": Broker()}], "n": [1, 2.5, None]}
    )
    assert found == {
        "***": [["a *** b"], ["***"], {"k": "redis://u:***@h"}],
        "n": [1, 2.5, None],
    }


def test_bytes_are_cleaned_too() -> None:
    """A raw message in a line is text by then."""
    assert "secret" not in logs.Redactor().value(b"redis://u:secret@h/0")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_never_reach_the_output(output: Output, log_format: str) -> None:
    """In messages, arguments, fields, exceptions, tracebacks, causes: masked."""
    logs.configure(log_format, ["top-secret"])
    log, foreign = logs.get_logger("ours"), logging.getLogger("foreign")
    url, bearer = "redis://user:url-pass@host:6379/0", "Bearer abcdef123"
    log.info("note", url=url, header={"Authorization": bearer}, more=[("top-secret",)])
    foreign.info("at %s with %s and %s", url, bearer, "top-secret")
    try:
        try:
            raise OSError(f"cannot reach {url}")
        except OSError as error:
            raise ValueError(f"{bearer} top-secret") from error
    except ValueError:
        log.exception("task_failed", error="top-secret")
        foreign.exception(url)
    text = output()
    for secret in ("url-pass", "abcdef123", "top-secret"):
        assert secret not in text
    assert text.count("***") >= 15
    assert "cannot reach" in text


def test_console_lines_are_for_people(output: Output) -> None:
    """Not JSON, no escape codes where nobody sees colours, the fields in sight."""
    logs.configure("console")
    logs.get_logger("test").info("worker_ready", queues=["celery"], poll_seconds=30.0)
    text = output()
    assert text.count("\n") == 1
    assert "worker_ready" in text
    assert "poll_seconds=30.0" in text
    assert "\x1b" not in text
    assert not text.startswith("{")


def test_the_level_is_obeyed(output: Output) -> None:
    """INFO hides debug lines, WARNING also events."""
    logs.configure(level=logging.INFO)
    logs.get_logger("test").debug("detail")
    logging.getLogger("foreign").debug("detail")
    assert output() == ""
    logs.configure(level="WARNING")
    logs.get_logger("test").info("event")
    logs.get_logger("test").warning("shown")
    assert only(output())["event"] == "shown"


def test_configuring_again_does_not_double(output: Output) -> None:
    """One handler, however often it was called."""
    for _ in range(3):
        logs.configure()
    logs.get_logger("test").info("once")
    assert len(lines(output())) == 1


def test_unconfigured_events_are_silent(output: Output) -> None:
    """A program that only imports us hears nothing at INFO."""
    root = logging.getLogger()
    root.handlers[:], root.level = [], logging.WARNING
    logs.get_logger("smartworker.quiet").info("doorbell_ready", mode="keyspace")
    assert output() == ""
    logs.get_logger("smartworker.quiet").warning("broker_lost", error="refused")
    assert "broker_lost" in output()


def test_bound_fields_stand_on_every_line(output: Output) -> None:
    """From bind to reset, on ours and on foreign lines; nested ones come back."""
    logs.configure()
    outer = logs.bind(task_id="1", job="book")
    inner = logs.bind(task_id="2")
    logs.get_logger("ours").info("inside")
    logs.reset(inner)
    logging.getLogger("foreign").info("half")
    logs.reset(outer)
    logs.get_logger("ours").info("outside")
    inside, half, outside = lines(output())
    assert (inside["task_id"], inside["job"]) == ("2", "book")
    assert (half["task_id"], half["job"]) == ("1", "book")
    assert "task_id" not in outside


def test_our_events_show_whatever_the_level_of_others(output: Output) -> None:
    """Celery's default level is WARNING; what the worker is doing must still show."""
    logs.configure(level="WARNING")
    logging.getLogger("celery").info("chatter")
    logs.get_logger("smartworker.worker").info("worker_ready")
    assert [line["event"] for line in lines(output())] == ["worker_ready"]


def test_a_log_file_takes_the_lines(output: Output, tmp_path: Path) -> None:
    """`celery worker --logfile` and `--detach`."""
    logs.configure(logfile=str(tmp_path / "log"))
    logs.get_logger("smartworker.worker").info("worker_ready")
    for handler in logging.getLogger().handlers:
        handler.close()
    assert '"worker_ready"' in (tmp_path / "log").read_text()
    assert output() == ""


def test_structlog_of_a_user_speaks_as_we_do(output: Output) -> None:
    """One JSON line with the bound fields, its logger's name, and no secret."""
    structlog.reset_defaults()
    logs.configure("json", ["secret-word"])
    with logs.bound(trigger_id="t-1"):
        structlog.get_logger().info("lane %s", "secret-word", lane=3)
    line = only(output())
    line.pop("timestamp")
    assert line == {
        "event": "lane ***",
        "lane": 3,
        "trigger_id": "t-1",
        "level": "info",
        "logger": __name__,
    }


def test_structlog_that_is_configured_stays_so(output: Output) -> None:
    """Whoever has configured it before decides."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    mine = structlog.get_config()["processors"]
    logs.configure("json")
    assert structlog.get_config()["processors"] == mine
