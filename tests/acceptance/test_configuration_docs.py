"""docs/configuration.md: its table is that of the settings, its commands are run."""

import importlib.util
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smartworker.durations import format_duration
from smartworker.environment import Variable
from smartworker.policy import lease_for
from smartworker.settings import LONGEST_QUIET_POLL, Settings, parse_windows
from smartworker.variables import VARIABLES
from tests.commands import run_command

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "configuration.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)
URL = "redis://127.0.0.1:6379/0"


def by_name(variable: Variable) -> str:
    """As it is shown in failures."""
    return variable.name


every_variable = pytest.mark.parametrize("variable", VARIABLES, ids=by_name)


def written() -> Any:
    """The script that writes the table."""
    path = DOCS / "configuration_table.py"
    spec = importlib.util.spec_from_file_location("configuration_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_settings() -> None:
    """Every variable; `python docs/configuration_table.py` writes it anew."""
    assert written().renewed(PAGE) == PAGE


@every_variable
def test_a_default_is_the_real_one(variable: Variable) -> None:
    """What stands in the table is what holds where nobody sets anything."""
    plain = Settings()
    if variable.name == "SMARTWORKER_TIMEZONE":
        assert plain.timezone == variable.default
    elif variable.name == "SMARTWORKER_WINDOWS":
        assert plain.windows == parse_windows(variable.default, plain.timezone)
    elif variable.name == "UPSTASH_REDIS_PORT":
        parts = {"UPSTASH_REDIS_HOST": "h", "UPSTASH_REDIS_PASSWORD": "p"}
        url = Settings.from_environment(parts).redis_url
        assert url == f"rediss://default:p@h:{variable.default}/0"
    elif variable.default:
        assert variable.parse(variable.default) == getattr(plain, variable.attribute)
    elif variable.attribute:
        assert not getattr(plain, variable.attribute)


@every_variable
def test_a_meaning_names_every_choice(variable: Variable) -> None:
    """One line, in which each word stands that the setting takes."""
    assert variable.meaning
    assert "|" not in variable.meaning + variable.unset
    _, takes_words, words = variable.allowed.partition("allowed is ")
    if takes_words:
        told = variable.meaning + f"`{variable.default}`"
        for word in re.findall(r"\b(?!or\b)[a-z]+", words):
            assert f"`{word}`" in told, word


def test_defaults_in_words() -> None:
    """What no value says is what the code does."""
    told = {variable.name: variable.unset for variable in VARIABLES}
    longest = format_duration(LONGEST_QUIET_POLL)
    assert told["SMARTWORKER_LONGEST_QUIET_POLL"].startswith(longest)
    assert told["SMARTWORKER_LEASE"] == "ten polls, 5 to 15 minutes"
    lengths = [lease_for(timedelta(seconds=n)) for n in (1, 60, 86_400)]
    assert lengths == [timedelta(minutes=n) for n in (5, 10, 15)]


def test_the_help_names_every_variable() -> None:
    """Whoever asks `smartworker --help` learns what can be set."""
    told = run_command(URL, "--help").stdout
    section = told.partition("environment variables:")[2].partition("Exit")[0]
    names = re.findall(r"[A-Z_]+", section)
    assert names == [variable.name for variable in VARIABLES]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(command: str) -> None:
    """No server is needed."""
    done = run_command(URL, *shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_way_to_write_a_window() -> None:
    """Each row of the table is a span that is taken."""
    section = PAGE.partition("## Windows")[2].partition("## In code")[0]
    spans = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(spans) == 5
    for span in spans:
        (read,) = Settings.from_environment({"SMARTWORKER_WINDOWS": span}).windows.spans
        when, _, zone = read.name.partition("@")
        assert span.removesuffix(f"@{zone}") == f"{when}={format_duration(read.poll)}"


def test_the_snippet() -> None:
    """It makes an app with these settings, and asks no server."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(snippet, "docs/configuration.md", "exec"), scope)  # noqa: S102 - ours
    assert scope["app"].smartworker.quiet_poll == timedelta(hours=1)
    assert scope["app"].conf.broker_url == URL
