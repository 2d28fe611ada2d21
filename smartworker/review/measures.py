"""Accumulators whose size does not grow with what they are given."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from heapq import heappush, heapreplace
from math import log
from typing import Any, Generic, TypeVar

from smartworker.review.report import Spread

#: What does not fit any more is counted under this name.
OTHERS = "(others)"
#: Characters of a name: one that is longer shares its accumulator with others.
NAME = 200
#: A bucket is 2 % wider than the one before, so a percentile is exact within 1 %.
_WIDTH = log(1.02)
_SHORTEST = 0.001
_MASK = re.compile(
    r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,}\b|\d+(?:[.:,]\d+)*",
    re.IGNORECASE,
)

T = TypeVar("T")


class Histogram:
    """How long things took; at most some 1,100 buckets, whatever comes."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets: dict[int, list[float]] = {}  # [how many, seconds together]

    def add(self, seconds: float) -> None:
        """One more; what is no duration counts as none."""
        if not 0 <= seconds < 1e9:
            return
        self.count += 1
        if seconds > self.longest:
            self.longest = seconds
        bucket = int(log(seconds / _SHORTEST) / _WIDTH) if seconds > _SHORTEST else -1
        found = self._buckets.get(bucket)
        if found is None:
            self._buckets[bucket] = [1, seconds]
        else:
            found[0] += 1
            found[1] += seconds

    def quantile(self, share: float) -> float:
        """The duration that this share of all does not exceed, in seconds."""
        wanted = share * self.count
        seen = 0.0
        for bucket in sorted(self._buckets):
            count, together = self._buckets[bucket]
            seen += count
            if seen >= wanted:
                return round(together / count, 4)
        return 0.0

    def spread(self) -> Spread:
        """The figures of a report."""
        return Spread(
            self.count, self.quantile(0.5), self.quantile(0.95), round(self.longest, 3)
        )

    def steps(self) -> tuple[tuple[float, int], ...]:
        """Coarser, for a chart: (up to so many seconds, how many), empty ones too."""
        if not self.count:
            return ()
        found: dict[int, int] = {}
        for bucket, (count, _) in self._buckets.items():
            # Doubling from 1 ms on.
            step = max(0, int((bucket + 1) * _WIDTH / log(2)) + 1) if bucket >= 0 else 0
            found[step] = found.get(step, 0) + int(count)
        first, last = min(found), max(found)
        return tuple(
            (round(_SHORTEST * 2**step, 3), found.get(step, 0))
            for step in range(first, last + 1)
        )


class Table(dict[str, T], Generic[T]):
    """Accumulators by name; from `most` names on the new ones share `OTHERS`."""

    def __init__(self, make: Callable[[], T], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def of(self, name: str) -> T:
        """The accumulator of this name."""
        name = name[:NAME]
        found = self.get(name)
        if found is None:
            if len(self) >= self._most:
                name = OTHERS
            found = self.setdefault(name, self._make())
        return found


class Newest(Generic[T]):
    """The newest `most` of what is given, in whatever order it comes."""

    def __init__(self, key: Callable[[T], Any], most: int = 20_000) -> None:
        self._key = key
        self._most = most
        self._items: list[T] = []

    def add(self, item: T) -> None:
        """One more; the oldest go when there are too many."""
        self._items.append(item)
        if len(self._items) >= 2 * self._most:
            self._items = list(self)[-self._most :]

    def __iter__(self) -> Iterator[T]:
        """The oldest first."""
        return iter(sorted(self._items, key=self._key))


class Notable:
    """The `most` runs worth a mark: those that failed, then the longest."""

    def __init__(self, most: int = 2000) -> None:
        self._most = most
        self._heap: list[tuple[bool, float, float, tuple[Any, ...]]] = []
        self.left_out = 0

    def add(
        self, bad: bool, seconds: float, start: float, rest: tuple[str, ...]
    ) -> None:
        """One run; `start` is a time stamp."""
        item = (bad, seconds, start, rest)
        if len(self._heap) < self._most:
            heappush(self._heap, item)
            return
        self.left_out += 1
        if item > self._heap[0]:
            heapreplace(self._heap, item)

    def __iter__(self) -> Iterator[tuple[bool, float, float, tuple[Any, ...]]]:
        """By their start."""
        return iter(sorted(self._heap, key=lambda item: item[2]))


@lru_cache(maxsize=1024)
def cause_of(message: str) -> str:
    """The message with `#` for each number and id, so that equal causes are equal."""
    return _MASK.sub("#", message).strip()
