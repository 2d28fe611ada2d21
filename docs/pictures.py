"""Makes the pictures of the README from the real pages: `make pictures`.

They go to `docs/pictures`, or the folder that is named as the argument.
Starts a server, a worker and the web process with a small shop, uses it, and takes the
dashboard; then reviews a day of log lines and takes its page. Needs chromium.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from urllib.error import URLError

from playwright.sync_api import Browser, FloatRect, Page, sync_playwright
from redis import Redis

from smartworker.clock import system_clock
from smartworker.store.server import HOST, EmbeddedServer, free_port
from smartworker.windows import DAY, EASTERN, Windows
from tests.log_lines import WORKER, hourly, line, ready, run, stopping
from tests.processes import wait_until

USUAL = Path(__file__).parent / "pictures"
LARGEST = 150_000  # bytes: a README loads on a phone
TOKEN = "a-token-for-the-pictures-of-the-readme"  # noqa: S105 - of a server that ends
COMMAND = (sys.executable, "-m", "smartworker.cli.main")
HOUR, MINUTE, SECOND = (timedelta(seconds=number) for number in (3600, 60, 1))
SHOP = '''
"""A shop: what the pictures show."""

from time import sleep

from celery import Celery

import smartworker

jobs = smartworker.Jobs()
jobs.declare("sync-orders", "shop.sync", schedule="*/15 * * * *")
jobs.declare("nightly-report", "shop.report", schedule="0 21 * * *")
jobs.declare("send-reminders", "shop.remind", schedule="30 8 * * mon-fri")
jobs.declare("rebuild-search", "shop.search", schedule="0 4 * * sun")
app = smartworker.setup(Celery("shop"), jobs=jobs)


@app.task(name="shop.sync")
def sync():
    print("asked for orders since yesterday")
    print("17 orders, 2 of them new")
    sleep(0.4)


@app.task(name="shop.report")
def report():
    print("12 pages")
    sleep(1.2)


@app.task(name="shop.remind")
def remind():
    print("reminding 40 customers")
    raise ConnectionError("mail.example does not answer")


@app.task(name="shop.search")
def search():
    print("indexing 90,000 articles")
    sleep(120)
'''


def main(folder: Path) -> None:
    """Make all pictures in a folder; exit status 1 if one is too large."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is missing: apt-get install chromium")
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        take_report(browser, scratch, folder)
        take_dashboard(browser, stack.enter_context(shop(scratch)), folder)
    for picture in sorted(folder.glob("*.png")):
        size = picture.stat().st_size
        sys.stdout.write(f"{picture.name}: {size:,} bytes\n")
        if size > LARGEST:
            sys.exit(f"{picture.name} has more than {LARGEST:,} bytes.")


# -- the dashboard -------------------------------------------------------------------


@contextmanager
def shop(scratch: Path) -> Iterator[str]:
    """The address of a running shop, of which each job but one was called."""
    (scratch / "shop.py").write_text(SHOP, encoding="utf-8")
    port = free_port()
    address = f"http://{HOST}:{port}"
    with EmbeddedServer() as server, ExitStack() as stack:
        environment = {
            **os.environ,
            "PYTHONPATH": str(scratch),
            "REDIS_URL": server.url,
            "PORT": str(port),
            "SMARTWORKER_CRON_TOKENS": TOKEN,
            "SMARTWORKER_ADMIN_TOKEN": f"{TOKEN}-admin",
        }
        for part in (
            ["worker", "-c", "2", "-n", "worker@shop"],
            ["web", "--host", HOST],
        ):
            stack.enter_context(started(scratch, part, environment))
        wait_until(lambda: answers(f"{address}/livez"), what="the web process")
        log = scratch / "worker.log"
        wait_until(lambda: "worker_ready" in log.read_text(), 60, "the worker")
        for job in ("sync-orders", "nightly-report", "send-reminders"):
            trigger(address, job)
        wait_until(lambda: ended(log) == 3, 60, "the end of the runs")
        # What nobody can read is a dead letter at once.
        with Redis.from_url(server.url) as client:
            client.lpush("celery", "this is no message")
        wait_until(lambda: "message_dead" in log.read_text(), what="the dead letter")
        trigger(address, "rebuild-search")
        wait_until(lambda: '"shop.search"' in log.read_text(), what="the long run")
        yield address


