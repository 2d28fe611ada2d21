"""The base task as Celery sees it; eager, so no server is needed."""

from collections import defaultdict
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded

import smartworker
from smartworker.errors import SettingsError

DRAWS = 300


@pytest.fixture
def app() -> Celery:
    """A stock app: the base task works in any."""
    app = Celery("tasks", broker="memory://", set_as_current=False)
    app.conf.task_store_eager_result = False
    return app


def failing(app: Celery, error: BaseException, **options: Any) -> tuple[Any, list[int]]:
    """A task that always raises this error, and the list of its runs."""
    runs: list[int] = []

    @app.task(base=smartworker.Task, bind=True, shared=False, **options)
    def fail(self: Any) -> None:
        runs.append(self.request.retries)
        raise type(error)(*error.args)

    return fail, runs


def test_an_error_is_tried_three_times_more(app: Celery) -> None:
    """The first run and three others; then it has failed with its own error."""
    task, runs = failing(app, OSError("the mail server is away"))
    done = task.apply()
    assert runs == [0, 1, 2, 3]
    assert done.failed()
    assert isinstance(done.result, OSError)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("no argument of that name"),
        SettingsError("A setting is missing."),
        SoftTimeLimitExceeded(),
        MemoryError(),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_not_tried_again(
    app: Celery, error: BaseException
) -> None:
    """Wrong code, wrong settings, and time or memory that is used up."""
    task, runs = failing(app, error)
    assert task.apply().failed()
    assert runs == [0]


def test_each_task_may_say_otherwise(app: Celery) -> None:
    """The options stand in the decorator or in a subclass; they are Celery's."""
    task, runs = failing(app, ValueError("full"), max_retries=1)
    task.apply()
    assert runs == [0, 1]

    class Careful(smartworker.Task):
        """Tries again after one kind of error alone."""

        abstract = True
        autoretry_for = (ConnectionError,)

    made: list[int] = []

    @app.task(base=Careful, shared=False)
    def careful() -> None:
        made.append(1)
        raise ValueError("full")

    careful.apply()
    assert made == [1]


@pytest.mark.parametrize(("most", "bounds"), [(600, [2, 4, 8]), (3, [2, 3, 3])])
def test_the_pauses_double_and_are_drawn_from_nothing_up(
    app: Celery, most: int, bounds: list[int]
) -> None:
    """Full jitter: every pause up to its bound comes, and none beyond it."""
    seen: dict[int, set[int]] = defaultdict(set)

    def note(request: Any, reason: Any, **_: Any) -> None:
        seen[request.retries].add(reason.when)

    task, _ = failing(app, OSError("away"), retry_backoff_max=most)
    with_signal = signals.task_retry
    with_signal.connect(note)
    try:
        for _ in range(DRAWS):
            task.apply()
    finally:
        with_signal.disconnect(note)
    assert [seen[n] for n in range(3)] == [set(range(b + 1)) for b in bounds]


def test_the_state_is_tracked(app: Celery) -> None:
    """STARTED is stored, whatever the app's own default is."""
    task, _ = failing(app, OSError())
    assert app.conf.task_track_started is False
    assert task.track_started is True
