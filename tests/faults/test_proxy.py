"""The fault proxy, held by a real server and real clients."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.faults.proxy import HOST, FaultProxy
from tests.faults.rules import Pieces, subscribed
from tests.faults.server import FaultServer

Connect = Callable[..., redis.Redis]


@pytest.fixture
def direct(redis_url: str) -> Iterator[redis.Redis]:
    """A client that goes around the proxy."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def proxy(direct: redis.Redis) -> Iterator[FaultProxy]:
    """A proxy in front of the server of all tests."""
    with FaultProxy(direct.connection_pool.connection_kwargs["port"]) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: FaultProxy) -> Iterator[Connect]:
    """Opens clients through the proxy, which never try twice."""
    opened: list[redis.Redis] = []

    def open_client(seconds: float = 0.5, **options: object) -> redis.Redis:
        client = redis.Redis(
            host=HOST,
            port=proxy.port,
            socket_timeout=seconds,
            retry=None,
            driver_info=None,
            protocol=2,
            **options,
        )
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


def test_it_passes_and_counts(proxy: FaultProxy, connect: Connect) -> None:
    """Everything arrives unchanged, and the counters tell what it was."""
    first, second = connect(), connect()
    big = bytes(range(256)) * 20_000
    assert first.set("big", big)
    assert second.get("big") == big
    pipe = first.pipeline()
    pipe.lpush("list", *range(50)).lrange("list", 0, -1).execute()
    assert second.execute_command("PING") is True
    assert proxy.counters.connections == 2
    wanted = {"SET": 1, "GET": 1, "MULTI": 1, "LPUSH": 1, "LRANGE": 1, "EXEC": 1}
    assert wanted.items() <= proxy.counters.commands.items()
    assert all(count > len(big) for count in proxy.counters.bytes.values())
    assert proxy.connections == 2


def test_it_knows_what_was_not_asked_for(proxy: FaultProxy, connect: Connect) -> None:
    """Messages of a subscription are no replies: a later trap finds the right one."""
    with connect().pubsub() as hearing:
        hearing.subscribe("a", "b", "c")
        for _ in range(3):
            assert hearing.get_message(timeout=1)["type"] == "subscribe"
        proxy.answer("-ERR not now", "PING")
        connect().publish("b", "ding")
        assert hearing.get_message(timeout=1)["data"] == b"ding"
        hearing.ping()
        with pytest.raises(redis.ResponseError, match="not now"):
            hearing.get_message(timeout=1)


@pytest.mark.parametrize(("way", "written"), [("up", None), ("down", b"2")])
def test_a_swallowed_direction_is_half_open(
    proxy: FaultProxy,
    connect: Connect,
    direct: redis.Redis,
    way: str,
    written: bytes | None,
) -> None:
    """The client waits in vain on an open connection; `down` alone lets it write."""
    client = connect()
    client.set("other", 1)
    fault = proxy.line(swallow=(way,))
    with pytest.raises(redis.TimeoutError):
        client.set("key", 2)
    assert direct.get("key") == written
    proxy.end(fault)
    assert client.get("other") == b"1"  # on a new connection
    assert proxy.counters.connections == 2


def test_what_was_swallowed_never_comes(proxy: FaultProxy) -> None:
    """Bytes after a gap would fit nothing: the direction stays silent for good."""
    with socket.create_connection((HOST, proxy.port), timeout=0.3) as raw:
        raw.sendall(b"PING\r\n")
        assert raw.recv(64) == b"+PONG\r\n"
        fault = proxy.line(swallow=("down",))
        raw.sendall(b"PING\r\n")
        proxy.wait_for(lambda: proxy.counters.commands["PING"] == 2)
        with pytest.raises(TimeoutError):
            raw.recv(64)
        proxy.end(fault)
        raw.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            raw.recv(64)


def test_what_was_held_comes_later(
    proxy: FaultProxy, connect: Connect, direct: redis.Redis
) -> None:
    """As after lost packets: the command waits, and runs when the fault is over."""
    client = connect(5)
    client.ping()
    fault = proxy.line(hold=("up", "down"))
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(client.incr("key")))
    waiting.start()
    proxy.wait_for(lambda: proxy.counters.commands["INCRBY"])
    assert direct.get("key") is None
    proxy.end(fault)
    waiting.join(5)
    assert answers == [1]
    assert proxy.counters.connections == 1


