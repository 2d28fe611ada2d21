"""What a pool process sends home, and what it stores by itself after all."""

from typing import Any

import pytest
from celery import Celery, states
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Reject

from smartworker.store.queues import Result
from smartworker.worker.luggage import (
    LARGEST,
    MAY_PACK,
    Packed,
    carrying,
    luggage,
    opened,
)

MAY = {"properties": {MAY_PACK: True}}
RESULT = Result(b"key", "42", 60)


class Run:
    """One run: what it does in place of a task, and what was stored on the spot."""

    def __init__(self, info: Any = None, error: BaseException | None = None) -> None:
        self.info, self.error = info, error
        self.results = [RESULT]
        #: The task that has ended well, and the state that is stored of ours then.
        self.ended, self.state = "an-id", states.SUCCESS
        self.packed: list[bool] = []
        self.stored = 0
        #: Why it cannot be.
        self.trouble: Exception | None = None

    def store(self) -> None:
        """The result, from here."""
        assert luggage.get() is None
        if self.trouble is not None:
            raise self.trouble
        self.stored += 1

    def trace(self, uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
        """As Celery's tracer: the result is stored, then comes what comes."""
        mine = luggage.get()
        if mine is not None:
            with opened(self.ended):
                for result in self.results:
                    self.pack(mine, result)
            assert not mine.is_open
        if self.error is not None:
            raise self.error
        return trace_ok_t("value", self.info, 0.1, "text")

    def pack(self, mine: Any, result: Result) -> None:
        """Store a state of the run."""
        self.packed.append(mine.pack("an-id", self.state, result, self.store))

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
    run.ended = "an-id"
    assert run(task_id="another").retstr == "text"
    assert (run.packed, run.stored) == ([False], 0)


def test_the_end_of_another_task_opens_nothing() -> None:
    """One that the run has called in its own process: the run goes on."""
    run = Run()
    run.ended = "another"
    assert run().retstr == "text"
    assert (run.packed, run.stored) == ([False], 0)


@pytest.mark.parametrize("state", [states.FAILURE, states.RETRY, "HALFWAY"])
def test_other_states_are_not_packed(state: str) -> None:
    """Whenever they are stored."""
    run = Run()
    run.state = state
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


@pytest.mark.parametrize("trouble", [OSError("away"), Reject("away", requeue=True)])
@pytest.mark.parametrize("error", [None, ValueError("late"), Reject("no")])
def test_a_result_that_cannot_be_stored_keeps_the_message(
    trouble: Exception, error: BaseException | None
) -> None:
    """Whatever the run wanted to become of it: nothing else has the result."""
    run = Run(info=TraceInfo(states.IGNORED), error=error)
    run.trouble = trouble
    with pytest.raises(Reject, match="away") as caught:
        run()
    assert caught.value.requeue


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
