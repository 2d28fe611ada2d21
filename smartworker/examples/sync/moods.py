"""The moods of the roster service: what goes wrong with a request, and how often."""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

#: Nonsense of several kinds, each with a good status.
NONSENSE = (
    b"<html><body>Welcome to our new portal!</body></html>",
    b'{"id": "R10',
    b'["ok"]',
    b'{"status": "ok"}',
    b'{"id": "somebody-else"}',
    b"\xff\xfe\x00",
    b"",
)


class Mood(StrEnum):
    """What happens to a request."""

    GOOD = "good"
    SLOW = "slow"  # answers late
    DOWN = "down"  # hangs up before anything is done
    FAILING = "failing"  # 503 before anything is done
    LOSING = "losing"  # does it, and hangs up
    NONSENSE = "nonsense"  # does it, and answers with something else
    LIMITED = "limited"  # 429 with Retry-After
    MOODY = "moody"  # any of the others


@dataclass(frozen=True)
class Weather:
    """How things are now: the mood of a share of the requests, and the rate limit."""

    mood: Mood = Mood.GOOD
    share: float = 1.0
    slow_seconds: float = 0.3
    #: Requests a second; None is as many as you like.
    rate: int | None = None
    retry_after: int = 1

    def changed(self, body: Mapping[str, Any]) -> "Weather":
        """Other values for what is named. Raises ValueError or TypeError."""
        values = dict(body)
        if "mood" in values:
            values["mood"] = Mood(values["mood"])
        return replace(self, **values)


class Moods:
    """Decides for each request; the same seed gives the same day."""

    def __init__(self, weather: Weather, seed: int = 1) -> None:
        self.weather = weather
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()
        self._second, self._count = -1, 0

    def next(self, seconds: float) -> Mood:
        """The mood for a request that comes at this monotonic time."""
        weather = self.weather
        with self._lock:
            if weather.rate is not None and self._is_too_much(int(seconds)):
                return Mood.LIMITED
            if self._random.random() >= weather.share:
                return Mood.GOOD
            if weather.mood is Mood.MOODY:
                bad = [each for each in Mood if each not in (Mood.GOOD, Mood.MOODY)]
                return self._random.choice(bad)
            return weather.mood

    def nonsense(self) -> bytes:
        """Something that is no answer."""
        with self._lock:
            return self._random.choice(NONSENSE)

    def _is_too_much(self, second: int) -> bool:
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count > (self.weather.rate or 0)
