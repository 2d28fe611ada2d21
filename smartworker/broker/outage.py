"""One outage: said once when it begins, once when it ends."""

from smartworker.logs import get_logger
from smartworker.store.client import LOST
from smartworker.store.refusals import Refusal, classify

log = get_logger(__name__)


class Outage:
    """Counts the tries of one outage, from `since` on the monotonic clock.

    What a try fails with may change on the way: each kind has its own pauses, and is
    said when it is new.
    """

    def __init__(self, since: float, error: Exception, interval: float) -> None:
        self.since = since
        self.attempts = 0
        #: When the next try is due, on the monotonic clock.
        self.next_try = since
        self._interval = interval
        self._said_at: float | None = None
        self._note(error)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone; otherwise the server answers, and refuses."""
        return isinstance(self.error, LOST)

    def failed(self, error: Exception, now: float) -> float:
        """A try failed; returns the seconds to wait before the next one."""
        self.attempts += 1
        if classify(error) != self.refusal:
            self._note(error)
            self._said_at = None
        self.error = error
        pause = next(self._pauses)
        self.next_try = now + pause
        self._say(now, pause)
        return pause

    def over(self, now: float, read_back: int) -> None:
        """The server answers; silent if the first try brought it back."""
        if self.attempts or read_back:
            log.info(
                "broker_back",
                kind=self.refusal.kind,
                away_seconds=round(now - self.since, 1),
                attempts=self.attempts + 1,
                read_back=read_back,
            )

    def _note(self, error: Exception) -> None:
        self.error = error
        self.refusal: Refusal = classify(error)
        self._pauses = self.refusal.pauses(self._interval)

    def _say(self, now: float, pause: float) -> None:
        repeat = self.refusal.repeat
        if self._said_at is None:
            log.warning(
                "broker_lost",
                kind=self.refusal.kind,
                error=self._brief,
                advice=self.refusal.advice,
                retry_seconds=round(pause, 1),
            )
        elif repeat is not None and now - self._said_at >= repeat:
            log.error(
                "broker_still_lost",
                kind=self.refusal.kind,
                error=self._brief,
                away_seconds=round(now - self.since, 1),
                retry_seconds=round(pause, 1),
            )
        else:
            return
        self._said_at = now

    @property
    def _brief(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"[:200]
