"""The dashboard over HTTP: who sees what, what buttons do, and what looking costs."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from celery import Celery
from redis import Redis
from starlette.applications import Starlette
from starlette.routing import Mount

from smartworker.cron.registry import Jobs
from smartworker.rows import Row
from smartworker.settings import Settings
from smartworker.store import processes
from smartworker.store.dead import DeadLetters, Facts
from smartworker.store.runs import RunRecord, add
from smartworker.web.app import create_app
from smartworker.web.dashboard.facts import read_details
from smartworker.web.dashboard.session import COOKIE, Signer
from smartworker.web.dashboard.snapshot import (
    PACES,
    STRANGERS_SECONDS,
    Allowance,
    pace,
)
from tests.commands import message
from tests.integration.site import BEARER, NOON, TOKEN, Site, problem, spent
from tests.integration.test_mounted import uvicorn_of
from tests.processes import wait_until

EVIL = "<script>alert(1)</script>"
ERROR = "KeyError: 'secret lane'"
LINE = "swimmer 4711 signed in"
OURS = {"Sec-Fetch-Site": "same-origin"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
RUN = RunRecord(
    job="clean-up",
    slot="2026-11-21T16:00:00Z",
    task_id="5f0c7a7e-4c5b-4a86-9a0e-0d8f8f3f3c11",
    trigger="cron",
    state="FAILURE",
    started="2026-11-21T16:00:03Z",
    seconds=1.5,
    error=ERROR,
    tail=(LINE, EVIL),
)
ROW = Row(
    id="a" * 32,
    kind="worker",
    name="celery@one",
    started=(NOON - timedelta(hours=3)).isoformat(),
    written=NOON.isoformat(),
    poll_seconds=1800.0,
    next_poll=(NOON + timedelta(minutes=10)).isoformat(),
    doorbell="keyspace",
    queues=["celery"],
    active=[
        {
            "task": EVIL,
            "task_id": "x",
            "job": None,
            "since": NOON.isoformat(),
        }
    ],
    month="2026-11",
    commands={"poll": 4000, "take": 1234},
)


def some_jobs() -> Jobs:
    """One job that is called, and one with a schedule."""
    jobs = Jobs()
    jobs.declare("clean-up", "tasks.clean")
    jobs.declare("nightly", "tasks.nightly", schedule="30 21 * * *")
    return jobs


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of the test's own."""
    with Redis.from_url(redis_url) as client:
        yield client


@contextmanager
def site_of(url: str, **settings: Any) -> Iterator[Site]:
    """A web process with these settings; `clean-up:` tokens are not needed here."""
    with Site(url, some_jobs, **{"cron_tokens": (TOKEN,), **settings}) as site:
        yield site


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    """A web process with the usual settings."""
    with site_of(redis_url) as site:
        yield site


def sign_in(site: Site, token: str = TOKEN, **headers: str) -> httpx.Response:
    """Send the form as a browser does."""
    return site.client.post(
        "/dashboard/login", data={"token": token}, headers={**OURS, **headers}
    )


def fill(redis: Redis) -> None:
    """A worker that runs, a run that failed, a dead letter."""
    processes.write(redis, ROW)
    add(redis, RUN)
    bury(redis)


def bury(redis: Redis, task: str = "shop.charge") -> str:
    """A dead letter that can be put back; its id."""
    facts = Facts(queue="celery", reason="max_deliveries", task=task, attempts=5)
    entry = {"raw": message("shop.charge"), "facts": facts.encode()}
    return redis.xadd(DeadLetters(redis).key, entry).decode()


def test_a_stranger_reads_all_but_logs_and_errors(site: Site, redis: Redis) -> None:
    """The usual page tells what happens, and neither what was logged nor why."""
    fill(redis)
    answer = site.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    for text in ("clean-up", "nightly", "celery@one", "5,234", "shop.charge", "failed"):
        assert text in page
    assert "3 things need attention" not in page
    assert "1 dead letter" in page
    assert LINE not in page
    assert "secret lane" not in page
    assert RUN.task_id not in page, "it would open the result"
    assert "Pause" not in page
    assert "Requeue" not in page
    assert "Sign in to see what it logged." in page


