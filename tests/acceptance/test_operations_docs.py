"""docs/operations.md: its commands are typed, its promises tried, its figures held."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from smartworker.durations import format_duration
from smartworker.events import EVENTS
from smartworker.settings import LONGEST_POLL, SHORTEST_POLL, Settings
from smartworker.store import dead, runs
from smartworker.store.server import free_port
from smartworker.web import bodies, serve
from smartworker.worker import results
from tests.pages import commands, page
from tests.programs import program
from tests.shells import fetch, run, running, stop

PAGE = page("docs/operations.md")
OLD, NEW = "o" * 40, "n" * 40
PROCESSES = ("smartworker worker", "smartworker web")
SERVES = "startup complete"
#: Besides 0: a server without a disk is critical, and its alarm stands in the log.
STATUSES = {"smartworker doctor": {0, 1, 3}, "smartworker review": {0, 1}}


def settings(url: str, home: Path, tokens: str = OLD) -> dict[str, str]:
    """Those of both processes."""
    return {
        "REDIS_URL": url,
        "PORT": str(free_port()),
        "SMARTWORKER_CRON_TOKENS": tokens,
        "SMARTWORKER_STATE_DIR": str(home / "state"),
    }


def asked() -> list[str]:
    """The commands in the table of questions."""
    section = PAGE.partition("## Looking")[2].partition("## ")[0]
    return re.findall(r"`(smartworker .+?)`", section.partition("\n\nLet ")[0])


@pytest.mark.slow
def test_a_day(redis_url: str, tmp_path: Path) -> None:
    """Both processes start and stop as it says, and every command answers meanwhile."""
    ours = settings(redis_url, tmp_path)
    start, serve_it = PROCESSES
    with (
        running(start, tmp_path, "worker.log", until="worker_ready", **ours) as worker,
        running(serve_it, tmp_path, "web.log", until=SERVES, **ours) as web,
    ):
        lines = {*asked(), *commands(PAGE)} - {*PROCESSES}
        # They mostly wait: for an import, or for an answer.
        with ThreadPoolExecutor(4) as pool:
            ended = pool.map(lambda line: run(line, tmp_path, **ours), lines)
            for line, done in zip(lines, ended, strict=True):
                name = " ".join(line.split()[:2])
                assert done.returncode in STATUSES.get(name, {0}), (line, done)
                assert done.stdout, line
        assert (stop(web), stop(worker)) == (-signal.SIGTERM, 0)
    assert 128 + signal.SIGTERM == 143
    assert "| 143," in PAGE


@pytest.mark.slow
def test_a_token_is_replaced(redis_url: str, tmp_path: Path) -> None:
    """With both in the settings both are taken; afterwards the old one is refused."""
    program("curl")
    taken = []
    for tokens in (f"{NEW},{OLD}", NEW):
        ours = settings(redis_url, tmp_path, tokens)
        url = f"http://127.0.0.1:{ours['PORT']}"
        log = f"web.{len(taken)}"
        with running("smartworker web", tmp_path, log, until=SERVES, **ours):
            for token in (OLD, NEW):
                bearer = f"Authorization: Bearer {token}"
                status = ("-o", str(tmp_path / "body"), "-w", "%{http_code}")
                taken.append(fetch("-H", bearer, *status, f"{url}/api/jobs"))
    assert taken == ["200", "200", "401", "200"]
    assert "trigger_refused" in EVENTS


def test_the_events_exist() -> None:
    """What is worth an alarm stands in the table of events."""
    section = PAGE.partition("Log lines worth an alarm")[2].partition("\n## ")[0]
    names = re.findall(r"`([a-z_]+)`", section)
    assert len(names) == 8
    assert set(names) <= set(EVENTS)


def test_the_limits() -> None:
    """Each figure is that of the code."""
    plain = Settings()
    longest = timedelta(hours=int(LONGEST_POLL.total_seconds() // 3600))
    assert (format_duration(SHORTEST_POLL), longest) == ("1s", timedelta(hours=24))
    for words in (
        "| 1 s to 24 h |",
        f"| {results.LARGEST // 10**6} MB,",
        f"| {bodies.LARGEST_BODY // 1024} KB, {bodies.MOST_KEYS} members, "
        f"{bodies.DEEPEST} levels |",
        f"| {serve.MOST_CONNECTIONS:,} |",
        f"gives open requests {serve.STOP_SECONDS} s",
        f"| {plain.trigger_limit:,} (`SMARTWORKER_TRIGGER_LIMIT`) |",
        f"| {plain.max_deliveries} (`SMARTWORKER_MAX_DELIVERIES`) |",
        f"| {dead.MOST:,}, {dead.OLDEST.days} days |",
        f"| {runs.KEPT} runs of a job |",
    ):
        assert words in PAGE, words
