"""The pacer: puts the policy's decision into force, and says so."""

from collections.abc import Callable

from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.policy import Decision, Policy

log = get_logger(__name__)


class Pacer:
    """Holds the decision in force. `apply` gets the new interval in seconds."""

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        apply: Callable[[float], None],
        spent: Callable[[], int],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._apply = apply
        self._spent = spent
        self._spent_before = spent()
        self.decision: Decision | None = None

    def use(self, policy: Policy) -> None:
        """Decide by this policy from the next time on."""
        self._policy = policy

    def adjust(self) -> Decision:
        """Decide for now; a change of interval or window is applied and logged."""
        old, new = self.decision, self._policy.decide(self._clock.now())
        self.decision = new
        if old is None:
            self._apply(new.poll.total_seconds())
        elif (old.poll, old.window) != (new.poll, new.window):
            self._apply(new.poll.total_seconds())
            self._say(old, new)
        return new

    def _say(self, old: Decision, new: Decision) -> None:
        spent = self._spent()
        log.info(
            "interval_changed",
            old_poll_seconds=old.poll.total_seconds(),
            poll_seconds=new.poll.total_seconds(),
            window=new.window,
            until=new.until.isoformat() if new.until else None,
            reason=new.reason,
            commands=spent - self._spent_before,
        )
        self._spent_before = spent
