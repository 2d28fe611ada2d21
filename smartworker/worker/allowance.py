"""The month's budget: tells when much of it is spent, widens quiet polls at its end.

Work is never dropped, windows and doorbell stay as they are: only the polls that find
nothing become fewer, within the bound that the operator set.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.policy import Policy, Widening
from smartworker.rows import month_end, month_of
from smartworker.worker.clerk import Clerk

log = get_logger(__name__)

#: Per cent of the budget that are worth a warning.
LEVELS = (60, 85)
USED_UP = 100
REASON = "the month's budget is used up"


class Allowance:
    """Looks at the month's sum whenever the clerk has looked; sends nothing itself."""

    def __init__(
        self,
        clerk: Clerk,
        budget: int,
        longest: timedelta,
        clock: Clock,
        forecast: Callable[[], int],
    ) -> None:
        self._clerk = clerk
        self._budget = budget
        self._longest = longest
        self._clock = clock
        self._forecast = forecast
        self._widening: Widening | None = None
        #: Called when quiet polls change, in the clerk's thread.
        self.on_change: Callable[[], object] = _nothing

    def policy(self, plan: Policy) -> Policy:
        """The plan, as the budget allows it."""
        return replace(plan, widening=self._widening)

    def check(self) -> None:
        """Tell what is new; a second look at the same sum says nothing."""
        month = month_of(self._clock.now())
        spent = self._clerk.month_total()
        if spent >= self._budget:
            self._exhausted(month, spent)
        else:
            self._renewed(month, spent)
            self._warn(month, spent)

    def _warn(self, month: str, spent: int) -> None:
        crossed = [n for n in LEVELS if spent * 100 >= n * self._budget]
        if crossed and self._tells(crossed[-1]):
            log.warning(
                "budget_warned",
                month=month,
                share=round(spent / self._budget, 4),
                spent=spent,
                budget=self._budget,
                forecast=self._forecast(),
            )

    def _exhausted(self, month: str, spent: int) -> None:
        until = month_end(month)
        if self._widening is None or self._widening.until != until:
            self._widening = Widening(self._longest, until, REASON)
            self.on_change()
        if self._tells(USED_UP):
            log.error(
                "budget_exhausted",
                month=month,
                spent=spent,
                budget=self._budget,
                forecast=self._forecast(),
                poll_seconds=self._longest.total_seconds(),
                until=until.isoformat(),
            )

    def _renewed(self, month: str, spent: int) -> None:
        if self._widening is not None:
            self._widening = None
            log.info("budget_renewed", month=month, spent=spent, budget=self._budget)
            self.on_change()

    def _tells(self, level: int) -> bool:
        """Whether nobody has told of this yet; from now on somebody has."""
        if self._clerk.told >= level:
            return False
        self._clerk.tell(level)
        return True


def _nothing() -> None:
    """Nobody polls."""
