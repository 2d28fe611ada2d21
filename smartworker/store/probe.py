"""Trying out a database: what it refuses, whether it rings, how long silence lives.

All keys are scratch keys of one run, and deleted at its end.
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from smartworker.clock import Clock
from smartworker.store.client import LOST, ResponseError
from smartworker.store.keys import NAMESPACE, keyspace
from smartworker.store.meter import because, command_name, is_billed, ledger
from smartworker.store.notifications import SETTING, enable
from smartworker.store.traffic import CAUSE

PINGS = 20
#: Seconds that a bell may take.
BELL_SECONDS = 2.0
#: Seconds between two looks at silent connections; a look sends nothing.
LOOK_SECONDS = 1.0
#: How long scratch keys live that may not be deleted.
SCRATCH_SECONDS = 60
#: The kinds of scratch keys that the trials write.
KINDS = ("list", "other", "text", "hash", "set", "sorted", "stream")
SCRIPT = "redis.call('set', KEYS[1], '1') return redis.call('get', KEYS[1])"
SCRIPT_INNER = ("set", "get")


@dataclass(frozen=True)
class Trial:
    """A command that we use, made harmless: `{list}` is the scratch key of a kind."""

    words: tuple[str, ...]
    #: What a script runs inside.
    inner: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in the ledger."""
        return command_name(self.words)

    @property
    def cost(self) -> int:
        """Commands that are billed."""
        return is_billed(self.name) + sum(map(is_billed, self.inner))


def _trial(line: str) -> Trial:
    return Trial(tuple(line.split()))


#: Every command that smartworker sends, kombu's on its behalf included.
TRIALS = (
    Trial(("EVAL", SCRIPT, "1", "{text}"), SCRIPT_INNER),
    *map(
        _trial,
        (
            "PING",
            "INFO",
            f"CONFIG GET {SETTING}",
            "CLIENT LIST",
            "TIME",
            "LPUSH {list} a b",
            "RPUSH {list} c",
            "LLEN {list}",
            "LRANGE {list} 0 -1",
            "LMOVE {list} {other} RIGHT LEFT",
            "LREM {other} 1 c",
            "LPOP {list}",
            "RPOP {list}",
            "EXISTS {list} {other}",
            "TYPE {list}",
            "SCAN 0 COUNT 1",
            "SET {text} 1 EX 60",
            "GET {text}",
            "MGET {text} {other}",
            "EXPIRE {text} 60",
            "PEXPIRE {text} 60000",
            "HSET {hash} a 1",
            "HSETNX {hash} b 1",
            "HGET {hash} a",
            "HMGET {hash} a b",
            "HGETALL {hash}",
            "HDEL {hash} a",
            "SADD {set} a",
            "SMEMBERS {set}",
            "SREM {set} a",
            "ZADD {sorted} 1 a",
            "ZSCORE {sorted} a",
            "ZRANGE {sorted} 0 -1",
            "ZRANGEBYSCORE {sorted} -inf +inf",
            "ZREM {sorted} a",
            "XADD {stream} 1-1 a 1",
            "XLEN {stream}",
            "XRANGE {stream} - +",
            "XREVRANGE {stream} + - COUNT 1",
            "XTRIM {stream} MAXLEN 1",
            "XDEL {stream} 1-1",
            "PUBLISH {text} 1",
            "WATCH {text}",
            "MULTI",
            "EXEC",
        ),
    ),
)
#: These change what a connection is for, and have one of their own.
HEARING = tuple(
    map(
        _trial,
        ("SUBSCRIBE {text}", "PSUBSCRIBE {text}", "UNSUBSCRIBE", "PUNSUBSCRIBE"),
    )
)
#: What EXEC answers where MULTI was refused.
NO_MULTI = "EXEC without MULTI"


@dataclass(frozen=True)
class Bell:
    """Whether the server rang; flags None where it does not show them."""

    before: str | None
    after: str | None
    rang: bool
    error: str | None = None


@dataclass(frozen=True)
class Silence:
    """A connection that nobody used: whether it lived, and for how many seconds."""

    kind: str
    seconds: float
    alive: bool
    #: Closed by the other side; False: it was gone without a word.
    told: bool = False


def trials_cost() -> int:
    """Billed commands of `refused`: each once, and the deletion."""
    return sum(trial.cost for trial in (*TRIALS, *HEARING)) + 1


#: Billed commands of `bell`: SUBSCRIBE, LPUSH, DEL; and of `silence`: SUBSCRIBE.
BELL_COST = 3
SILENCE_COST = 1


def scratch(prefix: str = "") -> str:
    """What all scratch keys of one run begin with."""
    return f"{prefix}{NAMESPACE}:probe:{uuid.uuid4()}"


