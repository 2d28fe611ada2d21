"""docs/transport.md: what it says of commands and keys is what a server sees."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import redis
from celery import Celery, chord, group

import smartworker
from smartworker.broker import doorbell, hearing, pace
from smartworker.settings import Settings
from smartworker.store import dead, keys, notifications, runs
from smartworker.store.meter import is_billed
from smartworker.store.server import free_port
from tests.pages import ROOT, page
from tests.processes import WorkerProcess, wait_until
from tests.shells import running

PAGE = page("docs/transport.md")
SHOP = """
from time import sleep

import smartworker
from celery import Celery

jobs = smartworker.Jobs()
jobs.declare("tidy-up", "shop.nap", args=(0.2,), overlap="skip")
app = smartworker.setup(Celery("shop"), jobs=jobs)


@app.task
def nap(seconds):
    sleep(seconds)
    return seconds


@app.task
def add_up(numbers):
    return sum(numbers)
"""
TOKEN = "t" * 40
SIGN = re.compile(r"\b(LIST|MESSAGE|RESULT|END|WORKER|QUEUE|STEP|JOB|HASH|ID|UUID)\b")
#: What the words in capitals stand for.
MEANT = {
    "LIST": r"smartworker:inflight:[0-9a-f]{32}:celery",
    "MESSAGE": r"\{.*\}",
    "RESULT": r"\{.*\}",
    "END": r"\d{13}",
    "WORKER": r"[0-9a-f]{32}",
    "QUEUE": r"(celery|reports)",
    "STEP": r"\d",
    "JOB": r"[a-z-]+",
    "HASH": r"[0-9a-f]{64}",
    "ID": r"[0-9a-f-]{36}",
    "UUID": r"[0-9a-f-]{36}",
}

pytestmark = pytest.mark.slow


def pattern(text: str) -> re.Pattern[str]:
    """What a line of the page means."""
    escaped = re.escape(text.replace("EXCHANGE", "reply.celery.pidbox"))
    # Celery writes the separator of priorities; the page shows it escaped.
    escaped = escaped.replace(re.escape(r"\x06\x16"), "\x06\x16")
    return re.compile(SIGN.sub(lambda sign: MEANT[sign[0]], escaped), re.DOTALL)


def section(title: str) -> str:
    """A part of the page."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def shop_of(url: str) -> Any:
    """The app of a producer; it sends by name."""
    return smartworker.setup(
        Celery("shop", set_as_current=False), Settings(redis_url=url)
    )


@contextmanager
def worker(home: Path, url: str, *args: str, **more: str) -> Iterator[WorkerProcess]:
    """A worker that is ready, with a lease of a second."""
    (home / "shop.py").write_text(SHOP)
    settings: dict[str, Any] = {"SMARTWORKER_LEASE": "1s", **more}
    process = WorkerProcess(home, url, *args, app="shop", **settings)
    try:
        process.wait_for("worker_ready")
        with redis.Redis.from_url(url) as client:
            # The last that a worker says at its start is its row.
            wait_until(lambda: client.exists(keys.PROCESSES), what="the row")
        yield process
    finally:
        process.kill()


