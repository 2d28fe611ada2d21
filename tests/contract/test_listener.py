"""The listener on real servers: what it hears, what it costs, and how it ends."""

import socket
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from smartworker.store.client import LOST, connect, connection_options
from smartworker.store.listener import Listener
from smartworker.store.meter import ledger
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

#: Commands of the observer, and what connecting costs.
UNCOUNTED = {"info", "config|resetstat", "publish", "client|list", "client|kill"}


@pytest.fixture
def foreign(redis_url: str) -> Iterator[Any]:
    """A stock client."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        client.ping()
        client.config_resetstat()
        yield client


class Heard:
    """A listener, and all that it has told."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.messages: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self.losses: SimpleQueue[bool] = SimpleQueue()
        self.listener = Listener(
            lambda: self.client,
            lambda channel, data: self.messages.put((channel, data)),
            lambda: self.losses.put(self.listener.listening),
            name="heard",
        )

    def next(self) -> tuple[str, bytes]:
        """The next message."""
        return self.messages.get(timeout=5)


@pytest.fixture
def heard(redis_url: str, foreign: Any) -> Iterator[Heard]:
    """A listener that hangs up at the end."""
    made = Heard(redis_url)
    yield made
    made.listener.close()
    made.client.close()


def subscribers(client: Any) -> list[Any]:
    """The connections that hold a subscription."""
    return [row for row in client.client_list() if int(row["sub"])]


def counted(client: Any) -> dict[str, int]:
    """What the server has counted, without what the tests sent."""
    stats = commandstats(client)
    return {name: calls for name, calls in stats.items() if name not in UNCOUNTED}


def until(condition: Callable[[], Any]) -> None:
    """Until it is true."""
    end = monotonic() + 5
    while not condition():
        assert monotonic() < end, "it never became true"
        sleep(0.002)


def threads() -> int:
    """How many listeners have a thread."""
    return sum(thread.name == "heard" for thread in threading.enumerate())


def test_a_message_is_heard(heard: Heard, foreign: Any) -> None:
    """Confirmed when `add` returns: what is published at once after it comes."""
    assert not heard.listener.listening
    heard.listener.add("a", "b")
    assert heard.listener.listening
    foreign.publish("b", b"\xff\x00")
    foreign.publish("c", "not ours")
    foreign.publish("a", "2")
    assert [heard.next(), heard.next()] == [("b", b"\xff\x00"), ("a", b"2")]


def test_adding_is_one_command_and_closing_none(heard: Heard, foreign: Any) -> None:
    """Channels that are heard already are not asked for again."""
    ledger.drain()
    heard.listener.add("a", "b", "c")
    heard.listener.add("b")
    heard.listener.add("c", "d")
    foreign.publish("d", "1")
    assert heard.next() == ("d", b"1")
    heard.listener.close()
    until(lambda: not subscribers(foreign))
    assert counted(foreign) == {"subscribe": 2}
    assert ledger.by_cause() == {"wait": {"subscribe": 2}}


def test_hundred_adders_share_one_connection(heard: Heard, foreign: Any) -> None:
    """From many threads at once, while messages come in."""

    def add(number: int) -> None:
        heard.listener.add(f"channel-{number}")
        foreign.publish(f"channel-{number}", number)

    adders = [threading.Thread(target=add, args=(number,)) for number in range(100)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join(10)
    assert {heard.next()[0] for _ in adders} == {f"channel-{n}" for n in range(100)}
    assert len(subscribers(foreign)) == 1
    assert threads() == 1


def test_a_lost_connection_is_told_once_and_add_begins_anew(
    heard: Heard, foreign: Any
) -> None:
    """After CLIENT KILL; it does not try by itself."""
    heard.listener.add("a")
    (row,) = subscribers(foreign)
    foreign.client_kill_filter(_id=row["id"])
    assert heard.losses.get(timeout=5) is False
    until(lambda: threads() == 0)
    assert subscribers(foreign) == []
    assert heard.losses.empty()
    heard.listener.add("a", "b")
    foreign.publish("a", "again")
    assert heard.next() == ("a", b"again")


def test_closing_is_no_loss(heard: Heard, foreign: Any) -> None:
    """The thread ends without a word, and the listener may be used again."""
    heard.listener.add("a")
    heard.listener.close()
    heard.listener.close()
    until(lambda: threads() == 0)
    assert heard.losses.empty()
    heard.listener.add("a")
    assert len(subscribers(foreign)) == 1


def test_a_server_that_is_away_is_an_error(heard: Heard) -> None:
    """Of redis-py, at once; nobody is told of a loss who never had anything."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    heard.client = connect(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(LOST):
        heard.listener.add("a")
    until(lambda: threads() == 0)
    assert heard.losses.empty()


def test_a_server_that_is_silent_is_an_error_in_time(heard: Heard) -> None:
    """It takes the connection and confirms nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        heard.client = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        begun = monotonic()
        with pytest.raises(LOST, match="not confirmed after"):
            heard.listener.add("a", timeout=0.2)
        assert monotonic() - begun < 2
        until(lambda: threads() == 0)
    assert not heard.listener.listening


def test_one_that_is_too_late_does_not_leave_others_deaf(
    heard: Heard, foreign: Any
) -> None:
    """A connection that confirms nothing any more is given up, and that is told."""
    heard.listener.add("a")
    foreign.execute_command("CLIENT", "PAUSE", "1000")
    with pytest.raises(LOST):
        heard.listener.add("b", timeout=0.1)
    assert heard.losses.get(timeout=5) is False


def test_a_callback_that_fails_is_a_loss(heard: Heard, foreign: Any) -> None:
    """Whoever listens can begin again instead of hearing nothing for ever."""

    def fail(_channel: str, _data: bytes) -> None:
        raise ValueError("a bug")

    lost = threading.Event()
    listener = Listener(lambda: heard.client, fail, lost.set, name="heard")
    listener.add("a")
    foreign.publish("a", "1")
    assert lost.wait(5)
    until(lambda: threads() == 0)


def test_being_idle_costs_nothing(heard: Heard, foreign: Any) -> None:
    """No health check, no PING, though redis-py is told to want them."""
    heard.client.connection_pool.connection_kwargs["health_check_interval"] = 0.01
    heard.listener.add("a")
    sleep(0.1)
    for number in range(3):
        foreign.publish("a", number)
        assert heard.next()[1] == str(number).encode()
        sleep(0.03)
    assert counted(foreign) == {"subscribe": 1}
