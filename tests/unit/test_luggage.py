"""What a pool process sends home, and what it stores by itself after all."""

from typing import Any

import pytest
from celery import Celery, states
from celery.app.trace import TraceInfo, trace_ok_t

from smartworker.store.queues import Result
from smartworker.worker.luggage import LARGEST, MAY_PACK, Packed, carrying, luggage

MAY = {"properties": {MAY_PACK: True}}
RESULT = Result(b"key", "42", 60)


class Run:
    """One run: what it does in place of a task, and what was stored on the spot."""

    def __init__(self, info: Any = None, error: BaseException | None = None) -> None:
        self.info, self.error = info, error
        self.results = [RESULT]
        self.ends_well = True
        self.packed: list[bool] = []
        self.stored = 0

    def store(self) -> None:
        """The result, from here."""
        assert luggage.get() is None
        self.stored += 1

    def trace(self, uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
        """As Celery's tracer: the result is stored, then comes what comes."""
        mine = luggage.get()
        if mine is not None:
            mine.is_open = self.ends_well
            for result in self.results:
                self.packed.append(mine.pack("an-id", result, self.store))
        if self.error is not None:
            raise self.error
        return trace_ok_t("value", self.info, 0.1, "text")

    def __call__(self, request: Any = MAY, task_id: str = "an-id") -> Any:
        outcome = carrying(self.trace)(task_id, (), {}, request)
        assert luggage.get() is None
        return outcome


def test_the_result_goes_with_the_outcome() -> None:
    """Beside the text; the rest is as Celery made it."""
    run = Run()
    assert run() == trace_ok_t("value", None, 0.1, Packed("text", RESULT))
    assert run.stored == 0


@pytest.mark.parametrize(
    "request_of",
    [None, {}, {"properties": None}, {"properties": {MAY_PACK: False}}],
    ids=["none", "empty", "no properties", "may not"],
)
def test_without_leave_nothing_is_packed(request_of: Any) -> None:
    """The outcome is Celery's."""
    run = Run()
    assert run(request_of).retstr == "text"
    assert run.packed == []


def test_another_task_called_on_the_way_is_not_packed() -> None:
    """Only the result of the run itself belongs to its outcome."""
    run = Run()
    assert run(task_id="another").retstr == "text"
    assert (run.packed, run.stored) == ([False], 0)


def test_what_is_stored_before_the_end_is_not_packed() -> None:
    """By the task itself, which goes on."""
    run = Run()
    run.ends_well = False
    assert run().retstr == "text"
    assert (run.packed, run.stored) == ([False], 0)


def test_what_is_too_large_is_not_packed_and_takes_the_place_of_the_first() -> None:
    """A later state is stored on the spot; the earlier one must not follow it."""
    run = Run()
    run.results = [RESULT, Result(b"key", "x" * (LARGEST + 1), 60)]
    assert run().retstr == "text"
    assert (run.packed, run.stored) == ([True, False], 0)


def test_a_run_that_does_not_end_well_after_all_stores_its_result() -> None:
    """As stock Celery had done by then."""
    run = Run(info=TraceInfo(states.IGNORED))
    assert run().retstr == "text"
    assert run.stored == 1


@pytest.mark.parametrize("error", [ValueError("late"), SystemExit(3)])
def test_an_error_after_the_end_finds_the_result_stored(error: BaseException) -> None:
    """Whatever becomes of the message now."""
    run = Run(error=error)
    with pytest.raises(type(error)):
        run()
    assert run.stored == 1


def test_a_process_that_is_told_to_end_stores_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have no time: the message goes back."""
    monkeypatch.setattr("billiard.common._should_have_exited", [True])
    run = Run(error=SystemExit())
    with pytest.raises(SystemExit):
        run()
    assert run.stored == 0


def test_the_main_process_of_a_solo_pool_wraps_nothing() -> None:
    """It sends the same signal as a pool's process."""
    from smartworker.worker import luggage as module

    app = Celery("alone", set_as_current=True)

    @app.task(shared=False)
    def one() -> None:
        """Never run."""

    app.tasks[one.name].__trace__ = traced = Run().trace
    module._in_child()
    assert app.tasks[one.name].__trace__ == traced
    app.close()
