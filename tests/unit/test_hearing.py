"""What a ring means, without any server."""

import logging
import random
from typing import Any

import pytest

from smartworker.broker.bells import Bells
from smartworker.broker.doorbell import Ring
from smartworker.broker.hearing import HEAD_START, LEAST_SPREAD, MOST_SPREAD, Hearing
from smartworker.store.client import ResponseError

KEY = "celery"
TOPIC = "/0.celery.pidbox"


class Server:
    """A client of a server with these flags; None: CONFIG is refused."""

    def __init__(self, flags: str | None = "") -> None:
        self.flags = flags
        self.asked: list[str] = []

    def config_get(self, name: str) -> dict[str, str]:
        """The flags as they are."""
        self.asked.append("get")
        if self.flags is None:
            raise ResponseError("NOPERM this user has no permissions")
        return {name: self.flags}

    def config_set(self, name: str, value: str) -> None:
        """Other flags."""
        self.asked.append("set")
        self.flags = value


class Transport:
    """What `find_mode` asks a transport."""

    def __init__(self, doorbell: str, server: Server) -> None:
        self.doorbell = doorbell
        self.server = server
        self.remembered: bool | None = None

    def remember(self, *, rings: bool) -> None:
        """What producers of this process will find."""
        self.remembered = rings

    def plain_client(self, channel: Any) -> Server:
        """The client."""
        return self.server


class Channel:
    """What `find_mode` asks a channel."""

    database = 0


def hearing(doorbell: str = "auto", flags: str | None = "") -> tuple[Hearing, Server]:
    """A hearing that has found its mode and listens to one queue."""
    server, made = Server(flags), Hearing()
    made.find_mode(Transport(doorbell, server), Channel())
    made.channels([KEY])
    return made, server


