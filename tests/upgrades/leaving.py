"""Two workers of one release that go with messages everywhere: stopped, and killed."""

import signal
import time
from collections import Counter

import redis

from smartworker.store import keys
from tests.processes import wait_until
from tests.upgrades.pair import START_SECONDS, Hand, Stage

#: The ways to go, and the queues of those who go so.
WAYS = STOPPED, KILLED = ("stopped", "killed")
#: The tasks that run on two processes, and all that run once when a worker goes.
RUNNING = [f"run-{n}" for n in range(2)]
NOTES = [f"note-{n}" for n in range(9)]
ONCE = [*NOTES, "low", "eta"]
#: So many may be held: those that run, six more, and what is scheduled beside them.
FULL = 8 + 2


class Leaving:
    """Both workers, and when what they hold was published."""

    def __init__(self, stage: Stage, release: str) -> None:
        self.stage, self.release = stage, release
        self.workers = {way: stage.spawn(release, way, "-Q", way) for way in WAYS}
        #: Seconds of the wall clock before which nothing that is scheduled may run.
        self.due = 0.0
        #: The id of a task that the stopped one ends.
        self.result = ""
        #: How many messages the killed one held.
        self.held = 0

    def ready(self) -> None:
        """Wait until both work."""
        for worker in self.workers.values():
            worker.wait_for("worker_ready", seconds=START_SECONDS)

    def fill(self, hand: Hand, later: float) -> None:
        """Publish every kind of message; `later`: seconds that some are scheduled."""
        self.due = time.time() + later
        for queue in reversed(WAYS):
            self.result = self._fill(hand, queue, later)
        wait_until(
            lambda: min(held(self.stage)[way] for way in WAYS) >= FULL, what="all held"
        )

    def _fill(self, hand: Hand, queue: str, later: float) -> str:
        """For one of them; the id of one that runs."""
        to = f"queue={queue!r}"
        hand.ask(f"again.apply_async(('{queue}-retry', {later}), {to}).id")
        self.stage.wait_for(f"{queue}-retry")
        hand.ask(f"note.apply_async(('{queue}-eta',), countdown={later}, {to}).id")
        running = [f"{queue}-{name}" for name in RUNNING]
        sent = f"[late.apply_async((n,), {to}).id for n in {running}]"
        ids: list[str] = hand.ask(sent)
        self.stage.wait_for(*running)
        notes = [f"{queue}-{name}" for name in NOTES]
        hand.ask(f"[note.apply_async((n,), {to}).id for n in {notes}]")
        # Another list of the same queue: 9 is the last that is taken.
        hand.ask(f"note.apply_async(('{queue}-low',), priority=9, {to}).id")
        return ids[0]

    def go(self) -> None:
        """One is killed, one is stopped while its tasks run."""
        self.held = held(self.stage)[KILLED]
        self.workers[KILLED].kill_all()
        self.workers[STOPPED].send(signal.SIGTERM)
        wait_until(
            lambda: held(self.stage)[STOPPED] == len(RUNNING), what="the rest is back"
        )
        for way in WAYS:
            for name in RUNNING:
                (self.stage.gates / f"{way}-{name}").touch()
        assert self.workers[STOPPED].process.wait(20) == 0

    def check(self, second: str) -> None:
        """The next one has done everything, and only what had begun once more."""
        stage = self.stage
        stage.wait_for(*(f"{way}-{name}" for way in WAYS for name in ONCE))
        twice = [f"{KILLED}-{name}" for name in RUNNING]
        twice += [f"{way}-retry" for way in WAYS]
        for number in twice:
            wait_until(lambda n=number: len(stage.ran(n)) == 2, what=number)
            assert stage.ran(number) == [self.release, second]
        for way in WAYS:
            for name in ONCE:
                assert stage.ran(f"{way}-{name}") == [second]
            tries = [line[3] for line in stage.lines() if line[1] == f"{way}-retry"]
            assert tries == ["0", "1"]
            for name in ("eta", "retry"):
                assert stage.began(f"{way}-{name}") > self.due
        for name in RUNNING:
            assert stage.ran(f"{STOPPED}-{name}") == [self.release]


def held(stage: Stage) -> Counter[str]:
    """How many messages are in flight, by queue."""
    with redis.Redis.from_url(stage.url) as client:
        lists = client.keys(f"{keys.INFLIGHT}*")
        return Counter(
            {keys.owner(name.decode())[1]: client.llen(name) for name in lists}
        )
