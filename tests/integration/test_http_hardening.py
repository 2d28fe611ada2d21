"""Hostile and broken clients over real sockets: what they get, and what it costs."""

import base64
import gzip
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from time import monotonic
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import httpx
import pytest
import redis as redis_py
from pydantic import AwareDatetime, Field
from redis import Redis
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from smartworker.cron.registry import Jobs
from smartworker.web import problems
from smartworker.web.bodies import read_body
from smartworker.web.limits import FAILURES_OF_ONE, UNKNOWN_IDS_OF_ONE
from smartworker.web.serve import build, listen
from tests.integration.site import BEARER, OWN, TOKEN, Site, commands, problem

CLEAN = "/api/cron/clean-up"
BOOK = "/api/cron/book"
ADMIN = "d" * 40
SECRET = "whsec_" + base64.b64encode(b"5" * 32).decode()


def declared() -> Jobs:
    """A job without parameters and one with."""
    jobs = Jobs()
    jobs.declare("clean-up", "tasks.clean")
    jobs.declare(
        "book",
        "tasks.book",
        parameters={
            "lane": int,
            "countdown": Annotated[float, Field(ge=0, le=3600)] | None,
            "eta": AwareDatetime | None,
        },
    )
    return jobs


def started(url: str) -> Site:
    """A web process with every kind of credential."""
    return Site(url, declared, admin_token=ADMIN, webhook_secrets=(f"book:{SECRET}",))


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """The server, looked at from outside."""
    with redis_py.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    """A web process with every kind of credential."""
    with started(redis_url) as site:
        yield site


@pytest.fixture(scope="module")
def shared(redis_servers: Any) -> Iterator[Site]:
    """One more, for tests with a right token: wrong ones would use up its patience."""
    with started(redis_servers("valkey").url) as site:
        yield site


@pytest.fixture
def free(redis: Redis) -> Iterator[None]:
    """Holds that a test cost no Redis command."""
    redis.config_resetstat()
    yield
    assert commands(redis) == 0