class Monitor(threading.Thread):
    """Billed commands in the order in which the server sees them."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._monitor: Any = self._client.monitor()  # type: ignore[no-untyped-call]
        self._monitor.__enter__()
        self.start()

    def run(self) -> None:
        """Until somebody says ECHO."""
        for told in self._monitor.listen():
            command = told["command"]
            if command.startswith("ECHO"):
                break
            if is_billed(command.partition(" ")[0].lower()):
                self.commands.append(command)

    def stop(self) -> list[str]:
        """All that was sent since the start."""
        seen = [*self.commands]
        self._client.echo("that is all")
        self.join(10)
        self._monitor.__exit__(None, None, None)
        self._client.close()
        return seen


def test_one_message(redis_url: str, tmp_path: Path) -> None:
    """The table has each command, in its order, and what all of them cost."""
    rows = re.findall(
        r"^\| \w+ \| (?:`(.+?)`)? \| .+ \| (\d) \|$", section("One message"), re.M
    )
    told = [command for command, _ in rows if command]
    app = shop_of(redis_url)
    # Long enough that a slow machine need not renew it.
    with worker(tmp_path, redis_url, "-c", "1", SMARTWORKER_LEASE="4s"):
        monitor = Monitor(redis_url)
        app.send_task("shop.nap", (0,))
        wait_until(lambda: "ZREM" in str(monitor.commands), what="the end of the lease")
        seen = monitor.stop()
    app.close()
    assert len(seen) == len(told) == sum(int(cost) for _, cost in rows), seen
    for command, text in zip(seen, told, strict=True):
        assert pattern(text).fullmatch(command), (text, command)


def test_the_poll(redis_url: str, tmp_path: Path) -> None:
    """An idle worker sends this command, and only this one."""
    (line,) = re.findall(r"^```text\n(.+)\n```", PAGE, re.M)
    command, _, times = line.removesuffix(" times)").partition(" (")
    polls = {"SMARTWORKER_QUIET_POLL": "1s", "SMARTWORKER_WINDOWS": "0:00-24:00=1s"}
    with worker(tmp_path, redis_url, "-P", "solo", **polls):
        monitor = Monitor(redis_url)
        wait_until(lambda: len(monitor.commands) > 1, what="two polls")
        seen = monitor.stop()
    assert set(seen) == {command + f" {keys.LEASES}" * (int(times) - 1)}


def documented() -> dict[re.Pattern[str], tuple[str, str]]:
    """The keys on the page: what a name looks like -> its type, and how it is told."""
    found = {}
    rows = re.findall(
        r"^\| (`.+?) \| (.+?) \| .+ \|$", section("Keys on the server"), re.M
    )
    for names, types in rows:
        each = re.findall("`(.+?)`", names)
        kinds = types.split(", ")
        kinds *= len(each) if len(kinds) == 1 else 1
        for name, kind in zip(each, kinds, strict=True):
            found[pattern(name)] = (kind.replace("sorted set", "zset"), name)
    return found


@contextmanager
def sampled(url: str) -> Iterator[dict[str, str]]:
    """The type of each key that is on the server at some time; complete at the end."""
    seen: dict[str, str] = {}
    over = threading.Event()

    def look() -> None:
        with redis.Redis.from_url(url) as client:
            while not over.wait(0.01):
                for name in client.scan_iter():
                    # It may be gone before its type was asked.
                    if (kind := client.type(name)) != b"none":
                        seen[name.decode()] = kind.decode()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def web(home: Path, url: str) -> Iterator[str]:
    """The web process of the shop; where it answers."""
    port = str(free_port())
    settings = {"REDIS_URL": url, "PORT": port, "SMARTWORKER_CRON_TOKENS": TOKEN}
    command = "smartworker web -A shop"
    with running(command, home, "web", until="startup complete", **settings):
        yield f"http://127.0.0.1:{port}"


def use_everything(app: Any, url: str, address: str) -> None:
    """Work of each kind that leaves keys."""
    nap, add_up = app.signature("shop.nap"), app.signature("shop.add_up")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    called = httpx.post(f"{address}/api/cron/tidy-up", headers=headers)
    assert called.status_code == 202
    httpx.post(f"{address}/api/jobs/tidy-up/pause", headers=headers).raise_for_status()

    def sender(seconds: float) -> None:
        """Never run here."""

    task = app.task(sender, name="shop.nap", shared=False)
    smartworker.publish_once(task, "order-7", args=(0.1,))
    app.send_task("shop.nap", (0.1,), queue="reports", priority=3)
    with redis.Redis.from_url(url) as client:
        client.lpush("celery", "not json")
    together = group(nap.clone((0.1,)), nap.clone((0.2,))).apply_async()
    together.save()
    chord([nap.clone((0.1,)), nap.clone((0.2,))])(add_up).get(timeout=20)
    assert app.control.inspect(timeout=0.5).ping()
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: client.xlen("smartworker:runs:tidy-up"), what="the run")


def test_every_key(redis_url: str, tmp_path: Path) -> None:
    """A worker and a web process make these keys, with these types, and no others."""
    app = shop_of(redis_url)
    with (
        sampled(redis_url) as seen,
        worker(tmp_path, redis_url, "-c", "1"),
        web(tmp_path, redis_url) as address,
    ):
        use_everything(app, redis_url, address)
    app.close()
    told = documented()
    met = set()
    for name, kind in seen.items():
        match = [row for known, row in told.items() if known.fullmatch(name)]
        assert [row[0] for row in match] == [kind], (name, kind)
        met.add(match[0][1])
    # Those take a stock worker, another result store, a slot that nobody calls for, or
    # a chord inside a chord.
    rare = {"unacked", "unacked_index", "unacked_mutex", "celery-taskset-meta-ID.t"}
    rare |= {"smartworker:record:ID", "smartworker:late:ID"}
    # And those are gone within a millisecond.
    brief = {"UUID.reply.celery.pidbox"}
    assert {name for _, name in told.values()} - met - brief == rare


@pytest.mark.parametrize(
    "name",
    [
        keys.inflight("0" * 32, "celery"),
        keys.LEASES,
        keys.DEAD,
        keys.JOBS,
        keys.PROCESSES,
        keys.STOCK_HELD,
        keys.STOCK_INDEX,
        keys.once("0" * 64),
        keys.runs("tidy-up"),
        keys.running("tidy-up"),
        keys.record("0" * 36),
        keys.late("0" * 36),
    ],
)
def test_every_name_in_the_code(name: str) -> None:
    """Each has one row."""
    assert len([known for known in documented() if known.fullmatch(name)]) == 1


def test_every_channel() -> None:
    """The names are those of the code."""
    told = [
        pattern(name)
        for name in re.findall(r"^\| `(.+?)` \|", section("Channels"), re.M)
    ]
    for name in (
        keys.keyspace(0, "celery"),
        keys.bell("celery"),
        keys.JOB_NEWS,
        keys.keyspace(0, f"celery-task-meta-{'0' * 36}"),
        "/0.celery.pidbox",
    ):
        assert len([known for known in told if known.fullmatch(name)]) == 1, name
    assert len(told) == 5


def test_the_figures() -> None:
    """Limits and times are those of the code."""
    spread = hearing.HEAD_START + hearing.MOST_SPREAD
    for words in (
        f"by up to {1000 * spread:g} ms",
        f"the flags `{notifications.NEEDED}`",
        f"no answer in {doorbell.ANSWER_WITHIN:g} s",
        f"each {pace.ALERT_INTERVAL:g} s for {pace.ALERT_FOR / 60:g} minutes",
        f"dead letters, {dead.MOST:,} at most",
        f"the last {runs.KEPT} runs",
    ):
        assert words in PAGE, words


def test_the_picture() -> None:
    """It is well-formed, has words for who cannot see it, and colours for the dark."""
    path = ROOT / "docs" / "pictures" / "transport.svg"
    root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
    texts = [text for element in root.iter() for text in element.itertext()]
    for word in ("LPUSH", "LMOVE", "SET", "LREM", "EXISTS", "bell"):
        assert any(word in text for text in texts), word
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")
    labels = root.attrib["aria-labelledby"].split()
    assert {each.attrib["id"] for each in root if "id" in each.attrib} >= set(labels)
