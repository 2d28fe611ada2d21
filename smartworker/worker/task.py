"""The base task: what fails is tried again, later each time, and not for ever."""

from typing import ClassVar

from celery import Task as CeleryTask
from celery.exceptions import SoftTimeLimitExceeded

from smartworker.errors import SettingsError

#: Errors that another try would only repeat: the code or its settings are wrong, or
#: the task has used up its time or memory.
PERMANENT: tuple[type[BaseException], ...] = (
    AssertionError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    SettingsError,
    SoftTimeLimitExceeded,
    SyntaxError,
    TypeError,
)


class Task(CeleryTask):
    """A task that tries again by itself: `@app.task(base=smartworker.Task)`.

    After an error it runs again, up to three times, after random pauses of at most
    2, 4 and 8 seconds; then it has failed. While it runs its state is STARTED, which
    costs one command for each run. All these are options of Celery's own, so another
    value may stand in the decorator or in a subclass.
    """

    abstract = True

    autoretry_for: ClassVar[tuple[type[BaseException], ...]] = (Exception,)
    dont_autoretry_for: ClassVar[tuple[type[BaseException], ...]] = PERMANENT
    #: Tries after the first one; None: without end.
    max_retries: int | None = 3
    #: Seconds that the first pause lasts at most; each further one up to twice as long.
    retry_backoff: float = 2
    #: No pause is longer than this, in seconds.
    retry_backoff_max: int = 600
    #: Each pause is drawn from nothing up to its length: what failed together does not
    #: come back together.
    retry_jitter = True
    track_started = True