def latency(client: Any, clock: Clock) -> tuple[float, float]:
    """Median and longest round trip in seconds of 20 PINGs; none is billed."""
    took = []
    with because(CAUSE):
        client.ping()
        for _ in range(PINGS - 1):
            begun = clock.monotonic()
            client.ping()
            took.append(clock.monotonic() - begun)
    return median(took), max(took)


def refused(client: Any, base: str) -> dict[str, str]:
    """The commands of ours that the server refuses, and what it says.

    `base` is what the scratch keys begin with. Raises what redis-py raises where the
    server is away; the keys are deleted in any case.
    """
    keys = {kind: f"{base}:{kind}" for kind in KINDS}
    found: dict[str, str] = {}
    with because(CAUSE):
        try:
            for trials in (TRIALS, HEARING):
                with borrowed(client, drop=True) as connection:
                    found |= _try_all(connection, trials, keys)
        finally:
            _delete(client, found, *keys.values())
    return found


def _try_all(
    connection: Any, trials: Iterable[Trial], keys: dict[str, str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for trial in trials:
        connection.send_command(*(_fill(word, keys) for word in trial.words))
        try:
            connection.read_response()
            ledger.book(trial.inner)
        except ResponseError as error:
            if NO_MULTI not in str(error):
                found[trial.name] = str(error)
    return found


def _fill(word: str, keys: dict[str, str]) -> str:
    name = word[1:-1] if word.startswith("{") and word.endswith("}") else ""
    return keys.get(name, word)


def _delete(client: Any, found: dict[str, str], *keys: str) -> None:
    """Delete them; where the server refuses that, they expire."""
    try:
        client.delete(*keys)
    except ResponseError as error:
        found["del"] = str(error)
        for key in keys:
            with suppress(ResponseError):
                client.expire(key, SCRATCH_SECONDS)


def bell(client: Any, base: str, *, may_set: bool, database: int = 0) -> Bell:
    """Push to a list, and see whether the server rings within 2 seconds.

    `may_set`: add missing flags first, as a worker does at its start. 3 commands.
    """
    key = f"{base}:bell"
    before = after = None
    with because(CAUSE):
        with suppress(ResponseError):
            before = after = _text(client.config_get(SETTING).get(SETTING, ""))
        if may_set and before is not None:
            with suppress(ResponseError):
                after = enable(client).after
        try:
            with borrowed(client, drop=True) as connection:
                connection.send_command("SUBSCRIBE", keyspace(database, key))
                connection.read_response()
                client.lpush(key, "1")
                rang = connection.can_read(timeout=BELL_SECONDS)
        except ResponseError as error:
            return Bell(before, after, False, str(error))
        finally:
            _delete(client, {}, key)
    return Bell(before, after, bool(rang))


def silence(
    client: Any,
    base: str,
    clock: Clock,
    seconds: float,
    progress: Callable[[float], None] = lambda passed: None,
) -> list[Silence]:
    """How long a connection and a subscription live on which nothing is said.

    Ctrl-C ends it early with what is known. `progress` hears the seconds that passed.
    1 command, and a PING on each at the end.
    """
    with (
        because(CAUSE),
        borrowed(client, drop=True) as plain,
        borrowed(client, drop=True) as hearing,
    ):
        plain.send_command("PING")
        plain.read_response()
        open_: dict[str, Any] = {"connection": plain}
        with suppress(ResponseError):
            hearing.send_command("SUBSCRIBE", f"{base}:silence")
            hearing.read_response()
            open_["subscription"] = hearing
        found: list[Silence] = []
        begun, passed = clock.monotonic(), 0.0
        with suppress(KeyboardInterrupt):
            while open_ and passed < seconds:
                clock.wait(threading.Event(), min(LOOK_SECONDS, seconds - passed))
                passed = clock.monotonic() - begun
                for kind in [kind for kind in open_ if _has_ended(open_[kind])]:
                    del open_[kind]
                    found.append(Silence(kind, passed, alive=False, told=True))
                progress(passed)
        passed = clock.monotonic() - begun
        for kind, connection in open_.items():
            found.append(Silence(kind, passed, alive=_answers(connection)))
    return found


def _has_ended(connection: Any) -> bool:
    """Whether the other side has hung up; sends nothing, and waits for nothing."""
    try:
        connection.can_read(timeout=0)
    except LOST:
        return True
    return False


def _answers(connection: Any) -> bool:
    try:
        connection.send_command("PING", check_health=False)
        connection.read_response()
    except (*LOST, ResponseError):
        return False
    return True


@contextmanager
def borrowed(client: Any, *, drop: bool = False) -> Iterator[Any]:
    """A connection of the client's pool; with `drop` it is closed at the end."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        yield connection
    except LOST:
        drop = True
        raise
    finally:
        if drop:
            with suppress(*LOST):
                connection.disconnect()
        pool.release(connection)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
