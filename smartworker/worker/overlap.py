"""The bootstep that keeps runs of a job from overlapping, where the job wants that."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from celery import bootsteps
from celery.worker import state

from smartworker.broker.envelope import HISTORY
from smartworker.clock import system_clock
from smartworker.cron.runs import run_of
from smartworker.logs import get_logger
from smartworker.store.client import LOST, RedisError
from smartworker.store.dead import Facts
from smartworker.store.overlap import JobLeases
from smartworker.worker.limits import MARGIN, limit_of, run_lease, trigger_lease
from smartworker.worker.request import run_header, run_left
from smartworker.worker.safekeeper import Safekeeper
from smartworker.worker.tracing import names_of
from smartworker.worker.turns import Turn, Turns

log = get_logger(__name__)


class Overlap(bootsteps.StartStopStep):
    """Stands between Celery's consumer and its pool; `turns` decides.

    A run that has to wait is held in memory as Celery holds one with an ETA: there is
    room for other messages, it can be revoked, and at a shutdown it goes back.
    """

    requires = (Safekeeper,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.overlap = self
        self._consumer = consumer
        self._app = consumer.app
        self._leases: JobLeases | None = None
        #: (job, owner) of leases that could not be freed yet.
        self._unfreed: set[tuple[str, str]] = set()
        self._away = False
        self._begin: Callable[[Any], Any] = consumer.on_task_request
        consumer.on_task_request = self.dispatch
        self.turns = Turns(system_clock, self._ask, self._later, self._cancel)
        self.turns.on_turn = self._proceed
        self.turns.is_over = self._is_over

    def start(self, consumer: Any) -> None:
        """Use a new connection."""
        channel = consumer.connection.default_channel
        client = consumer.connection.transport.plain_client(channel)
        self._leases = JobLeases(client, channel.global_keyprefix)
        run_left.connect(self._run_left, dispatch_uid=self)
        custody = consumer.connection.transport.cycle.custody
        tell = custody.on_death

        def on_death(facts: Facts) -> None:
            tell(facts)
            self._died(facts)

        custody.on_death = on_death

    def stop(self, consumer: Any) -> None:
        """Whoever waits goes back with its connection."""
        running = [*state.requests.values()]
        self.turns.clear({each.id for each in running if each.time_start is not None})

    def dispatch(self, request: Any) -> None:
        """Hand a request to the pool, or hold it until its job is free."""
        turn = self._turn(request)
        if turn is None or self.turns.may_begin(
            turn, sure=self._is_sure(request, turn)
        ):
            self._begin(request)
            return
        log.info(
            "run_waits",
            job=turn.job,
            task_id=turn.owner,
            trigger_id=names_of(request.request_dict).get("trigger_id"),
        )
        # Before it is scheduled: Celery takes what is reserved for past that.
        state.reserved_requests.discard(request)
        self._consumer.qos.increment_eventually()
        self.turns.wait(turn, request)
        state.task_scheduled(request)

    def renew(self) -> None:
        """Prolong leases of runs that take long, and free what could not be freed.

        2 commands each, 3 to free, and hardly ever any. Called each minute; any thread.
        """
        for turn in self.turns.aging():
            if self._ask(turn) == turn.owner and not self.turns.renewed(turn):
                # It freed its job meanwhile, and this took it once more.
                self._free(turn.job, turn.owner)
        for job, owner in tuple(self._unfreed):
            self._free(job, owner)

    # -- what the turns ask for --------------------------------------------------------

    def _ask(self, turn: Turn) -> str:
        if self._leases is None:
            return ""
        try:
            holder = self._leases.take(turn.job, turn.owner, turn.seconds)
        except (*LOST, RedisError) as error:
            self._tell(turn.job, error)
            return ""
        self._away = False
        return holder

    def _later(self, seconds: float, ring: Callable[[str], None], job: str) -> Any:
        return self._consumer.timer.call_after(seconds, ring, (job,))

    def _cancel(self, timer: Any) -> None:
        self._consumer.timer.cancel(timer)

    def _proceed(self, request: Any) -> None:
        state.task_reserved(request)
        self._consumer.qos.decrement_eventually()
        self._begin(request)

    def _is_over(self, request: Any) -> bool:
        """Whether it was revoked, or is too old, while it waited."""
        over = bool(request.revoked())
        if over:
            self._consumer.qos.decrement_eventually()
        return over

    # -- what happens to runs ----------------------------------------------------------

    def _turn(self, request: Any) -> Turn | None:
        header = run_header(request)
        if header is None or not _is_alone(header):
            return None
        seconds = run_lease(self._app, request.type, limit_of(header))
        perhaps = header["overlap"] == "skip" or _again(request)
        return Turn(header["job"], request.id, seconds, perhaps)

    def _is_sure(self, request: Any, turn: Turn) -> bool:
        """Whether its trigger took the lease, and that lasts for the whole run."""
        header = run_header(request) or {}
        if header.get("overlap") != "skip" or _again(request):
            return False
        try:
            slot = datetime.fromisoformat(str(header.get("slot"))).timestamp()
        except ValueError:
            return False
        ends = slot + trigger_lease(self._app, limit_of(header))
        # A caller's clock may run ahead of ours, and its slot with it.
        return system_clock.now().timestamp() + turn.seconds + MARGIN / 2 < ends

    def _run_left(self, request: Any, final: bool, **_: Any) -> None:
        turn = self._turn(request)
        if turn is None or request.app is not self._app:
            return
        self.turns.left(turn.job, turn.owner)
        if final:
            self._free(turn.job, turn.owner)
        # Pool threads come here too, and the loop alone decides.
        self._consumer.call_soon(self.turns.proceed, turn.job)

    def _died(self, facts: Facts) -> None:
        """A message is dead; if it was that of a run, its job is free."""
        run = run_of(facts.headers)
        if run is not None and _is_alone(run) and facts.task_id:
            self._free(run["job"], facts.task_id)
            self._consumer.call_soon(self.turns.proceed, run["job"])

    # -- what is asked of the server ---------------------------------------------------

    def _free(self, job: str, owner: str) -> None:
        try:
            if self._leases is not None:
                self._leases.release(job, owner)
            self._unfreed.discard((job, owner))
            self._away = False
        except (*LOST, RedisError) as error:
            self._unfreed.add((job, owner))
            self._tell(job, error)

    def _tell(self, job: str, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("lease_not_asked", job=job, error=str(error)[:200])


def _is_alone(header: Mapping[str, Any]) -> bool:
    """Whether no other run of its job may run at the same time."""
    return header.get("overlap") in ("skip", "queue")


def _again(request: Any) -> bool:
    """Whether a run may have the lease from an earlier try, or have lost it since."""
    headers = request.request_dict
    redelivered = request.delivery_info.get("redelivered")
    return bool(redelivered or headers.get("retries") or headers.get(HISTORY))
