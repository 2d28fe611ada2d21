"""The bootstep that keeps the row of a worker, and what stands in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command

from smartworker.clock import system_clock
from smartworker.cron.registry import Job
from smartworker.forecast import Timetable, forecast
from smartworker.rows import MOST_ACTIVE, workers_of
from smartworker.settings import LONGEST_QUIET_POLL
from smartworker.worker.allowance import Allowance
from smartworker.worker.clerk import Clerk
from smartworker.worker.declared import jobs_of
from smartworker.worker.figures import figures
from smartworker.worker.overview import declared
from smartworker.worker.request import run_header
from smartworker.worker.status import iso, wall
from smartworker.worker.tally import BeforePool

#: The control command that says that somebody looks.
LOOK = "smart_look"
#: The loop may change what is read here, in another thread.
TRIES = 5


def connect() -> None:
    """Know the control command."""
    control_command(name=LOOK)(smart_look)


def smart_look(state: Any, **_: Any) -> None:
    """Somebody looks at the rows: this one is kept fresh for a minute."""
    state.consumer.controller.presence.clerk.look()


def look(app: Any) -> None:
    """Have all workers keep their rows fresh for a minute; waits for no answer.

    1 command, and 1 of each worker at once. Raises what redis-py or kombu raises.
    """
    app.control.broadcast(LOOK, reply=False)


class Presence(BeforePool):
    """Starts before whatever sends commands, and stops after it."""

    requires = ("celery.worker.components:Hub",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        worker.presence = self
        self._worker = worker
        settings = worker.app.smartworker
        self.clerk = Clerk(
            worker.app, "worker", worker.hostname, self._describe, figures.runs
        )
        longest = settings.longest_quiet_poll or LONGEST_QUIET_POLL
        self.allowance = Allowance(
            self.clerk, settings.monthly_budget, longest, system_clock, self._forecast
        )
        self.clerk.on_turn = self.allowance.check

    def start(self, worker: Any) -> None:
        """Begin to count."""
        self.clerk.attend()

    def stop(self, worker: Any) -> None:
        """Write the last row."""
        self.clerk.close()

    terminate = stop

    def _describe(self) -> dict[str, Any]:
        for _ in range(TRIES):
            try:
                return described(self._worker.consumer)
            except RuntimeError:
                continue
        return {}

    def _forecast(self) -> int:
        """What the month will cost, with as many workers as there are."""
        app, now = self._worker.app, system_clock.now()
        rows = [*self.clerk.others(), self.clerk.row()]
        alive = max(workers_of(rows, now), 1)
        return forecast(
            rows,
            now,
            policy=self.allowance.policy(self._worker.consumer.pacemaker.policy),
            jobs=timetables(app, alive),
            budget=app.smartworker.monthly_budget,
            workers=alive,
        ).total


def timetables(app: Any, workers: int = 1) -> list[Timetable]:
    """The jobs of an app, with the price of a run of each."""
    rows = declared(
        jobs_of(app), app.smartworker, system_clock.now(), workers=workers, app=app
    )
    return [Timetable(row.job.name, row.run_commands, counter(row.job)) for row in rows]


def counter(job: Job) -> Callable[[datetime, datetime], int] | None:
    """How to count the runs of a job's schedule; None without one."""
    schedule = job.schedule
    if schedule is None:
        return None
    return lambda start, end: len(schedule.between(start, end))


def described(consumer: Any) -> dict[str, Any]:
    """What a row says of a worker beside its sums. Times are ISO 8601 in UTC.

    Raises RuntimeError if something changed meanwhile.
    """
    found: dict[str, Any] = {
        "queues": sorted(consumer.app.amqp.queues.consume_from),
        "active": active(),
        "tasks": figures.as_json(),
    }
    step = getattr(consumer, "pacemaker", None)
    if step is None or step.poller is None or step.pacer is None:
        return found
    decision, pace, outage = step.pacer.decision, step.poller.pace, step.poller.outage
    if decision is not None:
        found |= {
            "window": decision.window,
            "poll_seconds": decision.poll.total_seconds(),
            "until": iso(decision.until),
        }
    return found | {
        "next_poll": wall(pace.due),
        "last_poll": wall(pace.last),
        "doorbell": step.poller.hearing.mode,
        "broker": "ok" if outage is None else outage.refusal.kind,
        "held": len(step.poller.held()),
    }


def active() -> list[dict[str, Any]]:
    """The tasks that run, longest first; at most 20."""
    # Python copies the values of a dictionary in one go.
    running = [
        request
        for request in [*worker_state.requests.values()]
        if request.time_start is not None and request in worker_state.active_requests
    ]
    running.sort(key=lambda request: float(request.time_start))
    return [_active(request) for request in running[:MOST_ACTIVE]]


def _active(request: Any) -> dict[str, Any]:
    run = run_header(request)
    return {
        "task": request.name,
        "task_id": request.id,
        "job": run and run["job"],
        "since": iso(datetime.fromtimestamp(request.time_start, UTC)),
    }
