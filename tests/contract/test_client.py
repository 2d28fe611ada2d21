"""Connections on real servers: quiet, verified, and explained when they fail."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from smartworker.errors import BrokerRefused, BrokerUnreachable
from smartworker.store.client import (
    LOST,
    MeteredConnection,
    MeteredSSLConnection,
    RedisError,
    connect,
    connection_options,
    explain,
    metered,
)
from smartworker.store.meter import ledger
from smartworker.store.server import HOST, free_port
from smartworker.testing import commandstats
from tests import programs


def refusal(url: str, authority: Path | None = None) -> Exception:
    """What the first connection raises, explained."""
    with connect(url, authority) as client:
        try:
            client.ping()
        except (RedisError, OSError) as error:
            return explain(url, error)
    raise AssertionError(f"{url} can be reached")


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A second client."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.mark.every_server
def test_connecting_sends_nothing_by_itself(redis_url: str, observer: Any) -> None:
    """One connection, one SET: no HELLO, CLIENT or SELECT, and the ledger agrees."""
    observer.config_resetstat()
    ledger.drain()
    with connect(redis_url) as client:
        client.set("key", "value")
    assert commandstats(observer).keys() - {"info", "config|resetstat"} == {"set"}
    assert ledger.by_command() == {"set": 1}


@pytest.mark.every_server
def test_a_stock_client_would_send_three(redis_url: str, observer: Any) -> None:
    """What we switch off is really sent otherwise, so this test can fail."""
    observer.config_resetstat()
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value")
    stats = observer.info("commandstats")
    sent = {name.removeprefix("cmdstat_") for name in stats}
    assert any(name.startswith(("client|", "hello")) for name in sent), sent


@pytest.mark.every_server
def test_a_handshake_is_counted(redis_url: str, observer: Any) -> None:
    """A database other than 0 costs a SELECT, and the ledger knows it."""
    ledger.drain()
    with connect(redis_url.removesuffix("/0") + "/1") as client:
        client.get("key")
    assert ledger.by_command() == {"get": 1, "select": 1}


@pytest.mark.every_server
def test_a_pipeline_is_counted_command_by_command(
    redis_url: str, observer: Any
) -> None:
    """With MULTI and without: everything inside, and the frame."""
    observer.config_resetstat()
    ledger.drain()
    with connect(redis_url) as client:
        for transaction in (True, False):
            pipe = client.pipeline(transaction=transaction)
            pipe.set("a", 1).get("a").execute()
    assert ledger.by_command() == {"multi": 1, "exec": 1, "set": 2, "get": 2}
    stats = observer.info("commandstats")
    for name, count in ledger.by_command().items():
        assert stats[f"cmdstat_{name}"]["calls"] == count


def test_a_lost_command_is_not_repeated() -> None:
    """redis-py would retry ten times; a command without an answer is sent once."""
    received: list[bytes] = []

    def hang_up_after_each_command(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received.append(connection.recv(4096))

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=hang_up_after_each_command, args=(listener,))
        thread.start()
        ledger.drain()
        with connect(f"redis://{HOST}:{listener.getsockname()[1]}/0") as client:
            with pytest.raises(LOST):
                client.lpush("key", "1")
            with pytest.raises(LOST):
                client.pipeline(transaction=False).lpush("a", 1).lpush("b", 2).execute()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert [data.count(b"LPUSH") for data in received] == [1, 2]
    assert ledger.by_command() == {"lpush": 3}


def test_the_socket_is_kept_alive(redis_url: str) -> None:
    """TCP asks after 60 s of silence and gives up after 90; commands end in 5 s."""
    with connect(redis_url) as client:
        connection = client.connection_pool.get_connection()
        sock = connection._sock
        level = socket.IPPROTO_TCP
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(level, socket.TCP_KEEPIDLE) == 60
        assert sock.getsockopt(level, socket.TCP_KEEPCNT) == 3
        assert sock.getsockopt(level, socket.TCP_USER_TIMEOUT) == 90_000
        assert sock.gettimeout() == 5.0
        client.connection_pool.release(connection)


def test_only_known_connections_are_replaced() -> None:
    """A class of somebody else, or one that counts already, stays as it is."""
    assert metered(redis.Connection) is MeteredConnection
    assert metered(redis.SSLConnection) is MeteredSSLConnection
    assert metered(MeteredConnection) is MeteredConnection
    assert metered(dict) is dict


# -- sentences -------------------------------------------------------------------


def test_nobody_listens() -> None:
    """Refused port: unreachable, with host and port, without the password."""
    error = refusal(f"redis://:secret@{HOST}:{free_port()}/0")
    assert isinstance(error, BrokerUnreachable)
    assert f"Redis at {HOST}:" in str(error)
    assert "is it running, and is the port right?" in str(error)
    assert "secret" not in str(error)


def test_a_name_that_does_not_exist() -> None:
    """An unknown host: unreachable."""
    error = refusal("redis://no-such-host.invalid:6379/0")
    assert isinstance(error, BrokerUnreachable)
    assert "no-such-host.invalid:6379" in str(error)


@pytest.fixture
def locked(redis_url: str, observer: Any) -> Iterator[str]:
    """A server with a password, reached without one."""
    observer.config_set("requirepass", "the-password")
    yield redis_url
    observer.execute_command("AUTH", "the-password")
    observer.config_set("requirepass", "")


@pytest.mark.every_server
@pytest.mark.parametrize("login", ["", ":wrong-password@", "nobody:wrong-password@"])
def test_password_missing_or_wrong(locked: str, login: str) -> None:
    """NOAUTH and WRONGPASS: the same sentence, which names the variables."""
    error = refusal(locked.replace("redis://", f"redis://{login}"))
    assert isinstance(error, BrokerRefused)
    assert str(error).endswith(
        "refused the password: check user and password in REDIS_URL "
        "or UPSTASH_REDIS_PASSWORD."
    )
    assert "wrong-password" not in str(error)
    with connect(locked.replace("redis://", "redis://:the-password@")) as client:
        assert client.ping()


@pytest.mark.every_server
def test_a_password_for_a_server_without(redis_url: str) -> None:
    """A password where none is set: refused, not unreachable."""
    error = refusal(redis_url.replace("redis://", "redis://nobody:pw@"))
    assert isinstance(error, BrokerRefused)


@pytest.mark.every_server
def test_tls_to_a_plain_port(redis_url: str) -> None:
    """`rediss://` where nobody speaks TLS: the sentence asks about the scheme."""
    error = refusal(redis_url.replace("redis://", "rediss://"))
    assert isinstance(error, BrokerUnreachable)
    assert "does rediss:// or redis:// fit" in str(error)


# -- TLS -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate for 127.0.0.1 and localhost, a loner."""
    folder = tmp_path_factory.mktemp("tls")

    openssl = partial(programs.openssl, folder)
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", *key, "-subj", f"/CN=Test {name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )
    for name, names in (
        ("server", "IP:127.0.0.1,DNS:localhost"),
        ("other", "DNS:redis.example"),
    ):
        openssl(
            *("req", "-new", *key[:3], "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem"),
            *("-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
            *("-out", f"{name}.pem", "-extfile", f"{name}.ext"),
        )
    return folder


def speaks_tls(port: int) -> bool:
    """Whether somebody answers a handshake on this port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((HOST, port), timeout=5) as plain,
            context.wrap_socket(plain) as secure,
        ):
            secure.sendall(b"PING\r\n")
            return secure.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@pytest.fixture(scope="module", params=["server", "other"])
def tls(
    request: pytest.FixtureRequest, certificates: Path, redis_servers: Any
) -> Iterator[tuple[str, str]]:
    """(name of the certificate, URL) of a server that speaks TLS alone."""
    name, port = request.param, free_port()
    # The Valkey of the tests is built without TLS.
    program = redis_servers("redis")._binary
    process = subprocess.Popen(
        [
            *(program, "--bind", HOST, "--port", "0", "--tls-port", str(port)),
            *("--tls-cert-file", str(certificates / f"{name}.pem")),
            *("--tls-key-file", str(certificates / f"{name}.key")),
            *("--tls-ca-cert-file", str(certificates / "ca.pem")),
            *("--tls-auth-clients", "no", "--save", "", "--appendonly", "no"),
        ],
        cwd=certificates,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(500):
            if speaks_tls(port):
                yield name, f"rediss://{HOST}:{port}/0"
                return
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            break
        pytest.fail("redis-server does not speak TLS")
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_tls_with_the_own_authority(tls: tuple[str, str], certificates: Path) -> None:
    """Verified with the right name; refused in one sentence with another name."""
    name, url = tls
    if name == "server":
        ledger.drain()
        with connect(url, certificates / "ca.pem") as client:
            assert client.set("key", "value")
            connection = client.connection_pool.get_connection()
            assert isinstance(connection, MeteredSSLConnection)
            client.connection_pool.release(connection)
        assert ledger.by_command() == {"set": 1}
        return
    error = refusal(url, certificates / "ca.pem")
    assert isinstance(error, BrokerRefused)
    assert "IP address mismatch" in str(error)
    assert "check the host name in the URL" in str(error)


@pytest.mark.parametrize("authority", [None, "stranger.pem"])
def test_tls_without_the_right_authority(
    tls: tuple[str, str], certificates: Path, authority: str | None
) -> None:
    """Not signed by anybody we trust: refused, and the sentence says what to set."""
    _, url = tls
    error = refusal(url, certificates / authority if authority else None)
    assert isinstance(error, BrokerRefused)
    assert "certificate that cannot be verified" in str(error)
    assert "SMARTWORKER_TLS_CA" in str(error)


def test_plain_to_a_tls_port(tls: tuple[str, str], certificates: Path) -> None:
    """`redis://` where TLS is spoken: unreachable, and the scheme is asked about."""
    port = urlsplit(tls[1]).port
    error = refusal(f"redis://{HOST}:{port}/0")
    assert isinstance(error, BrokerUnreachable)
    assert "does rediss:// or redis:// fit" in str(error)