def test_who_has_signed_in_sees_logs_and_buttons(site: Site, redis: Redis) -> None:
    """The token of the form opens a session; it is kept in a strict cookie."""
    fill(redis)
    answer = sign_in(site)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"):
        assert part.lower() in cookie.lower()
    assert "secure" not in cookie.lower()
    page = site.get("/").text
    assert LINE in page
    assert "secret lane" in page
    assert "Requeue" in page
    assert "Run now" in page
    assert site.client.post("/dashboard/logout", headers=OURS).status_code == 303
    assert LINE not in site.get("/").text


def test_a_cookie_that_came_by_https_goes_by_https(site: Site) -> None:
    """Behind a proxy that says so the cookie is Secure."""
    answer = sign_in(site, **{"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("cookie", ["", "signed in", "signed in.abc.def", "a.b", "é"])
def test_a_made_up_cookie_opens_nothing(site: Site, cookie: str) -> None:
    """Whatever a stranger writes into the cookie, he stays one."""
    header = f"smartworker={cookie}".encode()
    page = site.client.get("/", headers={"Cookie": header}).text
    assert "Sign out" not in page


def test_a_session_ends_after_30_days_and_with_its_token(
    site: Site, redis_url: str
) -> None:
    """A cookie dies of age, and at once when the token is another one."""
    sign_in(site)
    cookie = site.client.cookies["smartworker"]
    with site_of(redis_url) as twin:
        twin.client.cookies.set("smartworker", cookie)
        assert "Sign out" in twin.get("/").text, "another process of the same app"
    with site_of(redis_url, cron_tokens=("n" * 40,)) as other:
        other.client.cookies.set("smartworker", cookie)
        assert "Sign out" not in other.get("/").text
    site.clock.wall += timedelta(days=29)
    assert "Sign out" in site.get("/").text
    site.clock.wall += timedelta(days=2)
    assert "Sign out" not in site.get("/").text


def test_where_no_token_manages_no_cookie_is_believed(redis_url: str) -> None:
    """With tokens of jobs alone the key would be known to everybody."""
    with site_of(redis_url, cron_tokens=("clean-up:" + "o" * 40,)) as site:
        for key in (b"", sha256(b"").digest()):
            forged = Signer(key, site.clock).sign("signed in").decode()
            site.client.cookies.set(COOKIE, forged)
            assert "Sign out" not in site.get("/").text
        assert "Nobody can sign in" in site.get("/dashboard/login").text


def test_the_hash_of_a_token_opens_nothing(redis_url: str) -> None:
    """The settings may hold a hash alone: who reads it cannot make a session of it."""
    digest = sha256(TOKEN.encode())
    with site_of(redis_url, cron_tokens=(f"sha256={digest.hexdigest()}",)) as site:
        for key in (digest.digest(), sha256(digest.digest()).digest()):
            forged = Signer(key, site.clock).sign("signed in").decode()
            site.client.cookies.set(COOKIE, forged)
            assert "Sign out" not in site.get("/").text
        site.client.cookies.clear()
        assert sign_in(site).status_code == 303
        assert "Sign out" in site.get("/").text


def test_a_password_of_a_proxy_is_no_token(site: Site, redis: Redis) -> None:
    """It comes with each request by itself: it is neither refused nor believed."""
    basic = {"Authorization": "Basic YTpi"}
    assert site.get("/", headers=basic).status_code == 200
    assert sign_in(site, **basic).status_code == 303
    path = "/dashboard/jobs/clean-up/run"
    assert site.client.post(path, headers=basic).status_code == 403
    assert redis.llen("celery") == 0


def test_wrong_tokens_are_counted(site: Site) -> None:
    """Ten tries a minute, as for bearer tokens, and the form says so."""
    answers = [sign_in(site, f"wrong{n}") for n in range(11)]
    assert [each.status_code for each in answers] == [401] * 10 + [429]
    assert "not the admin token" in answers[0].text
    assert int(answers[-1].headers["retry-after"]) > 0
    problem(site.client.get("/", headers={"Authorization": "Bearer no"}), 429)
    assert sign_in(site).status_code == 303, "a right token always gets through"


def test_a_form_is_a_form(site: Site) -> None:
    """What no page of ours sends is answered with the form, and opens nothing."""
    for body, status in (
        ({"json": {"token": TOKEN}}, 415),
        ({"content": b"token=\xff", "headers": FORM}, 400),
        ({"content": b"token=" + b"x" * 70_000, "headers": FORM}, 413),
        ({"data": {"token": TOKEN}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ({}, 401),
    ):
        sent: dict[str, Any] = {**body, "headers": OURS | body.get("headers", {})}
        answer = site.client.post("/dashboard/login", **sent)
        assert answer.status_code == status, body
        assert 'name="token"' in answer.text
        assert "set-cookie" not in answer.headers


def test_a_token_of_one_job_does_not_sign_in(redis_url: str) -> None:
    """Only who manages may see logs and use buttons."""
    own = "o" * 40
    with site_of(redis_url, cron_tokens=(TOKEN, f"clean-up:{own}")) as site:
        assert sign_in(site, own).status_code == 401
        headers = {"Authorization": f"Bearer {own}"}
        problem(site.client.get("/", headers=headers), 403)


@pytest.mark.parametrize("path", ["jobs/clean-up/pause", "jobs/nightly/run"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
        (OURS, 303),
        ({"Origin": "http://{host}"}, 303),
    ],
)
def test_forms_of_other_sites_are_refused(
    site: Site, redis: Redis, path: str, headers: dict[str, str], status: int
) -> None:
    """A cookie alone does nothing: the form must come from our own page."""
    sign_in(site)
    host = f"127.0.0.1:{site.port}"
    sent = {name: text.replace("{host}", host) for name, text in headers.items()}
    answer = site.client.post(f"/dashboard/{path}", headers=sent)
    assert answer.status_code == status
    changed = redis.llen("celery") or b"paused:clean-up" in redis.hkeys(
        "smartworker:jobs"
    )
    assert bool(changed) == (status == 303)


def test_buttons_need_a_session_or_a_token(site: Site, redis: Redis) -> None:
    """Strangers are told to sign in; a bearer token does without a cookie."""
    letter = bury(redis)
    for path in ("jobs/clean-up/pause", "jobs/clean-up/run", f"dead/{letter}/requeue"):
        answer = site.client.post(f"/dashboard/{path}", headers=OURS)
        assert answer.status_code == 401
        assert "Sign in with the admin token first." in answer.text
    answer = site.client.post("/dashboard/jobs/clean-up/run", headers=BEARER)
    assert answer.status_code == 303
    assert redis.llen("celery") == 1


def test_looking_changes_nothing(site: Site) -> None:
    """An address that changes something does not answer to GET."""
    sign_in(site)
    for path in ("jobs/clean-up/pause", "jobs/clean-up/run", "dead/1-0/requeue"):
        problem(site.get(f"/dashboard/{path}"), 405)
    problem(site.get("/dashboard/logout"), 405)


def test_pause_resume_and_run(site: Site, redis: Redis) -> None:
    """The buttons do what the endpoints do, and the page shows it at once."""
    sign_in(site)
    answer = site.client.post("/dashboard/jobs/clean-up/pause", headers=OURS)
    assert answer.headers["location"] == "/?said=paused"
    page = site.get("/?said=paused").text
    assert "The job is paused" in page
    assert "Paused: clean-up" in page
    assert "/dashboard/jobs/clean-up/resume".removeprefix("/") in page
    assert site.post("/api/cron/clean-up").json()["reason"] == "paused"
    site.client.post("/dashboard/jobs/clean-up/resume", headers=OURS)
    assert "Paused: clean-up" not in site.get("/").text
    answer = site.client.post("/dashboard/jobs/clean-up/run", headers=OURS)
    assert answer.headers["location"] == "/?said=queued"
    assert redis.llen("celery") == 1
    unknown = site.client.post("/dashboard/jobs/none/pause", headers=OURS)
    assert unknown.status_code == 404


def test_a_reading_that_began_before_a_button_does_not_count(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the details already, and they are read once more."""
    sign_in(site)
    read, may_end = threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        found = read_details(*args)
        read.set()
        assert may_end.wait(3)
        return found

    monkeypatch.setattr("smartworker.web.dashboard.snapshot.read_details", slow)
    with ThreadPoolExecutor() as pool:
        page = pool.submit(httpx.get, f"{site.client.base_url}", trust_env=False)
        assert read.wait(5)
        path = "/dashboard/jobs/clean-up/pause"
        done = pool.submit(site.client.post, path, headers=OURS)
        wait_until(lambda: "clean-up" in paused(site), what="the pause")
        may_end.set()
        assert done.result(10).status_code == 303
        assert "Paused: clean-up" not in page.result(10).text
    assert "Paused: clean-up" in site.get("/").text


def paused(site: Site) -> list[str]:
    """The jobs that are paused, as the API tells it."""
    jobs = site.get("/api/jobs", headers=BEARER).json()["jobs"]
    return [job["name"] for job in jobs if job["state"] == "paused"]


def test_requeue(site: Site, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A letter goes back into its queue, once, and the log says who did it."""
    letter = bury(redis)
    sign_in(site)
    path = f"/dashboard/dead/{letter}/requeue"
    with caplog.at_level("INFO", "smartworker"):
        assert site.client.post(path, headers=OURS).status_code == 303
    assert redis.llen("celery") == 1
    assert redis.xlen("smartworker:dead") == 0
    logged = [each for each in caplog.records if "dead_requeued" in str(each.msg)]
    assert len(logged) == 1
    again = site.client.post(path, headers=OURS)
    assert again.status_code == 404
    assert (
        site.client.post("/dashboard/dead/x/requeue", headers=OURS).status_code == 404
    )


@pytest.mark.parametrize("path", ["/", "/dashboard/login"])
def test_pages_are_closed_to_other_sites(site: Site, path: str) -> None:
    """No frame, no foreign script, no stored copy, no search engine."""
    headers = site.get(path).headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "style=" not in site.get(path).text, "the policy would refuse it"


def test_everything_stored_is_escaped(site: Site, redis: Redis) -> None:
    """Names, errors and log lines come from anywhere."""
    processes.write(redis, replace(ROW, name=f"celery@{EVIL}", queues=[EVIL]))
    add(redis, replace(RUN, error=EVIL, trigger=EVIL, task_id='"><b>x</b>'))
    bury(redis, task=f'{EVIL}" onclick="alert(1)')
    sign_in(site)
    page = site.get("/?said=<script>alert(1)</script>").text
    assert "<script>alert" not in page
    assert "<b>x" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 6
    assert not re.search(r'"[^"<>]*" onclick="alert', page)


def test_huge_and_broken_rows_are_cut(site: Site, redis: Redis) -> None:
    """10,000 letters, long names and nonsense in the hash make no long page."""
    pipe = redis.pipeline()
    facts = Facts(queue="q" * 5000, reason="unreadable", detail="d" * 100_000)
    for _ in range(300):
        pipe.xadd("smartworker:dead", {"raw": b"x", "facts": facts.encode()})
    pipe.hset("smartworker:processes", "junk", b"\xff{")
    pipe.hset("smartworker:processes", "list", b"[1]")
    for number in range(60):
        row = replace(ROW, id=f"{number:032}", name="n" * 9000 + str(number))
        pipe.hset("smartworker:processes", row.id, row.as_json())
    for number in range(40):
        record = replace(RUN, task_id=f"t{number}", tail=("line" * 10_000,) * 200)
        pipe.xadd("smartworker:runs:clean-up", {"run": json.dumps(record.as_json())})
    pipe.execute()
    sign_in(site)
    page = site.get("/").text
    assert len(page) < 1_000_000
    assert "More than 20 dead letters" in page


@pytest.mark.parametrize(
    "change",
    [
        {"poll_seconds": float("nan")},
        {"held": float("inf")},
        {"tasks": {"t": {"succeeded": 10**400}}},
        {"next_poll": "0001-01-01T00:00:00+00:00"},
        {"queues": [["celery"], {}]},
    ],
)
def test_a_row_of_nonsense_harms_no_other(
    site: Site, redis: Redis, change: dict[str, Any]
) -> None:
    """What JSON can say and a worker never does."""
    processes.write(redis, ROW)
    processes.write(redis, replace(ROW, id="b" * 32, name="celery@two", **change))
    page = site.get("/").text
    assert "celery@one" in page
    assert "celery@two" in page
    assert "Redis does not answer" not in page


def test_no_worker_is_said_plainly(site: Site) -> None:
    """An empty server is no empty page."""
    page = site.get("/").text
    assert "No worker is running" in page
    assert "No worker has told anything." in page
    assert "No run of a job has ended yet." in page


def test_a_worker_that_does_not_answer_is_silent(site: Site, redis: Redis) -> None:
    """A killed worker leaves its row; the page sees that it is not written again."""
    processes.write(redis, ROW)
    assert "silent" not in site.get("/").text
    site.clock.wall += timedelta(minutes=5)
    site.clock.monotonic_ahead += 300
    assert "silent" not in site.get("/").text, "it has just been asked"
    site.clock.wall += timedelta(seconds=12)
    site.clock.monotonic_ahead += 12
    page = site.get("/").text
    assert "No answer from celery@one" in page
    processes.write(redis, replace(ROW, written=site.clock.wall.isoformat()))
    site.clock.monotonic_ahead += 6
    assert "No answer from" not in site.get("/").text


def test_modes(redis_url: str, redis: Redis) -> None:
    """Open shows logs to all, private nothing, off is not there."""
    fill(redis)
    with site_of(redis_url, dashboard="open") as site:
        page = site.get("/").text
        assert LINE in page
        assert "Run now" not in page
    with site_of(redis_url, dashboard="private") as site:
        answer = site.get("/")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/dashboard/login"
        problem(site.get("/dashboard/events"), 401)
        sign_in(site)
        assert LINE in site.get("/").text
    with site_of(redis_url, dashboard="off") as site:
        for path in ("/", "/dashboard/login", "/dashboard/assets/dashboard.js"):
            problem(site.get(path), 404)


def test_assets_are_found_by_name_and_kept(site: Site) -> None:
    """A version in the address is kept for a year; nothing but the table is served."""
    page = site.get("/").text
    for address in re.findall(r'"(dashboard/assets/[^"]+)"', page):
        answer = site.get(f"/{address}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        tag = answer.headers["etag"]
        again = site.get(f"/{address}", headers={"If-None-Match": f'W/{tag}, "x"'})
        assert again.status_code == 304
        assert not again.content
    assert page.count("dashboard/assets/") == 3
    plain = site.get("/dashboard/assets/dashboard.css")
    assert plain.headers["cache-control"] == "no-cache"
    for name in ("..%2fpage.py", "page.html", "%2e%2e/page.py", "dashboard.css%00"):
        problem(site.get(f"/dashboard/assets/{name}"), 404)


def test_head_asks_nobody(site: Site, redis: Redis) -> None:
    """Platforms look whether somebody listens; that is free."""
    before = spent(redis)
    assert site.client.head("/").status_code == 200
    assert spent(redis) == before


def test_the_page_is_no_endpoint(site: Site) -> None:
    """The description for programs does not know it."""
    paths = site.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or "dashboard" in path]


class Viewer:
    """A browser that watches: it reads the stream in a thread."""

    def __init__(self, site: Site, **options: Any) -> None:
        self.seen: list[dict[str, str]] = []
        self._stack = ExitStack()
        client = self._stack.enter_context(
            httpx.Client(base_url=site.client.base_url, timeout=30, trust_env=False)
        )
        client.cookies = site.client.cookies
        self._answer = self._stack.enter_context(
            client.stream("GET", "/dashboard/events", **options)
        )
        assert self._answer.status_code == 200
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._answer.iter_lines():
                if line.startswith("data: "):
                    self.seen.append(json.loads(line.removeprefix("data: ")))
        except (httpx.HTTPError, OSError):
            return

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away, as a closed tab does."""
        if not self._thread.is_alive():
            return
        stream = self._answer.extensions["network_stream"]
        socket = stream.get_extra_info("socket")
        socket.shutdown(2)
        self._thread.join(10)
        self._stack.close()


def quick(site: Site, seconds: float) -> None:
    """Have the page read so often, whether or not anything happens."""
    site.app.state.dashboard.snapshot.paces = ((float("inf"), seconds),)


def looked(redis: Redis) -> dict[str, int]:
    """What was sent, without what the subscription of the jobs' news sends."""
    return {k: n for k, n in spent(redis).items() if k not in ("subscribe", "ping")}


@pytest.mark.parametrize("viewers", [1, 50])
def test_looking_costs_the_same_for_all(
    redis_url: str, redis: Redis, viewers: int
) -> None:
    """A reading each so many seconds is one command, for one viewer and for fifty."""
    fill(redis)
    with site_of(redis_url) as site, ExitStack() as stack:
        site.get("/")  # connects, and reads everything once
        quick(site, 0.25)
        redis.config_resetstat()
        begun = site.clock.monotonic()
        watching = [stack.enter_context(Viewer(site)) for _ in range(viewers)]
        wait_until(lambda: looked(redis).get("hgetall", 0) >= 10, what="ten readings")
        counts = looked(redis)
        assert counts.pop("hgetall") <= (site.clock.monotonic() - begun) / 0.25 + 1
        assert counts == {}, "nothing has changed"
        wait_until(lambda: all(each.seen for each in watching), what="an event for all")
        redis.config_resetstat()
        processes.write(redis, replace(ROW, tasks={"t": {"succeeded": 1}}))
        wait_until(lambda: looked(redis).get("xrevrange"), what="the details")
        wait_until(lambda: looked(redis).get("hgetall", 0) >= 4, what="more readings")
        counts = looked(redis)
    # The jobs beside the processes, the runs of two jobs and the dead letters.
    assert (counts["mget"], counts["exists"], counts["xrevrange"]) == (1, 1, 3)


def test_without_viewers_nothing_is_read(redis_url: str, redis: Redis) -> None:
    """The last one who leaves ends the reading."""
    fill(redis)
    with site_of(redis_url) as site:
        quick(site, 0.1)
        with Viewer(site), Viewer(site) as last:
            wait_until(lambda: looked(redis).get("hgetall", 0) >= 5)
        last.close()
        wait_until(lambda: not site.app.state.dashboard.snapshot.viewers)
        redis.config_resetstat()
        site.app.state.dashboard.snapshot.clock.wait(threading.Event(), 0.6)
        assert looked(redis) == {}


def test_a_page_is_read_again_after_5_seconds(site: Site, redis: Redis) -> None:
    """However often it is loaded, with or without sign-in."""
    sign_in(site)
    site.get("/")
    redis.config_resetstat()
    for _ in range(20):
        site.get("/")
    assert looked(redis) == {}
    site.clock.monotonic_ahead += 5.1
    site.get("/")
    site.get("/")
    assert looked(redis) == {"hgetall": 1}
    site.clock.monotonic_ahead += 60
    site.get("/")
    # The question to the workers: a list of who hears it, and a message.
    assert looked(redis)["hgetall"] == 3
    assert looked(redis)["publish"] == 1


def test_strangers_cannot_use_up_the_budget(site: Site, redis: Redis) -> None:
    """Who loads the page all day gets old news, and who has signed in does not."""
    for _ in range(140):
        site.clock.monotonic_ahead += 5
        page = site.get("/").text
    assert "The live view rests for a while" in page
    redis.config_resetstat()
    for _ in range(100):
        site.clock.monotonic_ahead += 36
        site.get("/")
    assert looked(redis)["hgetall"] <= 10
    sign_in(site)
    redis.config_resetstat()
    for _ in range(10):
        site.clock.monotonic_ahead += 5
        site.get("/")
    assert looked(redis)["hgetall"] >= 10


def test_more_jobs_leave_strangers_fewer_readings() -> None:
    """A reading costs a command for each job: all of them must not add up to more."""
    few, many = Allowance(0, 0.0), Allowance(0, 0.0, 10 * STRANGERS_SECONDS)
    assert few.take(STRANGERS_SECONDS + 1)
    assert not many.take(STRANGERS_SECONDS + 1)
    assert many.take(10 * STRANGERS_SECONDS + 1)


def test_strangers_do_not_keep_the_page_of_others_fast(
    redis_url: str, redis: Redis
) -> None:
    """They may come and go all day beside a tab that stays open."""
    fill(redis)
    with site_of(redis_url) as site:
        sign_in(site)
        snapshot = site.app.state.dashboard.snapshot
        with Viewer(site) as admin:
            wait_until(lambda: admin.seen)
            site.client.cookies.clear()
            site.clock.monotonic_ahead += 100_000
            snapshot._allowance = Allowance(-1000, site.clock.monotonic())
            for ahead, read in ((0, True), (20, False), (300, True)):
                redis.config_resetstat()
                site.clock.monotonic_ahead += ahead
                with Viewer(site) as stranger:
                    site.clock.wait(threading.Event(), 1)
                    assert stranger.seen
                assert ("hgetall" in looked(redis)) == read, ahead


def test_a_page_that_stays_open_is_read_less_often() -> None:
    """The longer nothing happens, the longer the pauses: 5 s first, 5 min at last."""
    assert [pace(PACES, still) for still in (0, 119, 121, 700, 4000)] == [
        5.0,
        5.0,
        15.0,
        60.0,
        300.0,
    ]


def test_news_come_to_all(redis_url: str, redis: Redis) -> None:
    """Only the sections that changed are sent, with as much as each may see."""
    fill(redis)
    with site_of(redis_url) as site:
        quick(site, 0.1)
        with Viewer(site) as stranger:
            sign_in(site)
            with Viewer(site) as admin:
                wait_until(lambda: stranger.seen and admin.seen)
                assert LINE in admin.seen[0]["runs"]
                count = len(admin.seen)
                busy = replace(ROW, tasks={"t": {"succeeded": 7}})
                processes.write(redis, busy)
                wait_until(lambda: told(admin, "7 done") and told(stranger, "7 done"))
                news = [each for each in admin.seen[count:] if "workers" in each]
                assert not any("budget" in each or "runs" in each for each in news)
        assert not any(LINE in html for each in stranger.seen for html in each.values())


def told(viewer: "Viewer", text: str) -> bool:
    """Whether a section with this text was sent."""
    return any(text in html for each in viewer.seen for html in each.values())


def test_redis_away_is_a_page(redis_url: str) -> None:
    """Nothing listens there: the page says so, and knows the jobs and the plan."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with site_of(f"redis://127.0.0.1:{port}/0") as site:
            answer = site.get("/")
            assert answer.status_code == 200
            assert "Redis does not answer; nothing is known yet" in answer.text
            assert "nightly" in answer.text
            assert "tomorrow" not in answer.text
            assert str(port) not in answer.text, "the reason is not for strangers"
            sign_in(site)
            failed = site.client.post("/dashboard/jobs/nightly/pause", headers=OURS)
            assert failed.status_code == 503
            assert site.get("/livez").status_code == 200


def test_redis_that_goes_away_leaves_what_was_known(redis: Redis, site: Site) -> None:
    """The last facts stay, with their time."""
    fill(redis)
    assert "5,234" in site.get("/").text
    broken = site.app.state.dashboard.snapshot

    def refuse() -> Any:
        raise ConnectionError("away")

    broken.link = refuse
    site.clock.monotonic_ahead += 6
    page = site.get("/").text
    assert "what stands here is from 12:00:42" in page
    assert "5,234" in page


def test_below_a_prefix(redis_url: str) -> None:
    """Every address in the page leads below the prefix, and so do the redirects."""
    celery_app = Celery("mounted", set_as_current=False)
    settings = Settings(redis_url=redis_url, cron_tokens=(TOKEN,))
    ours = create_app(celery_app, settings, some_jobs())
    host = Starlette(
        routes=[Mount("/worker", ours)],
        lifespan=lambda _host: ours.router.lifespan_context(ours),
    )
    with uvicorn_of(host) as address, httpx.Client(base_url=address) as client:
        answer = client.post(
            "/worker/dashboard/login", data={"token": TOKEN}, headers=OURS
        )
        assert answer.headers["location"] == "/worker/"
        page = client.get("/worker/").text
        found = set(re.findall(r'(?:href|src|action|data-events)="([^"#]+)"', page))
        assert len(found) >= 8
        for path in found:
            assert not path.startswith("/")
        assert client.get("/worker/dashboard/assets/dashboard.css").status_code == 200
        done = client.post("/worker/dashboard/jobs/clean-up/run", headers=OURS)
        assert done.headers["location"] == "/worker/?said=queued"
    celery_app.close()