def raw(port: int, *parts: bytes, timeout: float = 10) -> bytes:
    """What the server answers to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as client:
        for part in parts:
            client.sendall(part)
        return drained(client)


def drained(client: socket.socket) -> bytes:
    """Everything that comes until the server closes the connection."""
    answer = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(65_536):
            answer += chunk
    return answer


def head(path: str = CLEAN, *lines: bytes, method: bytes = b"POST") -> bytes:
    """The head of a request with a right token; the connection is closed after it."""
    return b"\r\n".join(
        (
            method + b" " + path.encode("ascii") + b" HTTP/1.1",
            b"Host: x",
            b"Connection: close",
            b"Authorization: Bearer " + TOKEN.encode(),
            *lines,
            b"",
            b"",
        )
    )


def status(answer: bytes) -> int:
    """The status of the first answer."""
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Token {TOKEN}",
    ],
)
def test_a_wrong_token_is_refused(site: Site, header: str | None) -> None:
    """All of them with the same answer."""
    headers = {} if header is None else {"Authorization": header}
    answer = problem(site.client.post(CLEAN, headers=headers), 401)
    assert "carries no token that is valid" in answer["detail"]


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        ([b"Authorization: Bearer t\xc3\xb6k\xc3\xabn"], {401}),
        ([b"Authorization: Bearer \xff\xfe"], {401}),
        ([b"Authorization: Bearer " + b"x" * 1_000_000], {400, 431}),
        ([b"Authorization: Bearer \x00"], {400}),
        ([b"Authorization: Bearer a\rb"], {400}),
        ([b"Authorization: Bearer " + TOKEN.encode()] * 2, {401}),
        ([b"Authorization : Bearer " + TOKEN.encode()], {400}),
    ],
)
def test_malformed_tokens_are_no_500(
    site: Site, lines: list[bytes], statuses: set[int]
) -> None:
    """Non-ASCII, far too long, NUL, and two at once."""
    bare = [b"POST " + CLEAN.encode() + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    answer = raw(site.port, b"\r\n".join([*bare, *lines, b"", b""]))
    assert status(answer) in statuses


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("name", ["token", "access_token", "anything"])
def test_a_token_in_the_address_is_refused(site: Site, name: str) -> None:
    """Even a right one: addresses end up in logs."""
    problem(site.client.post(CLEAN, params={name: TOKEN}), 400)
    problem(site.post(CLEAN, params={name: ADMIN}), 400)


@pytest.mark.usefixtures("free")
def test_a_token_as_a_name_in_the_address_is_refused(site: Site) -> None:
    """The answer does not repeat it, and neither does the log."""
    response = site.post(f"{CLEAN}?{TOKEN}=1")
    assert TOKEN not in problem(response, 400)["detail"]


def test_roles_are_told_apart(site: Site) -> None:
    """A token of another job is 401 on a trigger; none but the admin's manages."""
    own = {"Authorization": f"Bearer {OWN}"}
    problem(site.client.post(BOOK, headers=own), 401)
    problem(site.client.post("/api/jobs/clean-up/pause", headers=own), 403)
    problem(site.post("/api/jobs/clean-up/pause"), 403)
    problem(site.client.post("/api/jobs/clean-up/pause"), 401)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "name",
    [
        "unknown",
        "..%2Fclean-up",
        "%2e%2e",
        "clean%2Dup%00",
        "clean-up%0d%0aX-Evil:%201",
        "%F0%9F%8F%8A",
        "cle%D0%B0n-up",
        "%1b%5B2J",
        "%ff%fe",
        "x" * 10_000,
    ],
)
def test_an_unknown_job_is_404(shared: Site, name: str) -> None:
    """Whatever the name tries; nothing of it comes back in a header."""
    answer = raw(shared.port, head(f"/api/cron/{name}"))
    assert status(answer) == 404
    assert b"evil" not in answer.partition(b"\r\n\r\n")[0].lower()
    assert b"Traceback" not in answer


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "TRACE", "PATCH", "OPTIONS"]
)
def test_only_post_triggers(shared: Site, method: str) -> None:
    """And the answer says so."""
    answer = shared.client.request(method, CLEAN, headers=BEARER)
    assert problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"\xff",
        b"[" * 60_000,
        b'{"lane": ' + b"9" * 5000 + b"}",
        b'{"lane": NaN}',
        b'{"lane": Infinity}',
        b'{"lane": 1e400}',
        b'{"lane": 1, "lane": 1}',
        b'{"lane": "\\ud800"}',
    ],
)
def test_broken_json_is_400(shared: Site, body: bytes) -> None:
    """Bombs of depth and digits among it."""
    kind = {"Content-Type": "application/json"}
    problem(shared.post(BOOK, content=body, headers=kind), 400)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "lane"),
        ({"lane": "1"}, "lane"),
        ({"lane": 1, "colour": "red"}, "colour"),
        ({"lane": 1, "countdown": -1}, "countdown"),
        ({"lane": 1, "countdown": 1e308}, "countdown"),
        ({"lane": 1, "eta": "0001-01-01T00:00:00Z"}, "eta"),
        ({"lane": 1, "eta": "9999-12-31T00:00:00Z"}, "eta"),
        ({"lane": 1, "eta": "2026-11-22T12:00:00"}, "eta"),
    ],
)
def test_wrong_parameters_are_422(
    shared: Site, body: dict[str, Any], field: str
) -> None:
    """With the field that is wrong."""
    answer = problem(shared.post(BOOK, json=body), 422)
    assert [each["field"] for each in answer["errors"]] == [field]


@pytest.mark.usefixtures("free")
def test_bodies_of_another_kind_are_refused(shared: Site) -> None:
    """Too large, compressed, or a form."""
    kind = {"Content-Type": "application/json"}
    large = b'{"lane": %s1}' % (b" " * 66_000)
    problem(shared.post(BOOK, content=large, headers=kind), 413)
    packed = gzip.compress(b" " * 10_000_000)
    assert len(packed) < 64 * 1024
    bomb = kind | {"Content-Encoding": "gzip"}
    problem(shared.post(BOOK, content=packed, headers=bomb), 415)
    problem(shared.post(BOOK, data={"lane": "1"}), 415)
    problem(
        shared.post(BOOK, content=b"{}", headers={"Content-Type": "text/plain"}), 415
    )


