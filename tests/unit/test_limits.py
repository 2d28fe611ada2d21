"""How often a stranger may fail, and how many triggers reach Redis."""

from ipaddress import ip_network

import pytest

from smartworker.settings import Settings
from smartworker.testing import ManualClock
from smartworker.web.limits import (
    FAILURES_OF_ALL,
    FAILURES_OF_ONE,
    UNKNOWN_IDS_OF_ONE,
    Bucket,
    Buckets,
    Limits,
    bucket_key,
    client_address,
)
from smartworker.web.problems import Problem

HOME, AWAY = "203.0.113.1", "198.51.100.7"
PRIVATE = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_a_bucket_gives_what_it_has_and_fills_evenly() -> None:
    """Sixty a minute: sixty at once, then one a second."""
    bucket = Bucket(60, now=100.0)
    assert [bucket.take(100.0) for _ in range(60)] == [0.0] * 60
    assert bucket.take(100.0) == pytest.approx(1.0)
    assert bucket.take(100.25) == pytest.approx(0.75)
    assert bucket.take(101.0) == 0.0
    assert bucket.take(101.0) > 0


def test_a_bucket_never_holds_more_than_a_minute() -> None:
    """A quiet night does not pay for a loud morning."""
    bucket = Bucket(2, now=0.0)
    assert [bucket.take(86_400.0) > 0 for _ in range(3)] == [False, False, True]


def test_what_is_owed_is_paid_back_first() -> None:
    """Many may ask before the first of them is counted; the average stays."""
    bucket = Bucket(60, now=0.0)
    for _ in range(90):
        bucket.owe()
    assert bucket.wait(0.0) == pytest.approx(31.0)
    assert bucket.wait(31.0) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Neither tokens nor an error."""
    bucket = Bucket(1, now=100.0)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(40.0) == pytest.approx(60.0)
    assert bucket.take(160.0) == 0.0


def test_strangers_do_not_fill_the_memory() -> None:
    """The address that was away longest is forgotten."""
    buckets = Buckets(1, most=2)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert buckets.of(address, 0.0).take(0.0) == 0.0
    assert buckets.of("10.0.0.3", 0.0).take(0.0) > 0
    assert buckets.of("10.0.0.1", 0.0).take(0.0) == 0.0


def refused(call: object, *args: object) -> int:
    """The seconds after which a refused call may come back."""
    with pytest.raises(Problem) as caught:
        call(*args)  # type: ignore[operator]
    problem = caught.value
    assert problem.status == 429
    assert problem.headers is not None
    seconds = int(problem.headers["Retry-After"])
    assert f"wait {seconds} s" in problem.detail
    return seconds


def test_an_address_may_fail_ten_times_a_minute() -> None:
    """The next failure is told when to come back; other addresses are not touched."""
    clock = ManualClock()
    limits = Limits(clock=clock)
    for _ in range(FAILURES_OF_ONE):
        limits.failed(HOME)
    assert refused(limits.failed, HOME) == 6
    limits.failed(AWAY)
    limits.failed(None)
    clock.advance(6)
    limits.failed(HOME)
    assert refused(limits.failed, HOME) == 6


def test_many_addresses_share_one_more_bucket() -> None:
    """A network of guessers is held too, and needs no more memory."""
    clock = ManualClock()
    limits = Limits(clock=clock)
    for number in range(FAILURES_OF_ALL):
        limits.failed(f"203.0.{number // 200}.{number % 200}")
    assert refused(limits.failed, AWAY) == 1
    clock.advance(1)
    limits.failed("198.51.100.8")


def test_triggers_have_a_limit_of_their_own() -> None:
    """It is a setting, and failures do not count for it."""
    clock = ManualClock()
    limits = Limits.of(Settings(trigger_limit=3), clock)
    for _ in range(3):
        limits.triggered()
    assert refused(limits.triggered) == 20
    limits.failed(HOME)
    clock.advance(20)
    limits.triggered()
    assert refused(limits.triggered) == 20


def test_the_default_is_twelve_hundred_triggers_a_minute() -> None:
    """A thousand at once are no attack."""
    limits = Limits(clock=ManualClock())
    for _ in range(1200):
        limits.triggered()
    assert refused(limits.triggered) == 1


def test_only_unknown_tasks_count() -> None:
    """Who asks for tasks that exist may ask as often as he likes."""
    limits = Limits(clock=ManualClock())
    for _ in range(3 * UNKNOWN_IDS_OF_ONE):
        limits.may_look(HOME)
    for _ in range(UNKNOWN_IDS_OF_ONE):
        limits.may_look(HOME)
        limits.not_found(HOME)
    assert refused(limits.may_look, HOME) == 1
    limits.may_look(AWAY)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (HOME, [], HOME),
        (HOME, [AWAY], HOME),  # no trusted proxy: it may write what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [HOME], HOME),
        ("10.0.0.1", [f"{AWAY}, {HOME}"], HOME),  # the first one is made up
        ("10.0.0.1", [f"{AWAY},{HOME}, 10.0.0.2,10.9.9.9"], HOME),
        ("10.0.0.1", [AWAY, HOME, "10.0.0.2"], HOME),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [f"{HOME}, unknown"], "10.0.0.1"),
        ("10.0.0.1", [f"{HOME}, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [f"{HOME}:4711"], HOME),
        ("10.0.0.1", ['"[2001:db8::1]:4711"'], "2001:db8::1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [","], "10.0.0.1"),
        ("10.0.0.1", ["\x00\xff" * 1000], "10.0.0.1"),
        ("::ffff:10.0.0.1", [f"::ffff:{HOME}"], HOME),
        ("fd00::1%eth0", ["2001:db8::1"], "2001:db8::1"),
        (None, [HOME], None),
        ("testclient", [HOME], "testclient"),
    ],
)
def test_the_address_is_the_last_one_nobody_could_make_up(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    """Trusted proxies are walked from the right."""
    assert client_address(peer, forwarded, PRIVATE) == address


def test_nobody_is_trusted_by_default() -> None:
    """Not even this machine."""
    assert Limits().address("127.0.0.1", [HOME]) == "127.0.0.1"
    trusting = Limits.of(Settings(trusted_proxies=(ip_network("127.0.0.1"),)))
    assert trusting.address("127.0.0.1", [HOME]) == HOME


@pytest.mark.parametrize(
    ("address", "key"),
    [
        (HOME, HOME),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.1"),
        ("testclient", "testclient"),
        (None, None),
    ],
)
def test_a_network_of_64_bits_is_one_address(
    address: str | None, key: str | None
) -> None:
    """Every home has 2^64 addresses of version 6."""
    assert bucket_key(address) == key
