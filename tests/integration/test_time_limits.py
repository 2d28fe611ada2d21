"""Time limits of real workers: ours are the weakest, whoever else says one wins."""

import pytest
from celery import Celery
from celery.exceptions import TimeLimitExceeded
from kombu import Message

import smartworker
from smartworker.settings import Settings
from smartworker.worker.request import Request


@pytest.mark.parametrize(
    ("options", "limits"),
    [(("--time-limit", "1"), {}), ((), {"time_limit": 1})],
    ids=["of the worker", "of the message"],
)
def test_a_hard_limit_without_a_soft_one_ends_a_task(
    start_worker, project, options, limits
):
    """Our soft limit of 25 minutes holds nobody's hard one back."""
    start_worker("-c", "1", *options)
    result = project.nap.apply_async((60,), **limits)
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=20)


@pytest.mark.parametrize(
    ("own", "said", "expected"),
    [
        ({}, [None, None], (1800, 1500)),
        ({}, [60, None], [60, None]),
        ({"time_limit": 60}, [None, None], [None, None]),
        ({"soft_time_limit": 60}, [None, None], [None, None]),
    ],
)
def test_ours_apply_where_nobody_says_any(own, said, expected):
    """Neither the message nor the task; Celery fills in what the task says."""
    app = smartworker.setup(Celery("limits", set_as_current=False), Settings())
    app.smartworker_time_limits = 1800, 1500

    @app.task(name="limited", shared=False, **own)
    def limited():
        """Never run."""

    headers = {"id": "1", "task": "limited", "timelimit": said}
    message = Message(
        body=b"[[], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_info={},
    )
    assert Request(message, app=app, task=app.tasks["limited"]).time_limits == expected
    app.close()
