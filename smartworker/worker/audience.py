"""Events of tasks and workers, such as Flower reads: only while somebody asks for them.

Stock monitors ask again and again, and never say that they have gone; so nobody who
has looked once makes each task dearer for good.
"""

from typing import Any

from celery.utils.sysinfo import load_average
from celery.worker import state as worker_state
from celery.worker.control import control_command
from kombu.common import ignore_errors

from smartworker.clock import Clock, system_clock

#: Seconds after which nobody listens any more, unless somebody has asked again.
LEASE = 900.0
#: Seconds between two signs of life at the least: stock Flower asks each 5 seconds.
BEAT = 60.0
#: How often a monitor may expect one: it takes a worker for dead after twice that.
EXPECTED = 300.0

_ATTRIBUTE = "audience"


def connect() -> None:
    """Take the place of Celery's commands, which cannot wake a silent worker."""
    for command in (enable_events, disable_events, heartbeat):
        control_command(name=command.__name__)(command)


def enable_events(state: Any, **_: Any) -> dict[str, str]:
    """Tell of tasks for the next 15 minutes."""
    return {"ok": audience_of(state.consumer).listen()}


def disable_events(state: Any, **_: Any) -> dict[str, str]:
    """Tell of tasks no more, unless the worker was started to do so (-E)."""
    return {"ok": audience_of(state.consumer).leave()}


def heartbeat(state: Any, **_: Any) -> None:
    """Give a sign of life at once."""
    audience_of(state.consumer).beat()


def audience_of(consumer: Any) -> "Audience":
    """The audience of a worker."""
    found = getattr(consumer, _ATTRIBUTE, None)
    if found is None:
        found = Audience(consumer)
        setattr(consumer, _ATTRIBUTE, found)
    return found


class Audience:
    """Whether somebody listens to the events of this worker."""

    def __init__(self, consumer: Any, clock: Clock = system_clock) -> None:
        self._consumer = consumer
        self._clock = clock
        self._until: float | None = None
        self._beaten: float | None = None
        self._timer: Any = None

    def listen(self) -> str:
        """Somebody listens for a while. 1 command, at most each minute."""
        if self._until is None and self._dispatcher is not None:
            return "task events already enabled"  # by -E, and for good
        now = self._clock.monotonic()
        if self._dispatcher is None:
            self._open()
        self._until = now + LEASE
        if self._timer is None:
            self._arm(LEASE)
        if self._beaten is None or now - self._beaten >= BEAT:
            self.beat()
        return "task events enabled"

    def leave(self) -> str:
        """Nobody listens any more."""
        if self._until is None:
            return "task events already disabled"
        self._until = self._beaten = None
        if self._timer is not None:
            self._consumer.timer.cancel(self._timer)
            self._timer = None
        dispatcher = self._dispatcher
        self._change(None)
        dispatcher.disable()
        ignore_errors(dispatcher.connection, dispatcher.connection.close)
        return "task events disabled"

    def beat(self) -> None:
        """Tell that the worker lives, if anybody listens. 1 command."""
        if self._dispatcher is None:
            return
        self._beaten = self._clock.monotonic()
        self._dispatcher.send(
            "worker-heartbeat",
            freq=EXPECTED,
            active=len(worker_state.active_requests),
            processed=worker_state.all_total_count[0],
            loadavg=load_average(),
            **worker_state.SOFTWARE_INFO,
        )

    @property
    def _dispatcher(self) -> Any:
        return self._consumer.event_dispatcher

    def _open(self) -> None:
        """What Celery's step does, which a silent worker leaves out."""
        consumer = self._consumer
        self._change(
            consumer.app.events.Dispatcher(
                consumer.connection_for_write(),
                hostname=consumer.hostname,
                buffer_group=["task"] if consumer.hub else None,
                on_send_buffered=consumer.on_send_event_buffered
                if consumer.hub
                else None,
            )
        )

    def _change(self, dispatcher: Any) -> None:
        self._consumer.event_dispatcher = dispatcher
        # Each task's strategy remembers whom it tells.
        self._consumer.update_strategies()

    def _arm(self, seconds: float) -> None:
        self._timer = self._consumer.timer.call_after(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        left = self._until - self._clock.monotonic()
        if left > 0:
            self._arm(left)
        else:
            self.leave()
