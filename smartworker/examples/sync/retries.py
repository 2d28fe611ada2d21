"""How long to wait before the roster service is asked again. Pure."""

import random
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import islice

from smartworker.backoff import pauses
from smartworker.windows import to_utc

#: Retries after the first try.
RETRIES = 3
#: Runs of one message, those included that only met the rate limit.
MOST_RUNS = 50
#: A longer wait is not believed: a message that waits for longer counts as lost.
LONGEST_WAIT_SECONDS = 900.0
#: What a rate limit without a time means.
LIMITED_SECONDS = 1.0

_spread: Callable[[float, float], float] = random.SystemRandom().uniform


def pause_after(failures: int, first: float) -> float:
    """Seconds before the next try: doubling with each failure, a little less."""
    return next(islice(pauses(first, LONGEST_WAIT_SECONDS), failures - 1, None))


def limited_pause(seconds: float) -> float:
    """Seconds to stay away when asked to: never less, and not all callers at once."""
    wait = min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
    return wait + _spread(0.0, max(wait, LIMITED_SECONDS) / 2)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for; None where it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT_SECONDS)
    try:
        until = to_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError):
        return None
    seconds = (until - to_utc(now)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
