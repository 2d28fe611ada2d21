"""The dashboard as a person sees it: a real browser, a real worker, a real server."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from redis import Redis

from smartworker.settings import Settings
from smartworker.store.dead import DeadLetters, Facts
from smartworker.web.app import create_app
from tests.acceptance.desk import make_app, make_jobs
from tests.browser import (
    PHONE,
    SMALL_PHONE,
    OpenPage,
    overflow,
    problems,
)
from tests.commands import message
from tests.integration.test_mounted import uvicorn_of
from tests.processes import WorkerProcess, wait_until

HERE = Path(__file__).parent
TOKEN = "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}

pytestmark = pytest.mark.slow


@dataclass
class Desk:
    """A running web process of the project, and its server."""

    address: str
    redis: Redis
    app: Any

    def trigger(self, job: str) -> None:
        """Call for a job, as a cron service does."""
        path = f"{self.address}/api/cron/{job}"
        answer = httpx.post(path, headers=BEARER, trust_env=False)
        assert answer.status_code == 202, answer.text

    def bury(self, **facts: Any) -> None:
        """A dead letter that can be put back."""
        known = {"queue": "celery", "reason": "max_deliveries", "task": "desk.report"}
        made = Facts(**{**known, "attempts": 5, **facts})
        entry = {"raw": message("desk.report"), "facts": made.encode()}
        self.redis.xadd(DeadLetters(self.redis).key, entry)


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    """A web process whose page is read each half second."""
    settings = Settings(redis_url=redis_url, cron_tokens=(TOKEN,))
    celery_app = make_app(settings)
    app = create_app(celery_app, settings, make_jobs())
    app.state.dashboard.snapshot.paces = ((float("inf"), 0.5),)
    with uvicorn_of(app) as address, Redis.from_url(redis_url) as redis:
        yield Desk(address, redis, app)
    celery_app.close()


@pytest.fixture
def worker(redis_url: str) -> Iterator[WorkerProcess]:
    """A worker of the project that is ready."""
    started = WorkerProcess(HERE, redis_url, "-P", "solo", app="desk")
    started.wait_for("worker_ready")
    yield started
    started.kill()


def sign_in(page: Page) -> None:
    """As a person does it."""
    page.get_by_role("link", name="Sign in", exact=True).click()
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def is_live(page: Page) -> None:
    """The stream is there."""
    expect(page.locator("#live")).to_have_text("live", timeout=10_000)


def test_the_page_tells_what_happens_as_it_happens(
    desk: Desk, worker: WorkerProcess, open_page: OpenPage
) -> None:
    """Without a reload: a task runs, ends well, another one fails."""
    page = open_page(desk.address)
    expect(page.locator("#verdict")).to_contain_text("All well")
    expect(page.locator("#workers")).to_contain_text("celery@")
    expect(page.locator("#now")).to_contain_text(re.compile(r"in \d+ (min|s)"))
    is_live(page)
    page.evaluate("window.kept = true")
    desk.trigger("clean-up")
    expect(page.locator("#active")).to_contain_text("clean-up", timeout=10_000)
    expect(page.locator("#active")).to_contain_text("Nothing runs", timeout=15_000)
    expect(page.locator("#runs")).to_contain_text("clean-up", timeout=10_000)
    desk.trigger("send-invoices")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("Failed: send-invoices", timeout=15_000)
    expect(verdict).to_contain_text("1 thing needs attention")
    assert page.evaluate("window.kept") is True
    assert problems(page) == []


def test_news_leave_open_what_is_open(
    desk: Desk, worker: WorkerProcess, open_page: OpenPage
) -> None:
    """Log lines that somebody reads do not close, and the focus stays."""
    desk.trigger("report")
    worker.wait_for("task_finished")
    page = open_page(desk.address)
    sign_in(page)
    is_live(page)
    summary = page.locator("#runs summary").first
    summary.focus()
    page.keyboard.press("Enter")
    lines = page.locator("#runs pre").first
    expect(lines).to_contain_text("42 swimmers, <b>7</b> lanes")
    desk.trigger("send-invoices")
    expect(page.locator("#runs")).to_contain_text("send-invoices", timeout=15_000)
    report = page.locator("#runs details", has_text="report")
    expect(report.locator("pre")).to_be_visible()
    focused = page.evaluate("document.activeElement.dataset.focus")
    assert focused == report.get_attribute("data-key")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_job_is_paused_and_resumed(
    desk: Desk, open_page: OpenPage, scripts: bool
) -> None:
    """With and without JavaScript; the page says that no worker runs."""
    page = open_page(desk.address, java_script_enabled=scripts)
    # Without scripts a page whose reading failed stays as it is until the next one.
    wait_until(
        lambda: page.reload() and "No worker" in page.locator("#verdict").inner_text()
    )
    expect(page.get_by_role("button", name="Pause report")).to_have_count(0)
    sign_in(page)
    page.get_by_role("button", name="Pause report").click()
    expect(page.locator("main")).to_contain_text("The job is paused")
    expect(page.locator("#verdict")).to_contain_text("Paused: report")
    assert desk.redis.hexists("smartworker:jobs", "paused:report")
    page.get_by_role("button", name="Resume report").click()
    expect(page.locator("#verdict")).not_to_contain_text("Paused")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()


def test_a_dead_letter_is_put_back(
    desk: Desk, worker: WorkerProcess, open_page: OpenPage
) -> None:
    """It leaves the list, and its task runs."""
    desk.bury()
    page = open_page(desk.address)
    sign_in(page)
    expect(page.locator("#verdict")).to_contain_text("1 dead letter")
    page.get_by_role("button", name="Requeue desk.report").click()
    expect(page.locator("#dead")).to_contain_text("None.")
    expect(page.locator("#verdict")).not_to_contain_text("dead letter")
    assert desk.redis.xlen("smartworker:dead") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SMALL_PHONE, PHONE])
def test_on_a_phone(
    desk: Desk, open_page: OpenPage, scheme: str, size: dict[str, int]
) -> None:
    """Nothing to scroll sideways, whatever the names; all contrasts are enough."""
    desk.bury(task="shop." + "x" * 300, queue="q" * 100, detail="d" * 400)
    page = open_page(desk.address, viewport=size, color_scheme=scheme)
    assert overflow(page) == 0
    assert problems(page) == []
    sign_in(page)
    assert overflow(page) == 0
    assert problems(page) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert bright == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in(desk: Desk, open_page: OpenPage, scheme: str) -> None:
    """A wrong token is told so; the form is readable."""
    page = open_page(f"{desk.address}/dashboard/login", color_scheme=scheme)
    assert problems(page) == []
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the admin token")
    assert problems(page) == []
    page.complaints.clear()  # type: ignore[attr-defined]  # the 401 itself


def test_a_broken_stream_is_told(redis_url: str, open_page: OpenPage) -> None:
    """When the web process goes away, the page does not say that it is live."""
    settings = Settings(redis_url=redis_url, cron_tokens=(TOKEN,))
    celery_app = make_app(settings)
    with uvicorn_of(create_app(celery_app, settings, make_jobs())) as address:
        page = open_page(address)
        is_live(page)
    expect(page.locator("#live")).to_have_text("disconnected", timeout=10_000)
    page.complaints.clear()  # type: ignore[attr-defined]  # the broken connections
    celery_app.close()
