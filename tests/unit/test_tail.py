"""The last lines of a run: few, short, clean, and its own."""

import logging
import threading
from collections.abc import Iterator

import pytest

from smartworker import logs
from smartworker.logs import Redactor
from smartworker.tail import LINES, MOST, WIDTH, Tail, brief

log = logging.getLogger("booking")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[logging.Handler]]:
    """The root logger's handlers, which are the same at the end."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    root.setLevel(logging.INFO)
    yield kept
    root.setLevel(level)
    assert root.handlers == kept


def said(tail: Tail) -> list[str]:
    """The lines without their time."""
    return [line[9:] for line in tail.lines()]


def test_lines_of_all_loggers_are_kept() -> None:
    """Level and text, ours with their fields; not before, and not after."""
    log.info("before")
    tail = Tail(Redactor()).start()
    log.info("lane %d is free", 4)
    log.debug("too much detail")
    logs.get_logger("smartworker.test").warning("broker_lost", kind="lost", task_id="x")
    lines = tail.stop()
    log.info("after")
    assert said(tail) == ["INFO lane 4 is free", "WARNING broker_lost kind=lost"]
    assert lines == tail.lines()
    assert len(lines[0].partition(" ")[0]) == len("20:00:01")


def test_only_the_last_are_kept() -> None:
    """However many there are."""
    tail = Tail(Redactor()).start()
    for number in range(1000):
        log.info("%d", number)
    tail.stop()
    assert said(tail) == [f"INFO {n}" for n in range(1000 - LINES, 1000)]


def test_lines_are_cut_and_bounded_together() -> None:
    """In characters each, and in bytes altogether: the oldest give way."""
    tail = Tail(Redactor()).start()
    for _ in range(LINES):
        log.info("泳" * 10_000)
    tail.stop()
    assert {len(line) for line in tail.lines()} == {WIDTH}
    assert all(line.endswith("…") for line in tail.lines())
    size = sum(len(line.encode()) for line in tail.lines())
    assert MOST - 3 * WIDTH <= size <= MOST


def test_a_traceback_is_lines_too() -> None:
    """Its end is what is kept, with the error; ours and others'."""
    tail = Tail(Redactor()).start()
    try:
        raise ValueError("no lane\nat all")
    except ValueError as error:
        log.exception("broken")
        logs.get_logger("smartworker.test").exception("task_failed")
        logs.get_logger("smartworker.test").error("task_failed", exc_info=error)
    tail.stop()
    lines = tail.lines()
    assert [line for line in lines if "ERROR" in line] == [
        lines[0],
        *(line for line in lines if line.endswith("ERROR task_failed")),
    ]
    assert sum("ValueError: no lane" in line for line in lines) == 3
    assert sum(line == "at all" for line in lines) == 3
    assert sum("test_tail.py" in line for line in lines) == 3


def test_no_secret_is_kept() -> None:
    """Known ones, URLs, tokens; also where a cut would leave a half of one."""
    tail = Tail(Redactor(["top-secret-token"])).start()
    log.info("at redis://user:url-pass@host with Bearer abcdef123")
    log.info("x" * (WIDTH - len("20:00:01 INFO ") - 5) + "top-secret-token")
    try:
        raise ValueError("top-secret-token")
    except ValueError:
        log.exception("top-secret-token")
    text = "\n".join(tail.stop())
    for secret in ("url-pass", "abcdef123", "top-s", "token"):
        assert secret not in text


def test_nothing_steers_a_terminal() -> None:
    """Escape codes, carriage returns, zero bytes and half characters."""
    tail = Tail(Redactor()).start()
    log.info("\x1b[2Ja\x00b\ud800c\rd\u2028e\tf")
    lines = tail.stop()
    assert [line[-8:] for line in lines][1:] == ["d", "e f"]
    assert all(line.isprintable() for line in lines)
    "".join(lines).encode()


def test_what_cannot_be_shown_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A line with the wrong arguments, a value whose text is an error."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    tail = Tail(Redactor()).start()
    root = logging.getLogger()
    record = logging.LogRecord("x", logging.INFO, "", 1, "%d", ("a",), None)
    for handler in root.handlers[-1:]:
        handler.handle(record)
        handler.handle(logging.LogRecord("x", 20, "", 1, Broken(), (), None))
    log.info("well")
    tail.stop()
    assert said(tail) == ["INFO well"]
    assert capsys.readouterr().err == ""


def test_each_thread_has_its_own() -> None:
    """Runs at the same time do not hear each other."""
    found: dict[str, list[str]] = {}
    both = threading.Barrier(2)

    def run(name: str) -> None:
        tail = Tail(Redactor()).start()
        both.wait(5)
        log.info("from %s", name)
        both.wait(5)
        tail.stop()
        found[name] = said(tail)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == {"a": ["INFO from a"], "b": ["INFO from b"]}


def test_one_inside_another() -> None:
    """The outer one goes on where the inner one ends."""
    outer = Tail(Redactor()).start()
    log.info("1")
    inner = Tail(Redactor()).start()
    log.info("2")
    inner.stop()
    log.info("3")
    outer.stop()
    assert (said(outer), said(inner)) == (["INFO 1", "INFO 3"], ["INFO 2"])


def test_some_loggers_are_left_out() -> None:
    """What the record says anyway."""
    tail = Tail(Redactor(), without=("journal",)).start()
    logging.getLogger("journal").info("task_started")
    log.info("here")
    tail.stop()
    assert said(tail) == ["INFO here"]


def test_it_costs_nothing_while_none_is_kept(handlers: list[logging.Handler]) -> None:
    """No handler is left behind, also when logging was configured meanwhile."""
    root = logging.getLogger()
    assert root.handlers == handlers
    first, second = Tail(Redactor()).start(), Tail(Redactor()).start()
    assert len(root.handlers) == len(handlers) + 1
    root.handlers[:] = handlers
    third = Tail(Redactor()).start()
    for tail in (third, second, first):
        tail.stop()
    assert root.handlers == handlers


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", ""),
        ("abcd", "abcd"),
        ("abcde", "abc…"),
        ("a\nb", "a b"),
        ("a\ud800", "a "),
    ],
)
def test_brief(text: str, cut: str) -> None:
    """One line, of at most so many characters."""
    assert brief(text, 4) == cut