@contextmanager
def started(
    scratch: Path, part: list[str], environment: dict[str, str]
) -> Iterator[None]:
    """One of our commands as a process; its log is in a file of its name."""
    with (scratch / f"{part[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *part, "-A", "shop"],
            cwd=scratch,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def trigger(address: str, job: str) -> None:
    """Call a job, as a cron service does."""
    call = urllib.request.Request(  # noqa: S310 - our own address
        f"{address}/api/cron/{job}",
        method="POST",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    urllib.request.urlopen(call, timeout=10).close()  # noqa: S310


def answers(address: str) -> bool:
    """Whether the server is there."""
    try:
        urllib.request.urlopen(address, timeout=1).close()  # noqa: S310
    except (URLError, OSError):
        return False
    return True


def ended(log: Path) -> int:
    """How many runs are over, well or not."""
    lines = log.read_text(encoding="utf-8").splitlines()
    events = [json.loads(each).get("event") for each in lines if each.startswith("{")]
    return events.count("task_finished") + events.count("task_failed")


def take_dashboard(browser: Browser, address: str, folder: Path) -> None:
    """The page at `/` as its owner sees it: at a desk, and on a phone at night."""
    for name, options in (
        (
            "dashboard-light",
            {"viewport": {"width": 1000, "height": 1000}, "color_scheme": "light"},
        ),
        (
            "dashboard-phone-dark",
            {
                "viewport": {"width": 390, "height": 844},
                "color_scheme": "dark",
                "device_scale_factor": 1.5,
            },
        ),
    ):
        context = browser.new_context(**options)
        page = context.new_page()
        page.goto(f"{address}/dashboard/login")
        page.get_by_label("Admin token").fill(f"{TOKEN}-admin")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{address}/")
        page.get_by_text("rebuild-search").first.wait_for()
        page.locator("#live[data-state=on]").wait_for()
        take(page, folder / f"{name}.png", "#jobs" if "light" in name else None)
        context.close()


# -- the report ----------------------------------------------------------------------


def take_report(browser: Browser, scratch: Path, folder: Path) -> None:
    """The page of `smartworker review --html` about yesterday, down to its jobs."""
    windows = Windows.parse("20:00-23:00=30s", EASTERN)
    today = windows.local(system_clock.now()).date()
    log, html = scratch / "day.log", scratch / "day.html"
    days = [windows.midnight(today - back * DAY) for back in (2, 1, 0)]
    lines = [ready(days[0] + 9 * MINUTE)]
    lines += lines_of(days[0], days[1], windows, 4)
    lines += [*lines_of(days[1], days[2], windows, 3), *troubles(days[1])]
    log.write_bytes(b"\n".join(lines) + b"\n")
    made = subprocess.run(
        [*COMMAND, "review", "day.log", "--html", str(html)],
        cwd=scratch,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    if made.returncode != 1:  # it has something to complain of
        sys.exit(made.stderr)
    page = browser.new_page(viewport={"width": 900, "height": 1200})
    page.goto(html.as_uri())
    take(page, folder / "report.png", "#jobs")


def take(page: Page, path: Path, last: str | None) -> None:
    """A picture of the page, down to the section `last`, or as far as it is seen."""
    size = page.viewport_size or {"width": 0, "height": 0}
    clip: FloatRect = {"x": 0, "y": 0, "width": size["width"], "height": size["height"]}
    if last is not None:
        box = page.locator(last).bounding_box()
        assert box is not None, last  # noqa: S101
        clip["height"] = box["y"] + box["height"] + 16
    page.screenshot(path=path, clip=clip, full_page=True)


def lines_of(
    since: datetime, until: datetime, windows: Windows, seed: int
) -> Iterator[bytes]:
    """A usual day: orders each quarter of an hour, a report at nine, mails."""
    at, random = since, Random(seed)  # noqa: S311 - the same picture each time
    while at < until:
        polls = 120 if windows.at(at) else 2
        mails = random.randint(0, 3) + (7 <= windows.local(at).hour < 22) * 4
        for quarter in range(4):
            call = at + quarter * 15 * MINUTE
            yield from called(call, "sync-orders", "shop.sync", random)
        for _ in range(mails):
            sent = at + random.random() * HOUR
            seconds = random.lognormvariate(-1, 0.6)
            task_id = f"mail-{sent.timestamp()}"
            yield from run(sent, task_id, task="shop.mail", seconds=seconds)
        if windows.local(at).hour == 21:
            yield from called(at, "nightly-report", "shop.report", random)
        at += HOUR
        yield hourly(at - SECOND, polls, task=4 * (4 + mails), lease=2)


def called(at: datetime, job: str, task: str, random: Random) -> Iterator[bytes]:
    """A job that is called and runs at once; now and then it fails."""
    task_id = f"{job}-{at.timestamp()}"
    yield line(
        "trigger_accepted", at, job=job, slot=at.isoformat(), task_id=task_id,
        trigger_id="tr-1", address="198.51.100.4",
    )  # fmt: skip
    begun = at + timedelta(milliseconds=random.randint(4, 30))
    error = (
        f"ConnectionError: orders.example refused connection {random.randint(1, 99)}"
    )
    bad = random.random() < 0.06
    seconds = random.lognormvariate(0.8, 0.7) * (40 if job == "nightly-report" else 1)
    if bad and random.random() < 0.6:
        yield line(
            "task_retried", begun, "warning", task_id=task_id, task=task, job=job,
            trigger_id="tr-1", attempt=1, seconds=1.2, retry_seconds=5, error=error,
        )  # fmt: skip
        begun, bad = begun + 5 * SECOND, False
    yield from run(begun, task_id, job, task, seconds, error if bad else None)


def troubles(since: datetime) -> Iterator[bytes]:
    """What makes a day worth a look: a deploy, an outage, a scanner, a missed slot."""
    yield stopping(since + 11 * HOUR)
    yield ready(since + 11 * HOUR + 2 * MINUTE)
    away = since + 16 * HOUR
    yield line("broker_lost", away, "warning", kind="timeout", worker=WORKER)
    yield line(
        "broker_back", away + 9 * MINUTE, kind="timeout", worker=WORKER,
        away_seconds=540.0, attempts=14, read_back=1,
    )  # fmt: skip
    for second in range(24):
        yield line(
            "trigger_refused", since + 3 * HOUR + second * SECOND, "warning",
            job="sync-orders", status=401, reason="wrong token", address="203.0.113.9",
        )  # fmt: skip
    yield line(
        "run_missed", since + 8.7 * HOUR, "warning", job="send-reminders",
        slot=(since + 8.5 * HOUR).isoformat(), task_id="r-1", policy="skip",
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else USUAL)