def test_an_empty_form_triggers(site: Site) -> None:
    """That is what many cron services send."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.post(CLEAN, headers=form).status_code == 202


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("lines", "body", "expected"),
    [
        ([b"Content-Length: -1"], b"", 400),
        ([b"Content-Length: x"], b"", 400),
        ([b"Content-Length: 2", b"Content-Length: 3"], b"{}", 400),
        ([b"Content-Length: 99999999999999999999999"], b"", 400),
        ([b"Content-Length: 2", b"Transfer-Encoding: chunked"], b"0\r\n\r\n", 400),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], b"0\r\n\r\n", 400),
        ([b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n", 400),
        ([b"Transfer-Encoding: chunked"], b"zz\r\n", 400),
        ([b"Host: y"], b"", 400),
        ([b"X-A: 1\r\n folded", b"X-B : 1"], b"", 400),
    ],
)
def test_lengths_that_contradict_are_refused(
    shared: Site, lines: list[bytes], body: bytes, expected: int
) -> None:
    """A proxy in front could see the end of the request elsewhere."""
    answer = raw(shared.port, head(CLEAN, *lines), body)
    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.usefixtures("free")
def test_a_body_without_an_end_is_given_up(shared: Site) -> None:
    """What counts is what was read; the answer comes in spite of it."""
    kind = b"Content-Type: application/json"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    start = head(BOOK, b"Transfer-Encoding: chunked", kind)
    with socket.create_connection(("127.0.0.1", shared.port), 10) as client:
        client.sendall(start)
        sent = 0
        with suppress(OSError):
            for _ in range(200):
                client.sendall(chunk)
                sent += len(chunk)
        answer = drained(client)
    assert status(answer) == 413
    assert sent < 12_000_000


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://evil.example/livez", 404),
        ("http://127.0.0.1/api/cron/clean-up", 404),
        ("//evil.example/livez", 404),
        ("*", 404),
        ("/livez?x=http://evil.example", 200),
    ],
)
def test_foreign_hosts_are_harmless(shared: Site, target: str, expected: int) -> None:
    """No answer repeats a host, neither the one of the target nor the header's."""
    start = head(target, b"X-Forwarded-Host: evil.example", method=b"GET")
    answer = raw(shared.port, start.replace(b"Host: x", b"Host: evil.example"))
    assert status(answer) == expected
    assert b"evil" not in answer


@pytest.mark.usefixtures("free")
def test_the_server_does_not_tell_its_version(shared: Site) -> None:
    """Neither name nor number, also where uvicorn answers itself."""
    for answer in (
        raw(shared.port, head("/livez", method=b"GET")),
        raw(shared.port, b"\n\n x"),
    ):
        assert b"\r\nserver:" not in answer.lower()
        assert b"uvicorn" not in answer.lower()


def test_a_client_that_goes_away_queues_nothing(site: Site, redis: Redis) -> None:
    """Nothing is sent before the body is complete."""
    redis.config_resetstat()
    kind = b"Content-Type: application/json"
    with socket.create_connection(("127.0.0.1", site.port), 10) as client:
        client.sendall(head(BOOK, b"Content-Length: 100", kind) + b'{"lane": 1')
    assert site.get("/livez").status_code == 200
    assert redis.llen("celery") == 0
    assert commands(redis) == 1  # the LLEN of the line above


def signed(body: bytes, key: str = "msg_1") -> dict[str, str]:
    """The headers of a webhook at this moment."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(key, now, body.decode()),
    }


def test_a_signed_call_triggers_once(site: Site, redis: Redis) -> None:
    """However often it is repeated, and only with its own body and job."""
    body = b'{"lane": 3}'
    headers = signed(body)
    first = site.client.post(BOOK, content=body, headers=headers)
    assert first.status_code == 202
    again = site.client.post(BOOK, content=body, headers=headers)
    assert again.json()["task_id"] == first.json()["task_id"]
    problem(site.client.post(BOOK, content=b'{"lane": 4}', headers=headers), 401)
    problem(site.client.post(CLEAN, content=body, headers=headers), 401)
    late = headers | {"webhook-timestamp": "1700000000"}
    problem(site.client.post(BOOK, content=body, headers=late), 401)
    broken = headers | {"webhook-signature": "v1,\xff"}
    problem(site.client.post(BOOK, content=body, headers=list(latin(broken))), 401)
    query = {"lane": "5"}
    problem(site.client.post(BOOK, content=body, headers=headers, params=query), 400)
    assert redis.llen("celery") == 1


def latin(headers: dict[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Headers as they go over the wire."""
    for name, value in headers.items():
        yield name.encode(), value.encode("latin-1")


@pytest.mark.usefixtures("free")
def test_thousands_of_guesses_cost_nothing(site: Site) -> None:
    """After ten the answer is 429; no guess reaches Redis."""
    statuses = []

    def guess(number: int) -> None:
        headers = {"Authorization": f"Bearer {number:040}"}
        answer = site.client.post(CLEAN, headers=headers)
        statuses.append(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(2000)))
    assert set(statuses) == {401, 429}
    assert FAILURES_OF_ONE <= statuses.count(401) < 3 * FAILURES_OF_ONE