def test_faults_may_be_for_some(proxy: FaultProxy, connect: Connect) -> None:
    """Half-open for whoever has subscribed, and for the first connection."""
    first, second = connect(), connect()
    first.ping()
    second.ping()
    proxy.line(subscribed, swallow=("down",))
    with second.pubsub() as hearing:
        hearing.subscribe("a")
        assert hearing.get_message(timeout=0.2) is None
    assert first.ping()
    proxy.clear()
    proxy.line(lambda link: link.number == 1, swallow=("down",))
    with pytest.raises(redis.TimeoutError):
        first.ping()
    assert second.ping()


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("silent", redis.TimeoutError),
        ("close", redis.ConnectionError),
        ("reset", redis.ConnectionError),
    ],
)
def test_a_lost_reply_has_done_its_work(
    proxy: FaultProxy,
    connect: Connect,
    direct: redis.Redis,
    then: str,
    error: type[Exception],
) -> None:
    """The move happened, its reply is lost, once; the next connection works."""
    direct.rpush("from", "a", "b")
    trap = proxy.trap("LMOVE", then=then)
    client = connect()
    pipe = client.pipeline(transaction=False)
    pipe.get("x").lmove("from", "to").get("y")
    with pytest.raises(error):
        pipe.execute()
    assert direct.lrange("to", 0, -1) == [b"a"]
    assert client.lmove("from", "to") == b"b"
    assert trap.caught == 1


def test_replies_are_lost_n_times(proxy: FaultProxy, connect: Connect) -> None:
    """A trap springs as often as it should, on whatever connection."""
    trap = proxy.trap("INCRBY", times=2)
    for _ in range(2):
        with pytest.raises(redis.TimeoutError):
            connect(0.2).incr("key")
    assert connect().incr("key") == 3
    assert trap.caught == 2


def test_a_lost_request_has_done_nothing(
    proxy: FaultProxy, connect: Connect, direct: redis.Redis
) -> None:
    """The command never reaches the server."""
    proxy.trap("INCRBY", lose="request", then="close")
    client = connect()
    with pytest.raises(redis.ConnectionError):
        client.incr("key")
    assert direct.get("key") is None
    assert client.incr("key") == 1


def test_idle_connections_are_closed(proxy: FaultProxy, connect: Connect) -> None:
    """Only those on which nothing passes."""
    idle, busy = connect(), connect()
    idle.ping()
    busy.ping()
    proxy.line(idle=0.5)
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        assert busy.ping()
        time.sleep(0.02)
    assert proxy.connections == 1
    assert idle.ping()
    assert busy.ping()
    assert proxy.counters.connections == 3


@pytest.mark.parametrize("reset", [False, True])
def test_connections_are_closed_now(proxy: FaultProxy, reset: bool) -> None:
    """By FIN the client reads the end, by RST an error."""
    with socket.create_connection((HOST, proxy.port), timeout=2) as raw:
        raw.sendall(b"PING\r\n")
        assert raw.recv(64)
        assert proxy.close(reset=reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                raw.recv(64)
        else:
            assert raw.recv(64) == b""
    assert proxy.connections == 0


def test_new_connections_are_refused(proxy: FaultProxy, connect: Connect) -> None:
    """The old ones go on; later the same port accepts again."""
    old = connect()
    old.ping()
    proxy.refuse()
    with pytest.raises(redis.ConnectionError, match="refused"):
        connect().ping()
    assert old.ping()
    proxy.accept()
    assert connect().ping()


def test_latency_holds_up_nobody_else(proxy: FaultProxy, connect: Connect) -> None:
    """Both directions are late by their own figure; another connection is not."""
    slow, quick = connect(5), connect(5)
    slow.ping()
    quick.ping()
    proxy.line(lambda link: link.number == 1, up_delay=0.2, down_delay=0.4)
    waiting = threading.Thread(target=slow.ping)
    begun = time.monotonic()
    waiting.start()
    proxy.wait_for(lambda: proxy.counters.commands["PING"] == 3)
    for _ in range(20):
        quick.ping()
    assert time.monotonic() - begun < 0.4
    waiting.join(5)
    assert 0.6 <= time.monotonic() - begun < 0.9
    pipe = slow.pipeline(transaction=False)
    for _ in range(50):
        pipe.ping()
    begun = time.monotonic()
    pipe.execute()
    assert 0.6 <= time.monotonic() - begun < 0.9  # latency, no throughput


def test_a_throttle_is_so_many_bytes_a_second(
    proxy: FaultProxy, connect: Connect, direct: redis.Redis
) -> None:
    """5 kB at 10 kB/s take half a second."""
    direct.set("key", bytes(5_000))
    client = connect(5)
    client.ping()
    proxy.line(rate=10_000)
    begun = time.monotonic()
    assert len(client.get("key")) == 5_000
    assert 0.5 <= time.monotonic() - begun < 0.9


def test_segmented_writes_arrive_in_pieces(proxy: FaultProxy) -> None:
    """Small random pieces, and everything in order."""
    proxy.line(pieces=Pieces(most=5, pause=0.002))
    with socket.create_connection((HOST, proxy.port), timeout=2) as raw:
        raw.sendall(b"*2\r\n$4\r\nECHO\r\n$26\r\nabcdefghijklmnopqrstuvwxyz\r\n")
        pieces = [raw.recv(64)]
        while not pieces[-1].endswith(b"\r\n") or len(pieces) < 2:
            pieces.append(raw.recv(64))
    assert b"".join(pieces) == b"$26\r\nabcdefghijklmnopqrstuvwxyz\r\n"
    assert max(map(len, pieces)) <= 15  # a slow reader sees some pieces together
    assert len(pieces) >= 3


def test_clients_live_with_segmented_writes(
    proxy: FaultProxy, connect: Connect
) -> None:
    """A third of all writes in pieces: redis-py puts them together again."""
    proxy.line(pieces=Pieces(share=0.3))
    client = connect(5)
    pipe = client.pipeline(transaction=False)
    for number in range(100):
        pipe.set(f"key{number}", number)
    assert all(pipe.execute())
    assert client.mget(f"key{n}" for n in range(100)) == [b"%d" % n for n in range(100)]


def test_answers_keep_their_place(
    proxy: FaultProxy, connect: Connect, direct: redis.Redis
) -> None:
    """In a pipeline the answer comes where its command stood, which never arrived."""
    proxy.answer("-ERR max requests limit exceeded", "LMOVE")
    direct.rpush("from", "a")
    pipe = connect().pipeline(transaction=False)
    pipe.set("x", 1).lmove("from", "to").get("x").lmove("from", "to").incr("x")
    first, refused, second, again, third = pipe.execute(raise_on_error=False)
    assert (first, second, third) == (True, b"1", 2)
    assert "max requests limit exceeded" in str(refused)
    assert "max requests limit exceeded" in str(again)
    assert direct.lrange("from", 0, -1) == [b"a"]
    assert proxy.counters.commands["LMOVE"] == 2


def test_every_command_may_be_answered(proxy: FaultProxy, connect: Connect) -> None:
    """Nothing reaches the server until the fault is over."""
    client = connect()
    client.ping()
    proxy.answer("-LOADING Redis is loading the dataset in memory")
    before = proxy.counters.bytes["up"]
    for _ in range(3):
        with pytest.raises(redis.BusyLoadingError):
            client.incr("key")
    assert proxy.counters.bytes["up"] == before
    proxy.clear()
    assert client.incr("key") == 1


def test_answers_come_so_many_times(proxy: FaultProxy, connect: Connect) -> None:
    """Two tries again later, and then it works."""
    proxy.answer("-TRYAGAIN later", "INCRBY", times=2)
    client = connect()
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match="later"):
            client.incr("key")
    assert client.incr("key") == 1


