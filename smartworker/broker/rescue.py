"""Rescue: bringing back what dead workers held."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from smartworker.broker.returns import Verdict, again
from smartworker.logs import get_logger
from smartworker.store import keys
from smartworker.store.dead import Facts
from smartworker.store.meter import because
from smartworker.store.moves import move

log = get_logger(__name__)

#: Messages read from an in-flight list at a time.
PAGE = 100


def tell_dead(facts: Facts) -> None:
    """Log that a message has died."""
    log.error(
        "message_dead",
        queue=facts.queue,
        reason=facts.reason,
        detail=facts.detail,
        attempts=facts.attempts,
        task_id=facts.task_id,
        task=facts.task,
        job=facts.headers.get("job"),
        trigger_id=facts.headers.get("trigger_id"),
    )


@dataclass
class Rescued:
    """What a rescue did with one in-flight list."""

    worker: str
    queue: str
    returned: int = 0
    died: int = 0
    #: The end of its lease in ms if it turned out to be alive.
    lease_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "worker": self.worker,
            "queue": self.queue,
            "returned": self.returned,
            "dead": self.died,
            "alive": bool(self.lease_ms),
        }


@dataclass(frozen=True)
class Rescuer:
    """Brings messages back; may run in any process, and several at a time.

    Each message moves in one atomic step that looks at the lease once more, so two
    rescuers never bring back the same one, and none is taken from a living worker.
    """

    client: Any
    prefix: str = ""
    max_deliveries: int = 5
    on_death: Callable[[Facts], None] = tell_dead

    def rescue(self, inflight_key: str) -> Rescued:
        """Everything in one list whose lease has ended.

        1 command to read 100 messages, 1 and 2 per message to move them, 4 to check.
        """
        worker, queue_key = keys.owner(inflight_key, self.prefix)
        result = Rescued(worker, queue_key)
        while True:
            with because("rescue"):
                # The newest first: the oldest ends up where it is taken first.
                raws = self.client.lrange(inflight_key, 0, PAGE - 1)
            verdicts = [
                again(raw, queue_key, self.max_deliveries, first=True) for raw in raws
            ]
            moved = move(
                self.client,
                inflight_key,
                queue_key,
                [verdict.move for verdict in verdicts],
                prefix=self.prefix,
                expired=True,
                cause="rescue",
            )
            self._count(result, zip(verdicts, moved.gone, strict=False))
            result.lease_ms = moved.lease_ms
            if moved.lease_ms or len(raws) < PAGE:
                break
        if result.returned or result.died:
            log.warning(
                "messages_rescued",
                owner=worker,
                queue=queue_key,
                returned=result.returned,
                dead=result.died,
            )
        return result

    def _count(self, result: Rescued, answers: Iterable[tuple[Verdict, bool]]) -> None:
        for verdict, gone in answers:
            if gone and verdict.facts is not None:
                result.died += 1
                self.on_death(verdict.facts)
            elif gone:
                result.returned += 1

    def orphans(self) -> Iterator[str]:
        """All in-flight lists on the server. 1 command per 1,000 keys of the database.

        Only by hand: a lease names every list that a worker can leave behind, unless
        somebody removed the leases.
        """
        pattern = f"{keys.literal(self.prefix)}{keys.INFLIGHT}*"
        with because("rescue"):
            for name in self.client.scan_iter(match=pattern, count=1000):
                yield name.decode()