def test_a_right_token_gets_through_a_flood(site: Site) -> None:
    """Cron services share addresses with others."""
    for _ in range(FAILURES_OF_ONE):
        problem(site.client.post(CLEAN), 401)
    refused = site.client.post(CLEAN)
    assert problem(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert site.post(CLEAN).status_code == 202


def test_only_a_trusted_proxy_says_who_calls(redis_url: str) -> None:
    """Everybody else may write what he likes: it is his own address that counts."""
    first, second = ({"X-Forwarded-For": f"203.0.113.{last}"} for last in (1, 2))
    networks = (ip_network("127.0.0.0/8"),)
    with Site(redis_url, declared, trusted_proxies=networks) as site:
        for _ in range(FAILURES_OF_ONE):
            problem(site.client.post(CLEAN, headers=first), 401)
        problem(site.client.post(CLEAN, headers=first), 429)
        problem(site.client.post(CLEAN, headers=second), 401)
    with Site(redis_url, declared) as site:
        for _ in range(FAILURES_OF_ONE):
            problem(site.client.post(CLEAN, headers=first), 401)
        problem(site.client.post(CLEAN, headers=second), 429)


def test_triggers_beyond_the_limit_cost_nothing(redis_url: str, redis: Redis) -> None:
    """Calls with a key of their own each; a repeat is answered from memory."""
    with Site(redis_url, declared, trigger_limit=5) as site:
        answers = [
            site.post(CLEAN, headers={"Idempotency-Key": f"key-{number}"})
            for number in range(5)
        ]
        assert [answer.status_code for answer in answers] == [202] * 5
        redis.config_resetstat()
        for _ in range(50):
            refused = site.post(CLEAN, headers={"Idempotency-Key": uuid4().hex})
            problem(refused, 429)
            assert int(refused.headers["retry-after"]) <= 12
        again = site.post(CLEAN, headers={"Idempotency-Key": "key-0"})
        assert again.json()["task_id"] == answers[0].json()["task_id"]
        assert commands(redis) == 0


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "name",
    [
        "x",
        "celery",
        "..%2F..%2Fcelery",
        "%06%16",
        "A" * 36,
        "0" * 10_000,
        "2B0C54A9-14FF-43D8-B216-38D82D781AAF",
    ],
)
def test_an_id_that_is_none_is_not_asked_for(shared: Site, name: str) -> None:
    """Its form is checked before a key is made of it."""
    problem(shared.get(f"/api/tasks/{name}"), 404)


def test_unknown_ids_have_a_limit(site: Site, redis: Redis) -> None:
    """A stranger cannot make the process ask Redis for ever."""
    site.get(f"/api/tasks/{uuid5(NAMESPACE_URL, 'warm-up')}")
    redis.config_resetstat()
    statuses = [
        site.get(f"/api/tasks/{uuid5(NAMESPACE_URL, str(number))}").status_code
        for number in range(UNKNOWN_IDS_OF_ONE + 40)
    ]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    assert commands(redis) <= UNKNOWN_IDS_OF_ONE + 20


@pytest.mark.usefixtures("free")
def test_health_costs_nothing(shared: Site) -> None:
    """A thousand calls, no command."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: shared.get("/livez").status_code, range(1000))
        )
    assert answers == [200] * 1000


def test_no_secret_stands_in_a_log_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a token that was right, nor one that was nearly right."""
    with caplog.at_level(logging.DEBUG, logger="smartworker"):
        site.post(CLEAN)
        nearly = {"Authorization": f"Bearer {TOKEN[:-1]}"}
        site.client.post(CLEAN, headers=nearly)
        site.client.post(f"/api/cron/%0d%0a%1b[2J?token={TOKEN}")
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "trigger_refused" in text
    assert TOKEN[:-1] not in text
    assert "\x1b" not in json.dumps(text)


