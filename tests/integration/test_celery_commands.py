"""`celery -A shop smartworker ...`: our commands below Celery's own program."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.commands import environment
from tests.integration.conftest import StartWorker

CELERY = str(Path(sys.executable).with_name("celery"))
NOWHERE = "redis://127.0.0.1:1/0"
SHOP = """
from celery import Celery
import smartworker

jobs = smartworker.Jobs()
jobs.declare("tea", "shop.tea", schedule="0 16 * * *")
app = smartworker.setup(Celery("shop"), jobs=jobs)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the module `shop`."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def celery(url: str, home: Path, *words: str, status: int = 0, **extra: str) -> Any:
    """What Celery's program did in a directory; it ended with this status."""
    done = subprocess.run(
        [CELERY, *words],
        env=environment(url, **extra),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def test_the_app_is_named_once(redis_url: str, home: Path) -> None:
    """`-A shop` stands before our name, and each command works on that app."""
    words = ("-A", "shop", "smartworker", "jobs", "--json")
    (job,) = json.loads(celery(redis_url, home, *words).stdout)
    assert job["name"] == "tea"
    doctor = celery(redis_url, home, "-A", "shop", "smartworker", "doctor", status=3)
    assert "shop.app" not in doctor.stderr


def test_a_command_below_a_command(redis_url: str, home: Path) -> None:
    """`cron render` and `dead list` have the app, too."""
    render = ("cron", "render", "crontab", "--url", "https://shop.example")
    done = celery(redis_url, home, "-A", "shop", "smartworker", *render)
    assert "https://shop.example/api/cron/tea" in done.stdout
    letters = ("-A", "shop", "smartworker", "dead", "list", "--json")
    assert json.loads(celery(redis_url, home, *letters).stdout) == []


def test_what_is_written_last_wins(redis_url: str, home: Path) -> None:
    """Our own -A, where somebody writes both; the variable APP is Celery's -A."""
    (home / "other.py").write_text(SHOP.replace("tea", "milk"))
    words = ("smartworker", "jobs", "--offline", "--json")
    (job,) = json.loads(
        celery(redis_url, home, "-A", "shop", *words, "-A", "other").stdout
    )
    assert job["name"] == "milk"
    (job,) = json.loads(celery(redis_url, home, *words, APP="shop").stdout)
    assert job["name"] == "tea"


def test_a_worker_is_asked(redis_url: str, start_worker: StartWorker) -> None:
    """`status` and `active` hear the worker that `celery -A project worker` is."""
    start_worker("-P", "solo", "-n", "till@here")
    words = ("-A", "project", "smartworker")
    for command in ("status", "active"):
        said = celery(redis_url, Path(__file__).parent, *words, command, "--json")
        assert "till@here" in said.stdout
        assert json.loads(said.stdout)


def test_the_broker_is_the_one_of_the_app(redis_url: str, home: Path) -> None:
    """Where the code names it, REDIS_URL is not asked."""
    named = f'Celery("shop", broker="{redis_url}", backend="{redis_url}")'
    (home / "shop.py").write_text(SHOP.replace('Celery("shop")', named))
    words = ("-A", "shop", "smartworker", "status", "--timeout", "0.2")
    done = celery(NOWHERE, home, *words, status=1)
    assert done.stderr.startswith("smartworker: No worker answered")


def test_errors_are_one_sentence(home: Path) -> None:
    """With the same exit statuses as without Celery."""
    away = celery(NOWHERE, home, "-A", "shop", "smartworker", "jobs", status=69)
    assert away.stderr.startswith("smartworker: Redis at 127.0.0.1:1 cannot be reached")
    words = ("smartworker", "jobs", "-A", "nowhere")
    wrong = celery(NOWHERE, home, *words, status=78)
    assert wrong.stderr.startswith("smartworker: There is no Celery app at 'nowhere'")
    assert len(away.stderr.splitlines()) == len(wrong.stderr.splitlines()) == 1
    celery(NOWHERE, home, "-A", "shop", "smartworker", "jobs", "--nonsense", status=2)


def test_workers_are_started_by_celery(home: Path) -> None:
    """There is no second way to start one, and none that forgets the app."""
    for name in ("worker", "dev"):
        done = celery(NOWHERE, home, "-A", "shop", "smartworker", name, status=2)
        assert f"No such command '{name}'" in done.stderr


def test_celery_lists_us_and_loads_nothing(home: Path) -> None:
    """`celery --help` has one line of ours, and it costs none of our libraries."""
    said = celery(NOWHERE, home, "--help").stdout
    assert "  smartworker  Ask and steer" in said
    assert "could not be loaded" not in said
    code = (
        "import sys, celery.bin.celery\n"
        "assert 'smartworker.cli.main' in sys.modules\n"
        "print(*sorted(name for name in sys.modules if name.startswith(\n"
        "    ('smartworker', 'rich', 'structlog', 'fastapi'))))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert set(loaded.stdout.split()) == {
        "smartworker",
        "smartworker.cli",
        "smartworker.cli.main",
        "smartworker.errors",
    }


def test_an_unreadable_redis_is_refused_in_one_sentence(
    redis_url: str, home: Path
) -> None:
    """A password that is wrong is status 78, as in our own program."""
    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser(
            "clerk", enabled=True, passwords=["+right"], commands=["+@all"]
        )
    url = redis_url.replace("redis://", "redis://clerk:wrong@")
    done = celery(url, home, "-A", "shop", "smartworker", "jobs", status=78)
    assert len(done.stderr.splitlines()) == 1
