"""A Celery app over TLS: the broker's certificate and the results' are verified."""

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states

import smartworker
from smartworker.errors import BrokerRefused, SettingsError
from smartworker.settings import Settings
from smartworker.store.client import MeteredSSLConnection, RedisError
from smartworker.store.server import HOST, free_port
from smartworker.worker.program import check_broker
from tests import programs

AppOf = Callable[..., Any]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of our own and a server's certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")

    openssl = partial(programs.openssl, folder)
    key = ["-newkey", "rsa:2048", "-nodes"]
    openssl(
        *("req", "-x509", *key, "-days", "2", "-subj", "/CN=Test authority"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )
    openssl(
        *("req", "-new", *key, "-subj", "/CN=server"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-days", "2", "-out", "server.pem"),
        *("-extfile", "server.ext"),
    )
    return folder


@pytest.fixture(scope="module")
def url(certificates: Path, redis_servers: Any) -> Iterator[str]:
    """A server that speaks TLS alone; the Valkey of the tests cannot."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(redis_servers("redis")._binary, "--bind", HOST, "--port", "0"),
            *("--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(certificates / "server.pem")),
            *("--tls-key-file", str(certificates / "server.key")),
            *("--tls-ca-cert-file", str(certificates / "ca.pem")),
            *("--save", "", "--appendonly", "no"),
        ],
        cwd=certificates,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            if speaks_tls(port):
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        yield f"rediss://{HOST}:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def speaks_tls(port: int) -> bool:
    """Whether somebody answers a handshake on this port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((HOST, port), timeout=5) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:
        return False


@pytest.fixture
def app_of() -> Iterator[AppOf]:
    """Makes apps with these settings; closed at the end."""
    made: list[Any] = []

    def make(**settings: Any) -> Any:
        app = Celery(f"tls{len(made)}", set_as_current=False)
        made.append(app)
        return smartworker.setup(app, Settings(**settings))

    yield make
    for app in made:
        app.close()


def publish(app: Any) -> None:
    """One message by the way that `.delay()` takes."""
    with app.connection_for_write() as connection:
        connection.SimpleQueue("celery").put({"number": 1})


def use_results(app: Any) -> Any:
    """Store a result and read it back, over the same kind of connection."""
    backend = app.backend
    try:
        backend.store_result("an-id", 42, states.SUCCESS)
        pool = backend.client.connection_pool
        assert issubclass(pool.connection_class, MeteredSSLConnection)
        assert pool.connection_kwargs["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert pool.connection_kwargs["ssl_check_hostname"] is True
        return backend.get_result("an-id")
    finally:
        backend.client.connection_pool.disconnect()


def impatient(app: Any) -> Any:
    """Results are tried once: a refused certificate is refused next time too."""
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    return app


def late(app: Any, url: str) -> Any:
    """The URL comes after the configuration was read."""
    assert not app.conf.broker_url
    app.conf.broker_url = app.conf.result_backend = url
    return app


def test_the_own_authority_is_trusted(
    app_of: AppOf, url: str, certificates: Path
) -> None:
    """SMARTWORKER_TLS_CA serves the broker and the results alike."""
    app = app_of(redis_url=url, tls_ca=certificates / "ca.pem")
    check_broker(app)
    publish(app)
    assert use_results(app) == 42


def test_without_the_authority_the_broker_is_refused(app_of: AppOf, url: str) -> None:
    """Nobody we know signed it: one sentence, which says what to set."""
    with pytest.raises(BrokerRefused) as caught:
        check_broker(app_of(redis_url=url))
    assert f"Redis at {url.removeprefix('rediss://').removesuffix('/0')}" in str(
        caught.value
    )
    assert "certificate that cannot be verified" in str(caught.value)
    assert "SMARTWORKER_TLS_CA" in str(caught.value)


def test_without_the_authority_nothing_is_sent(app_of: AppOf, url: str) -> None:
    """Neither a message nor a result leaves towards a server nobody knows."""
    app = impatient(app_of(redis_url=url))
    with pytest.raises(RedisError, match="certificate verify failed"):
        app.backend.client.ping()
    with (
        app.connection_for_write() as connection,
        pytest.raises(connection.connection_errors, match="certificate verify failed"),
    ):
        connection.channel().client.ping()


def test_a_late_url_is_verified(app_of: AppOf, url: str) -> None:
    """`app.conf.broker_url = "rediss://..."` once all was read: checked as well."""
    app = late(app_of(), url)
    with pytest.raises(BrokerRefused, match="certificate that cannot be verified"):
        check_broker(app)
    with pytest.raises(RedisError, match="certificate verify failed"):
        app.backend.client.ping()


def test_a_late_url_finds_the_authority(
    app_of: AppOf, url: str, certificates: Path
) -> None:
    """With SMARTWORKER_TLS_CA the late URL works, messages and results."""
    app = late(app_of(tls_ca=certificates / "ca.pem"), url)
    check_broker(app)
    publish(app)
    assert use_results(app) == 42


@pytest.mark.parametrize("asked", ["none", "optional"])
def test_a_url_cannot_switch_it_off(app_of: AppOf, url: str, asked: str) -> None:
    """`?ssl_cert_reqs=none` in a copied URL is refused, and verified all the same."""
    app = late(app_of(), f"{url}?ssl_cert_reqs={asked}")
    with pytest.raises(SettingsError, match="SMARTWORKER_TLS_VERIFY=off"):
        check_broker(app)
    with (
        app.connection_for_write() as connection,
        pytest.raises(connection.connection_errors, match="certificate verify failed"),
    ):
        connection.channel().client.ping()


def test_a_setting_switches_it_off(app_of: AppOf, url: str) -> None:
    """SMARTWORKER_TLS_VERIFY=off: whoever it is, it is spoken to."""
    app = app_of(redis_url=f"{url}?ssl_cert_reqs=none", tls_verify=False)
    check_broker(app)
    publish(app)
    app.backend.client.ping()
    app.backend.client.connection_pool.disconnect()