def hear(made: Hearing, bells: Bells, *kinds: bytes, key: str = KEY) -> None:
    """The server tells what happened to a key."""
    channel = f"__keyspace@0__:{key}"
    made.understand([Ring(channel, kind) for kind in kinds], bells)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged, as dictionaries."""
    caplog.set_level(logging.INFO)
    return lambda: [record.msg for record in caplog.records]


@pytest.mark.parametrize(
    ("asked", "flags", "mode", "commands"),
    [
        ("auto", "", "keyspace", ["get", "set"]),
        ("auto", "Kl$g", "keyspace", ["get"]),
        ("auto", None, "publish", ["get"]),
        ("keyspace", None, "keyspace", ["get"]),
        ("keyspace", "AK", "keyspace", ["get"]),
        ("publish", "", "publish", []),
        ("off", "", "off", []),
    ],
)
def test_the_mode_follows_from_wish_and_server(
    asked: str, flags: str | None, mode: str, commands: list[str]
) -> None:
    """Auto falls back to publish; who asks for keyspace by name gets it."""
    made, server = hearing(asked, flags)
    assert made.mode == mode
    assert server.asked == commands


def test_the_mode_is_logged_with_the_flags(lines: Any) -> None:
    """Before and after; a refusal with the mode that is used instead."""
    hearing("auto", "Ex")
    hearing("auto", None)
    ready, refused = lines()
    assert ready["event"] == "doorbell_ready"
    assert (ready["flags_before"], ready["flags"]) == ("Ex", "ExKl$g")
    assert refused["event"] == "doorbell_refused"
    assert refused["mode"] == "publish"
    assert "NOPERM" in refused["error"]


@pytest.mark.parametrize(
    ("doorbell", "flags", "rings"),
    [("auto", "", True), ("auto", None, False), ("off", "", None)],
)
def test_producers_learn_what_was_found(
    doorbell: str, flags: str | None, rings: bool | None
) -> None:
    """A publisher of the same process need not ask the server once more."""
    transport = Transport(doorbell, Server(flags))
    Hearing().find_mode(transport, Channel())
    assert transport.remembered is rings


@pytest.mark.parametrize(
    ("asked", "channels"),
    [
        ("keyspace", ["__keyspace@0__:celery", "__keyspace@0__:mail"]),
        ("publish", ["smartworker:bell:celery", "smartworker:bell:mail"]),
        ("off", []),
    ],
)
def test_channels_follow_from_the_mode(asked: str, channels: list[str]) -> None:
    """One for each queue key; none where nothing rings."""
    assert hearing(asked)[0].channels([KEY, "mail"]) == channels


def test_pushes_pops_and_ends_are_told_apart() -> None:
    """Pushes add, foreign pops take away, `del` empties, others mean nothing."""
    made, bells = hearing()[0], Bells()
    hear(made, bells, b"lpush", b"rpush", b"lpush")
    assert bells.wishes([KEY], 10) == [KEY] * 3
    hear(made, bells, b"rpop")
    assert bells.wishes([KEY], 10) == [KEY] * 2
    hear(made, bells, b"ltrim", b"lrem", b"lset", b"rename_from")
    assert bells.wishes([KEY], 10) == [KEY] * 2
    for end in (b"del", b"expired", b"evicted"):
        hear(made, bells, b"lpush", end)
        assert not bells.any


def test_a_ring_of_an_unknown_channel_is_no_bell() -> None:
    """A late notice of a queue that was cancelled is ignored."""
    made, bells = hearing()[0], Bells()
    hear(made, bells, b"lpush", key="cancelled")
    assert not bells.any


def test_published_bells_carry_their_count() -> None:
    """A batch rings once with its number; nonsense counts as one."""
    made, bells = hearing("publish")[0], Bells()
    for data, total in ((b"3", 3), (b"1", 4), (b"x", 5), (b"", 6)):
        made.understand([Ring("smartworker:bell:celery", data)], bells)
        assert len(bells.wishes([KEY], 100)) == total


def test_what_is_no_bell_is_a_broadcast() -> None:
    """Remote control comes back as it is; the bells around it are booked."""
    made, bells = hearing()[0], Bells()
    broadcast = Ring(TOPIC, b"not even json")
    bell = Ring("__keyspace@0__:celery", b"lpush")
    assert made.understand([bell, broadcast, bell], bells) == [broadcast]
    assert bells.wishes([KEY], 10) == [KEY] * 2


def test_alone_there_is_no_pause() -> None:
    """Nobody else was ever heard of: answer at once."""
    assert hearing()[0].pause(random.Random(1)) == 0.0


def test_losing_doubles_the_pause_up_to_its_most() -> None:
    """16, 32, 64 ms and no more; each is drawn below that, after a head start."""
    made, rng, most = hearing()[0], random.Random(1), []
    for _ in range(7):
        made.came_too_late()
        most.append(max(made.pause(rng) for _ in range(2000)))
    for found, spread in zip(most, (16, 32, 64, 64, 64, 64, 64), strict=True):
        drawn = (found - HEAD_START) * 1000
        assert spread * 0.99 < drawn <= spread
    assert HEAD_START == 0.008
    assert LEAST_SPREAD == 0.016
    assert MOST_SPREAD == 0.064


def test_a_foreign_pop_makes_a_small_pause() -> None:
    """Somebody else is there: leave the least spread, once and not growing."""
    made, bells, rng = hearing()[0], Bells(), random.Random(1)
    for _ in range(5):
        hear(made, bells, b"lpush", b"rpop", b"del")
    assert 0 < max(made.pause(rng) for _ in range(100)) <= HEAD_START + LEAST_SPREAD


def test_whoever_took_the_last_one_answers_at_once() -> None:
    """The others have a pause then, until it is their turn."""
    made, bells, rng = hearing()[0], Bells(), random.Random(1)
    made.came_too_late()
    assert made.pause(rng) >= HEAD_START
    made.came_in_time()
    assert made.pause(rng) == 0.0
    hear(made, bells, b"lpush", b"rpop", b"del")
    assert made.pause(rng) >= HEAD_START


def test_a_full_pool_comes_last() -> None:
    """Later than anybody who is as careful, even after it took the last message."""
    made, rng = hearing()[0], random.Random(1)
    made.came_in_time()
    assert made.pause(rng, full=True) >= HEAD_START + LEAST_SPREAD
    for _ in range(4):
        made.came_too_late()
        usual = max(made.pause(rng) for _ in range(2000))
        assert min(made.pause(rng, full=True) for _ in range(2000)) > usual


def test_success_makes_the_pause_shorter() -> None:
    """From the most to the least in 20 to 30 successes: nobody else may be there."""
    made, bells, rng = hearing()[0], Bells(), random.Random(1)
    for _ in range(7):
        made.came_too_late()
    for wins in (0, 30):
        for _ in range(wins):
            made.came_in_time()
        hear(made, bells, b"lpush", b"rpop", b"del")
        longest = max(made.pause(rng) for _ in range(2000)) - HEAD_START
        most = LEAST_SPREAD if wins else MOST_SPREAD
        assert most * 0.99 < longest <= most
