"""One outage: said once when it begins, once when it ends."""

from collections.abc import Iterator

from smartworker.logs import get_logger

log = get_logger(__name__)


class Outage:
    """Counts the tries of one outage, from `since` on the monotonic clock."""

    def __init__(self, since: float, error: Exception, pauses: Iterator[float]) -> None:
        self.since = since
        self.error = error
        self.attempts = 0
        self._pauses = pauses
        self._said = False

    def failed(self, error: Exception) -> float:
        """A try failed; returns the seconds to wait before the next one."""
        self.attempts += 1
        self.error = error
        pause = next(self._pauses)
        if not self._said:
            self._said = True
            log.warning(
                "broker_lost",
                error=f"{type(error).__name__}: {error}"[:200],
                retry_seconds=round(pause, 1),
            )
        return pause

    def over(self, now: float, read_back: int) -> None:
        """The server answers; silent if the first try brought it back."""
        if self._said or read_back:
            log.info(
                "broker_back",
                away_seconds=round(now - self.since, 1),
                attempts=self.attempts + 1,
                read_back=read_back,
            )