def test_who_may_not_manage_is_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each refusal, with what was asked for and from where."""
    with caplog.at_level(logging.WARNING, logger="smartworker.web"):
        for what in ("pause", "resume", "run"):
            site.client.post(f"/api/jobs/clean/{what}")
        site.client.get("/api/jobs")
        site.post("/api/jobs/none/pause")
    lines: list[Any] = [record.msg for record in caplog.records]
    assert [(x["event"], x["job"], x["status"]) for x in lines] == [
        ("management_refused", "clean", 401),
        ("management_refused", "clean", 401),
        ("management_refused", "clean", 401),
        ("management_refused", "", 401),
        ("management_refused", "none", 403),
    ]
    assert {line["address"] for line in lines} == {"127.0.0.1"}


# What follows needs no Redis: a small application behind the same server.

HEAD_SECONDS = 1.0
WRITE_SECONDS = 1.0


async def _quick(_request: Request) -> Response:
    return PlainTextResponse("quick")


async def _unread(_request: Request) -> Response:
    return PlainTextResponse("unread", 401)


async def _read(request: Request) -> Response:
    return PlainTextResponse(await read_body(request, deadline_seconds=0.5))


async def _large(_request: Request) -> Response:
    return PlainTextResponse(b"x" * 20_000_000)


async def _stream(_request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    return StreamingResponse(chunks())


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, problems.Problem)
    return error.response()


@contextmanager
def served() -> Iterator[int]:
    """The port of a server with short deadlines."""
    app = Starlette(
        routes=[
            Route("/quick", _quick),
            Route("/unread", _unread, methods=["POST"]),
            Route("/read", _read, methods=["POST"]),
            Route("/large", _large),
            Route("/stream", _stream),
        ],
        exception_handlers={problems.Problem: _refused},
    )
    listener = listen("127.0.0.1", 0)
    server = build(app, head_seconds=HEAD_SECONDS, write_seconds=WRITE_SECONDS)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server with short deadlines."""
    with served() as port:
        yield port


def closed_after(client: socket.socket, since: float) -> float:
    """The seconds until the server closed this connection."""
    client.settimeout(10)
    drained(client)
    return monotonic() - since


def test_five_hundred_slow_clients_hold_nobody_up(port: int) -> None:
    """Half say nothing, half trickle a head; all are closed, others are served."""
    stop = threading.Event()
    with ExitStack() as stack:
        since = monotonic()
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            for _ in range(500)
        ]
        slow = clients[::2]

        def trickle() -> None:
            while not stop.wait(0.1):
                for client in slow:
                    with suppress(OSError):
                        client.send(b"GET /quick HTTP/1.1\r\nX: y"[:1])

        thread = threading.Thread(target=trickle)
        thread.start()
        worst = 0.0
        for _ in range(20):
            begun = monotonic()
            assert httpx.get(
                f"http://127.0.0.1:{port}/quick", trust_env=False
            ).text == ("quick")
            worst = max(worst, monotonic() - begun)
        times = [closed_after(client, since) for client in clients]
        stop.set()
        thread.join()
    assert worst < 1
    assert max(times) < HEAD_SECONDS + 2.5
    assert min(times) > HEAD_SECONDS * 0.5


def test_a_slow_second_head_is_no_better(port: int) -> None:
    """uvicorn's own timer ends with the first byte of the next request."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"quick"):
            answer += client.recv(4096)
        since = monotonic()
        client.sendall(b"GET /qu")
        assert HEAD_SECONDS * 0.8 < closed_after(client, since) < HEAD_SECONDS + 1


def test_a_connection_may_be_used_again(port: int) -> None:
    """The deadline is of the wait, not of the connection."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        pause = threading.Event()
        for _ in range(4):
            answer = client.get("/quick")
            assert answer.text == "quick"
            pause.wait(HEAD_SECONDS * 0.4)
        assert answer.extensions["network_stream"]


def test_a_body_that_nobody_reads_has_an_end(port: int) -> None:
    """After the answer the rest may not trickle in for ever."""
    since = monotonic()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(
            b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
        )
        stop = threading.Event()

        def trickle() -> None:
            with suppress(OSError):
                while not stop.wait(0.1):
                    client.send(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        assert closed_after(client, since) < HEAD_SECONDS + 1
        stop.set()
        thread.join()


def test_a_slow_body_is_told_so_and_closed(port: int) -> None:
    """408, and the connection is not used for another request."""
    since = monotonic()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n ")
        answer = drained(client)
    assert status(answer) == 408
    assert b"connection: close" in answer.lower()
    assert monotonic() - since < 2


@pytest.mark.parametrize("path", ["/large", "/stream"])
def test_a_client_that_takes_nothing_is_given_up(port: int, path: str) -> None:
    """Twenty megabytes are not kept for who does not read them."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        threading.Event().wait(2 * WRITE_SECONDS + 0.7)
        assert len(drained(client)) < 20_000_000


@pytest.mark.parametrize("path", ["/large", "/stream"])
def test_a_slow_reader_gets_everything(port: int, path: str) -> None:
    """As long as it takes something now and then."""
    pause = threading.Event()
    start = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        since = monotonic()
        client.sendall(start.encode())
        size = 0
        while chunk := client.recv(1_000_000):
            size += len(chunk)
            if monotonic() - since < 3 * WRITE_SECONDS:
                pause.wait(0.02)
    assert size > 20_000_000
