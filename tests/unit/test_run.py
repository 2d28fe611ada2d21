"""How `smartworker worker` and `smartworker web` read what they are given."""

import click
import pytest

from smartworker.cli.run import jobs_module, load_jobs, secrets_of, take_options
from smartworker.errors import SettingsError
from smartworker.settings import Settings


def test_celery_options_pass_untouched() -> None:
    """Everything that is not ours reaches Celery in its order."""
    words = ("-c", "2", "-Ofair", "-QA,B", "-P", "threads", "--loglevel=info")
    assert take_options(words) == ({}, list(words))


@pytest.mark.parametrize(
    "words", [("-A", "shop:app"), ("--app", "shop:app"), ("--app=shop:app",)]
)
def test_app_is_ours(words: tuple[str, ...]) -> None:
    """The app can be named in each way that Celery knows, at any place."""
    assert take_options(("-c", "2", *words)) == ({"app": "shop:app"}, ["-c", "2"])


def test_app_without_name_is_wrong_usage() -> None:
    """A forgotten name is told as click tells it."""
    with pytest.raises(click.UsageError, match="-A"):
        take_options(("-A",))


def test_swim_jobs_are_found() -> None:
    """The module `jobs` beside the tasks declares the jobs, once."""
    tasks = "smartworker.examples.swim.tasks"
    jobs = load_jobs([tasks, "smartworker.examples.swim.auto_book"])
    assert "schedule-swim-lanes" in jobs


def test_module_without_sibling_is_its_own() -> None:
    """A tasks module alone declares its jobs itself, or has none."""
    assert jobs_module("smartworker.clock") == "smartworker.clock"
    assert len(load_jobs(["smartworker.clock"])) == 0


def test_missing_tasks_module_is_one_sentence() -> None:
    """A misspelled module is a wrong setting, not a traceback."""
    with pytest.raises(SettingsError, match=r"nowhere\.tasks"):
        load_jobs(["nowhere.tasks"])


def test_secrets_are_collected() -> None:
    """Passwords are taken out of URLs, tokens lose the name of their job."""
    settings = Settings(
        redis_url="redis://:pass%40word@127.0.0.1/0",
        cron_tokens=("job:" + "t" * 40,),
        admin_token="a" * 40,
        database_url="postgresql://user:dbpass@127.0.0.1/x",
    )
    assert secrets_of(settings) == {"pass@word", "t" * 40, "a" * 40, "dbpass"}
