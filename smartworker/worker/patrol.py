"""One look after slots that nobody called for: asks, reports, and makes up for them."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from kombu.exceptions import OperationalError

from smartworker.backoff import pauses
from smartworker.clock import Clock
from smartworker.cron.missed import DELAY, Look, Lookout, plan
from smartworker.cron.runs import MISSED, Names, Run
from smartworker.cron.slots import stamp
from smartworker.logs import get_logger
from smartworker.store import jobs as store
from smartworker.store import keys
from smartworker.store.client import LOST, RedisError
from smartworker.store.records import absent, write_first
from smartworker.worker.counts import counts
from smartworker.worker.history import remember
from smartworker.worker.link import Link, open_link
from smartworker.worker.publish import queue_run
from smartworker.worker.records import record_key

log = get_logger(__name__)

#: Seconds between two tries while the server is away.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
#: What passes by itself: the look is taken again.
AWAY = (*LOST, RedisError, OperationalError)


class Patrol:
    """Looks after the slots of a lookout; first writer wins where several do.

    1 command when a deadline passes and nobody here has seen the message; 1 at the
    start, and 1 more if something may have been missed before.
    """

    def __init__(
        self,
        app: Any,
        lookout: Lookout,
        clock: Clock,
        open_: Callable[[Any], Link] = open_link,
    ) -> None:
        self._app = app
        self._lookout = lookout
        self._clock = clock
        self._open = open_
        self._names: Names | None = None
        self._pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        self._rest_until: datetime | None = None

    def go(self) -> datetime | None:
        """Take all looks that are due; when to come again, None for never.

        Raises nothing: what could not be looked at is looked at again.
        """
        now = self._clock.now()
        if not self._lookout:
            return None
        if self._rest_until is not None and now < self._rest_until:
            # Clocks may be set back: nobody rests longer than he wanted to.
            longest = now + timedelta(seconds=LONGEST_PAUSE)
            self._rest_until = min(self._rest_until, longest)
            return self._rest_until
        try:
            self._look(now)
        except AWAY as error:
            return self._rest(now, error)
        if self._rest_until is not None:
            self._rest_until = None
            self._pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        return self._lookout.next_look(now)

    def _rest(self, now: datetime, error: Exception) -> datetime:
        pause = next(self._pauses)
        if self._rest_until is None:
            log.warning(
                "look_delayed", error=str(error)[:200], retry_seconds=round(pause, 1)
            )
        self._rest_until = now + timedelta(seconds=pause)
        return self._rest_until

    def _look(self, now: datetime) -> None:
        first = self._names is None
        if first or self._lookout.due(now):
            link = self._open(self._app)
            try:
                self._ask(link, now, self._load(link, now) if first else None)
            finally:
                link.close()
        self._lookout.done(now)

    def _ask(self, link: Link, now: datetime, state: store.JobState | None) -> None:
        looks = self._absent(link, self._lookout.due(now))
        if not looks:
            return
        if state is None:
            # Somebody may have paused a job, or emptied the server: then all the ids
            # are others, and nobody knows what happened before.
            before = self._names
            state = self._load(link, now)
            looks = [look for look in looks if self._lookout.counts(look)]
            if self._names != before:
                looks = self._absent(link, looks)
        self._report(link, now, [x for x in looks if x.job.name not in state.paused])

    def _load(self, link: Link, now: datetime) -> store.JobState:
        known = None if self._names is None else self._names.secret
        state = store.load(link.client, link.prefix, known=known)
        times = self._lookout.times
        since = {name: state.known_since(name) for name in times}
        if known is None:
            # Another release: nobody was to call at these times before. Only at the
            # start, or two releases that overlap would say so in turn.
            changed = [name for name in times if state.times.get(name) != times[name]]
            since |= dict.fromkeys(changed)
        new = {name: times[name] for name, moment in since.items() if moment is None}
        if new:
            store.first_seen(link.client, new, now.isoformat(), link.prefix)
        self._lookout.know({name: moment or now for name, moment in since.items()})
        self._names = Names(state.secret)
        return state

    def _absent(self, link: Link, looks: list[Look]) -> list[Look]:
        by_key = {record_key(self._app, self._run(x).task_id): x for x in looks}
        missing = absent(link.client, list(by_key))
        return [look for key, look in by_key.items() if key in missing]

    def _report(self, link: Link, now: datetime, looks: list[Look]) -> None:
        for look in looks:
            if not look.missed:
                self._tell_late(link, look)
        for look, again in plan((look for look in looks if look.missed), now):
            run = self._run(look)
            if not (again and self._make_up(run, now)):
                self._tell_missed(link, run, now)

    def _tell_late(self, link: Link, look: Look) -> None:
        # Two workers look at the same moment, and one of them tells.
        run, rest = self._run(look), look.job.patience - look.job.grace + DELAY
        key = link.prefix + keys.late(run.task_id)
        if write_first(link.client, key, "1", int(rest.total_seconds())):
            counts.slot("late", run.job.name)
            log.warning(
                "run_late",
                job=run.job.name,
                slot=str(run.slot),
                task_id=run.task_id,
                missed_at=stamp(run.slot.time + run.job.patience),
            )

    def _tell_missed(self, link: Link, run: Run, now: datetime) -> None:
        key, record = record_key(self._app, run.task_id), json.dumps(_record(run, now))
        seconds = int(run.job.retention.total_seconds())
        if not write_first(link.client, key, record, seconds):
            return
        _say_missed(run)
        header = {**run.header(""), "trigger": ""}
        remember(self._app, header, run.task_id, MISSED)

    def _make_up(self, run: Run, now: datetime) -> bool:
        """Queue the run of a missed slot; false if the slot stays without one."""
        try:
            outcome = queue_run(self._app, run, now=now)
        except AWAY:
            raise
        except Exception as error:
            # It would fail the next time too, and hold all other looks up.
            log.error(
                "catch_up_failed",
                job=run.job.name,
                slot=str(run.slot),
                task_id=run.task_id,
                error=str(error)[:200],
            )
            return False
        if outcome.pushed:
            _say_missed(run)
            log.info(
                "run_made_up",
                job=run.job.name,
                slot=str(run.slot),
                task_id=run.task_id,
                trigger_id=outcome.trigger_id,
            )
        return not outcome.overlapping

    def _run(self, look: Look) -> Run:
        if self._names is None:
            raise LookupError("no id is known before the secret of the ids")
        task_id = self._names.of_slot(look.job, look.slot)
        return Run(job=look.job, slot=look.slot, task_id=task_id, trigger="catch-up")


def _say_missed(run: Run) -> None:
    counts.slot("missed", run.job.name)
    log.error(
        "run_missed",
        job=run.job.name,
        slot=str(run.slot),
        task_id=run.task_id,
        policy=run.job.catch_up,
    )


def _record(run: Run, now: datetime) -> dict[str, Any]:
    """What stands in place of a result, so that no other worker reports it."""
    return {
        "status": MISSED,
        "result": {"missed_at": stamp(now)},
        "traceback": None,
        "children": [],
        "date_done": None,
        "task_id": run.task_id,
        "run": run.header(""),
    }
