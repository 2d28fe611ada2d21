"""What an error of the server means, and how long to leave it alone then."""

from collections.abc import Iterator
from dataclasses import dataclass

from redis import exceptions

from smartworker.backoff import pauses


@dataclass(frozen=True)
class Refusal:
    """A kind of trouble: its name, what to do, and the pauses between tries.

    `first`, `most` and `least` in seconds: the pauses grow from the first up to the
    poll interval, within the other two. `repeat` is how often it is said again, None
    for once.
    """

    kind: str
    advice: str
    first: float = 1.0
    least: float = 30.0
    most: float = 30.0
    repeat: float | None = None

    def pauses(self, interval: float) -> Iterator[float]:
        """Seconds to wait before each further try, while polling each `interval`."""
        most = min(max(interval, self.least), self.most)
        # No jitter where each try of a used-up quota may be counted too.
        spread = 0.2 if self.first < self.most else 0.0
        return pauses(min(self.first, most), most, spread)


LOST = Refusal("lost", "the worker comes back by itself when Redis answers")
BUSY = Refusal(
    "not_ready", "Redis is starting, failing over or busy: the worker waits for it"
)
QUOTA = Refusal(
    "quota",
    "the plan's quota is used up: raise it or move to another plan in the Upstash "
    "console; nothing is lost, and the worker goes on by itself",
    first=30.0,
    most=300.0,
)
FULL = Refusal(
    "full",
    "Redis is out of memory: raise maxmemory or delete what is not needed; nothing "
    "is lost, acknowledgements still pass",
    first=30.0,
    least=20.0,
    most=300.0,
)
DENIED = Refusal(
    "denied",
    "check user and password of REDIS_URL, and that its user may run this command",
    first=30.0,
    most=30.0,
)
OTHER = Refusal("refused", "the worker tries again; look the error up", repeat=60.0)

_CLASSES: tuple[tuple[type[Exception], Refusal], ...] = (
    (exceptions.AuthenticationError, DENIED),
    (exceptions.AuthenticationWrongNumberOfArgsError, DENIED),
    (exceptions.NoPermissionError, DENIED),
    (exceptions.OutOfMemoryError, FULL),
    (exceptions.BusyLoadingError, BUSY),
    (exceptions.ReadOnlyError, BUSY),
    (exceptions.MasterDownError, BUSY),
    (exceptions.ClusterDownError, BUSY),
    (exceptions.TryAgainError, BUSY),
)
# What redis-py has no class for. Upstash says "max requests limit exceeded" for
# commands and "DB capacity quota exceeded" for the size, which refuses writes.
_WORDS: tuple[tuple[str, Refusal], ...] = (
    ("requests limit exceeded", QUOTA),
    ("request limit exceeded", QUOTA),
    ("quota exceeded", QUOTA),
    ("noauth", DENIED),
    ("noperm", DENIED),
    ("unknown command", DENIED),
    ("command is not available", DENIED),
    ("max concurrent connections exceeded", BUSY),
    ("max number of clients reached", BUSY),
    ("can't run this command", DENIED),
    ("out of memory", FULL),
    ("oom command not allowed", FULL),
    ("busy", BUSY),
    ("misconf", BUSY),
    ("noreplicas", BUSY),
    ("loading", BUSY),
    ("readonly", BUSY),
    ("unblocked", BUSY),
)


def classify(error: BaseException) -> Refusal:
    """The kind of an error that came from the server or from the way to it."""
    for kind, refusal in _CLASSES:
        if isinstance(error, kind):
            return refusal
    text = str(error).lower()
    for words, refusal in _WORDS:
        if words in text and isinstance(error, exceptions.RedisError):
            return refusal
    return OTHER if isinstance(error, exceptions.ResponseError) else LOST
