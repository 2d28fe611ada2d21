"""Progress on a manual clock: how often it is written, and that the last one is."""

import threading
from typing import Any

import pytest
from celery import Celery

import smartworker
from smartworker.testing import ManualClock, ManualHub
from smartworker.worker.progress import Reporter


class Desk:
    """A reporter on a manual clock, and when it has written what."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = ManualHub(self.clock, patience=0)
        self.begun = self.clock.monotonic()
        self.written: list[tuple[float, Any]] = []
        self.reporter = Reporter(self.write, "an-id", self.clock, self.hub.call_later)

    def write(self, progress: dict[str, Any]) -> None:
        """Note it."""
        seconds = round(self.clock.monotonic() - self.begun, 3)
        self.written.append((seconds, progress["current"]))

    def report(self, current: int, then: float) -> None:
        """Report, and let time pass."""
        self.reporter.report({"current": current})
        self.hub.run(then)


@pytest.fixture
def desk() -> Desk:
    """A task that has just begun."""
    return Desk()


def test_one_a_second_at_most(desk: Desk) -> None:
    """Each write is the newest of its second."""
    for tenths in range(35):
        desk.report(tenths, 0.1)
    assert [current for _, current in desk.written] == [9, 19, 29]
    assert [seconds for seconds, _ in desk.written] == [1.0, 2.0, 3.0]


def test_a_task_that_goes_quiet_leaves_its_last_word(desk: Desk) -> None:
    """Whether it was the whole or not; and silence writes nothing more."""
    desk.report(1, 0.2)
    desk.report(2, 10)
    desk.report(3, 0.1)
    desk.report(4, 10)
    assert desk.written == [(1.0, 2), (10.2, 3), (11.2, 4)]


def test_a_short_task_costs_nothing(desk: Desk) -> None:
    """Its result takes the place of all progress, and nothing is written later."""
    for current in range(100):
        desk.report(current, 0.005)
    desk.reporter.close()
    desk.hub.run(10)
    desk.report(100, 10)
    assert desk.written == []


def test_closing_waits_for_a_write(desk: Desk) -> None:
    """Progress that is on its way must not come after the result."""
    begun, end, order = threading.Event(), threading.Event(), list[str]()

    def slowly(_progress: dict[str, Any]) -> None:
        begun.set()
        end.wait(5)
        order.append("progress")

    def close() -> None:
        reporter.close()
        order.append("result")

    reporter = Reporter(slowly, "an-id", desk.clock, _at_once)
    reporter.report({"current": 1})
    assert begun.wait(5)
    closing = threading.Thread(target=close)
    closing.start()
    end.set()
    closing.join(5)
    assert order == ["progress", "result"]


def _at_once(_seconds: float, call: Any) -> threading.Timer:
    timer = threading.Timer(0, call)
    timer.start()
    return timer


def test_a_server_that_is_away_stops_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for the whole task, and the next second is tried again."""
    tried = []

    def fail(progress: dict[str, Any]) -> None:
        tried.append(progress)
        raise ConnectionError("away")

    desk.reporter = Reporter(fail, "an-id", desk.clock, desk.hub.call_later)
    for current in range(3):
        desk.report(current, 1.0)
    assert len(tried) == 3
    lines: list[Any] = [record.msg for record in caplog.records]
    assert [line["event"] for line in lines] == ["progress_not_written"]
    assert lines[0]["task_id"] == "an-id"


def test_without_a_timer_only_reports_write(desk: Desk) -> None:
    """For back ends that do not tell when a result is stored."""
    desk.reporter = Reporter(desk.write, "an-id", desk.clock, None)
    for tenths in range(25):
        desk.report(tenths, 0.1)
    assert [current for _, current in desk.written] == [10, 20]


def test_outside_of_a_task_it_does_nothing() -> None:
    """Nor in a task that is called as a function, or runs eagerly."""
    smartworker.progress(1, 2)
    app = Celery("eager", set_as_current=False)
    app.conf.task_always_eager = True

    def work() -> str:
        smartworker.progress(1, 2, "half")
        return "done"

    task = app.task(work, name="work", shared=False)
    assert task() == "done"
    assert task.delay().get() == "done"
