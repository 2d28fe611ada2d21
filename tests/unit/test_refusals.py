"""Refusals: what each error of a server means, and how long it is left alone."""

import itertools
import ssl

import pytest
import redis
from redis.connection import DefaultParser

from smartworker.store.client import LOST
from smartworker.store.refusals import (
    BUSY,
    DENIED,
    FULL,
    OTHER,
    QUOTA,
    Refusal,
    classify,
)
from smartworker.store.refusals import LOST as AWAY

#: What servers say, word for word, and what it is.
LINES = [
    ("OOM command not allowed when used memory > 'maxmemory'.", FULL),
    (
        "OOM command not allowed when used memory > 'maxmemory'. script: f1, on @x:4.",
        FULL,
    ),
    ("ERR out of memory", FULL),
    ("WRONGPASS invalid username-password pair or user is disabled.", DENIED),
    ("NOAUTH Authentication required.", DENIED),
    ("ERR invalid password", DENIED),
    ("ERR wrong number of arguments for 'auth' command", DENIED),
    ("NOPERM User worker has no permissions to run the 'eval' command", DENIED),
    ("ERR unknown command 'LMOVE', with args beginning with: 'celery'", DENIED),
    ("ERR Can't run this command in the current plan", DENIED),
    ("LOADING Redis is loading the dataset in memory", BUSY),
    ("READONLY You can't write against a read only replica.", BUSY),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is 'no'.", BUSY),
    ("CLUSTERDOWN The cluster is down", BUSY),
    ("TRYAGAIN Multiple keys request during rehashing of slot", BUSY),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL.", BUSY),
    ("MISCONF Errors writing to the AOF file: No space left on device", BUSY),
    ("NOREPLICAS Not enough good replicas to write.", BUSY),
    ("UNBLOCKED force unblock from blocking operation, instance state changed", BUSY),
    ("ERR max requests limit exceeded. Limit: 500000, Usage: 500000.", QUOTA),
    ("ERR max daily request limit exceeded. Limit: 10000, Usage: 10001.", QUOTA),
    ("ERR DB capacity quota exceeded", QUOTA),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", OTHER),
    ("EXECABORT Transaction discarded because of previous errors.", OTHER),
    ("ERR something new", OTHER),
    ("ERR max number of clients reached", BUSY),
]

#: What becomes of the way to a server.
LOSSES = [
    redis.ConnectionError(
        "Error 111 connecting to 127.0.0.1:6379. Connection refused."
    ),
    redis.TimeoutError("Timeout reading from socket"),
    redis.exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1 400 Bad Request'"),
    ConnectionResetError(104, "Connection reset by peer"),
    ssl.SSLError("record layer failure"),
    OSError(24, "Too many open files"),
    # The words of a refusal in the error of a proxy are no refusal.
    OSError("upstream busy: quota exceeded"),
]

KINDS = (AWAY, BUSY, QUOTA, FULL, DENIED, OTHER)


@pytest.mark.parametrize(("line", "kind"), LINES, ids=[line[:30] for line, _ in LINES])
def test_what_a_server_says(line: str, kind: Refusal) -> None:
    """Read by redis-py from the wire, then by us: its classes and its plain errors."""
    assert classify(DefaultParser.parse_error(line)) is kind


@pytest.mark.parametrize("error", LOSSES, ids=lambda error: type(error).__name__)
def test_a_lost_connection(error: Exception) -> None:
    """No answer, or none that can be trusted: we come back when there is one."""
    assert classify(error) is AWAY
    assert isinstance(error, LOST)


def test_a_kind_has_a_name_and_an_advice() -> None:
    """Six of them, told apart in logs and status."""
    assert len({kind.kind for kind in KINDS}) == len(KINDS)
    assert all(kind.advice for kind in KINDS)
    assert [kind for kind in KINDS if kind.repeat] == [OTHER]


def first_pauses(kind: Refusal, interval: float, count: int = 12) -> list[float]:
    """The pauses between the first tries, without what chance adds."""
    return list(itertools.islice(kind.pauses(interval), count))


@pytest.mark.parametrize("kind", [AWAY, BUSY, OTHER], ids=lambda kind: kind.kind)
@pytest.mark.parametrize("interval", [1.0, 30.0, 1800.0])
def test_what_passes_by_itself_is_tried_soon(kind: Refusal, interval: float) -> None:
    """From a second up to half a minute, however often the worker polls."""
    expected = [1, 2, 4, 8, 16, 30, 30, 30]
    found = first_pauses(kind, interval, 8)
    assert found == [pytest.approx(pause, rel=0.2) for pause in expected]


@pytest.mark.parametrize("kind", [QUOTA, FULL], ids=lambda kind: kind.kind)
def test_what_lasts_is_tried_seldom(kind: Refusal) -> None:
    """From half a minute up to the poll interval, at most five minutes."""
    expected = [30, 60, 120, 240, 300, 300]
    assert first_pauses(kind, 1800.0, 6) == [
        pytest.approx(pause, rel=0.2) for pause in expected
    ]
    assert first_pauses(kind, 100.0, 3) == [
        pytest.approx(pause, rel=0.2) for pause in (30, 60, 100)
    ]


def test_a_full_server_is_tried_at_least_so_often() -> None:
    """Polled each second: 20 s, for somebody may make room; a quota stays used up."""
    assert first_pauses(FULL, 1.0, 3) == [pytest.approx(20, rel=0.2)] * 3
    assert first_pauses(QUOTA, 1.0, 3) == [pytest.approx(30, rel=0.2)] * 3


@pytest.mark.parametrize("interval", [1.0, 30.0, 1800.0])
def test_a_wrong_password_is_tried_twice_a_minute(interval: float) -> None:
    """By the clock: there is no crowd to spread."""
    assert first_pauses(DENIED, interval) == [30.0] * 12


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("interval", [0.1, 1.0, 30.0, 600.0, 86_400.0])
def test_no_kind_spins_and_none_sleeps_for_long(kind: Refusal, interval: float) -> None:
    """Between 0.8 s and six minutes, at any interval."""
    found = first_pauses(kind, interval, 40)
    assert min(found) >= 0.8
    assert max(found) <= 360
