"""How `smartworker worker` and `smartworker web` read what they are given."""

import click
import pytest
from click.testing import CliRunner

from smartworker.cli.main import main
from smartworker.cli.run import take_options
from smartworker.cron.registry import jobs_module, load_jobs
from smartworker.errors import SettingsError


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


def test_flags_are_ours() -> None:
    """They take no value, wherever they stand."""
    words = ("-c", "2", "--no-doctor", "-Q", "a")
    assert take_options(words) == (
        {"no_doctor": "--no-doctor"},
        ["-c", "2", "-Q", "a"],
    )


def test_the_help_of_the_worker() -> None:
    """Ours, the plan's and Celery's options, examples, and what a status means."""
    result = CliRunner().invoke(main, ["worker", "-c", "2", "--help"])
    assert result.exit_code == 0
    text = result.output
    assert text.startswith("Usage: main worker [-A MODULE:APP] [OPTIONS]\n")
    for words in (
        "--no-doctor",
        "--quiet-poll",
        "-Q, --queues",
        "Pool Options:",
        "(e.g., 'w1@%h')",
        "smartworker worker -A shop",
        "Exit statuses: 0 stopped",
    ):
        assert words in text
    assert "celery --app=proj" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_app_without_name_is_wrong_usage() -> None:
    """A forgotten name is told as click tells it."""
    with pytest.raises(click.UsageError, match="-A"):
        take_options(("-A",))


def test_missing_app_is_one_sentence() -> None:
    """An app that is not there is a wrong setting, without a traceback."""
    result = CliRunner().invoke(main, ["worker", "-A", "nowhere:app"])
    assert result.exit_code == 78
    assert result.output == (
        "smartworker: There is no Celery app at 'nowhere:app': "
        "No module named 'nowhere'; write -A MODULE or -A MODULE:APP, such as "
        "-A shop:app.\n"
    )


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