def test_a_server_that_ends_is_an_end(proxy_of_own: FaultProxy) -> None:
    """What the server does to its connections, the proxy does to ours."""
    proxy = proxy_of_own
    with socket.create_connection((HOST, proxy.port), timeout=2) as raw:
        raw.sendall(b"PING\r\n")
        assert raw.recv(64)
        raw.sendall(b"SHUTDOWN NOSAVE\r\n")
        assert raw.recv(64) == b""
    with socket.create_connection((HOST, proxy.port), timeout=2) as raw:
        assert raw.recv(64) == b""  # nobody there to connect to


def test_it_leaves_nothing_behind(direct: redis.Redis) -> None:
    """No thread, no socket, and no connection at the server."""
    port = direct.connection_pool.connection_kwargs["port"]
    before = len(direct.client_list())
    threads = threading.active_count()
    with FaultProxy(port) as proxy:
        proxy.line(swallow=("up", "down"), down_delay=60)
        raws = [socket.create_connection((HOST, proxy.port)) for _ in range(20)]
        for raw in raws:
            raw.sendall(b"PING\r\n")
        proxy.wait_for(lambda: proxy.counters.commands["PING"] == 20)
        for raw in raws[:10]:
            raw.close()
    for raw in raws:
        raw.close()
    # Fewer: what an earlier test left has gone meanwhile.
    assert threading.active_count() <= threads
    assert len(direct.client_list()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, proxy.port))


@pytest.fixture
def proxy_of_own() -> Iterator[FaultProxy]:
    """A proxy in front of a server that may be shut down."""
    with FaultServer() as server, FaultProxy(server.port) as proxy:
        yield proxy


def test_the_server_is_killed_and_comes_back(tmp_path: object) -> None:
    """On its port; with a directory nothing is lost, paused it is silent."""
    with FaultServer(tmp_path, options=["--appendfsync", "always"]) as server:
        client = redis.Redis(port=server.port, socket_timeout=0.3, retry=None)
        with client:
            client.set("key", "value")
            server.kill()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            server.restart()
            assert client.get("key") == b"value"
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
            server.pause()
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.resume()
            assert client.ping()
            server.pause()  # and it can be stopped even so
    assert server.status is None
