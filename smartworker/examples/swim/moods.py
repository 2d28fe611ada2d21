"""What makes a facility difficult: bad moods, and a limit on requests."""

import random
import threading
from collections import deque

MOODS = ("slow", "fails before", "fails after")
LIMIT_SECONDS = 1.0


class Moods:
    """Decides from a seed which request is slow and which one fails."""

    def __init__(self, trouble: float, seed: int, slow_seconds: float = 0.3) -> None:
        self._trouble = trouble
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()
        self.slow_seconds = slow_seconds

    def next(self) -> str | None:
        """The mood for the next request; None is a good one."""
        with self._lock:
            bad = self._random.random() < self._trouble
            return self._random.choice(MOODS) if bad else None


class Limit:
    """At most so many requests a second from one account."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def exceeded(self, account: str, now: float) -> float | None:
        """Count a request; the seconds to stay away if it is one too many."""
        if self._most is None:
            return None
        with self._lock:
            times = self._times.setdefault(account, deque())
            while times and times[0] <= now - LIMIT_SECONDS:
                times.popleft()
            if len(times) >= self._most:
                return times[0] + LIMIT_SECONDS - now
            times.append(now)
            return None
