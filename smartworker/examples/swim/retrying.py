"""Whether to ask the facility again after an answer that is no success. Pure."""

import random
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from smartworker.backoff import pauses
from smartworker.windows import to_utc

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
#: The facility's clock may be behind ours: so long it is asked again at once.
EAGER_SECONDS = 1.0
EAGER_PAUSE_SECONDS = 0.02
TOO_MANY = 429


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 is no answer, and `trouble` says why."""

    status: int
    body: Any = None
    retry_after: float | None = None
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Whether the request did what it was meant to do."""
        return 200 <= self.status < 300

    @property
    def error(self) -> str:
        """The facility's own word for what is wrong, such as `full`."""
        return str(self.body.get("error", "")) if isinstance(self.body, dict) else ""

    @property
    def early(self) -> bool:
        """Whether the slots are not released yet, as the facility sees it."""
        return self.error == "not_released"

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (0, 408, 425, TOO_MANY) or self.status >= 500

    def __str__(self) -> str:
        return self.trouble or f"status {self.status}"


class Patience:
    """How long to pause before the next attempt of one request, within a deadline.

    Times are those of a monotonic clock. `eager_from` is when the slots were released
    by our clock; None: that lies ahead.
    """

    def __init__(
        self,
        deadline: float,
        eager_from: float | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._deadline = deadline
        self._eager_from = eager_from
        self._pauses = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, rng=rng)

    def pause(self, answer: Answer, now: float) -> float | None:
        """Seconds until the next attempt; None: give up.

        No attempt begins after the deadline, so one that would is not waited for.
        """
        seconds = self._wanted(answer, now)
        if seconds is None or now + seconds >= self._deadline:
            return None
        return seconds

    def _wanted(self, answer: Answer, now: float) -> float | None:
        if answer.early:
            if self._eager_from is None:
                return None
            if now < self._eager_from + EAGER_SECONDS:
                return EAGER_PAUSE_SECONDS
            return next(self._pauses)
        if not answer.passing:
            return None
        if answer.retry_after is not None:
            return answer.retry_after
        return next(self._pauses)


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for; None without a readable one."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max((to_utc(parsedate_to_datetime(text)) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
