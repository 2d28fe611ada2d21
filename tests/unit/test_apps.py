"""An app that is named on a command line: found, or one sentence that helps."""

from pathlib import Path

import pytest

from smartworker.cli.apps import find
from smartworker.errors import JobError, SettingsError

MISSPELLED = """
import smartworker
jobs = smartworker.Jobs()
jobs.declare("report", "shop.report", schedul="0 6 * * *")
"""
SUN = "from celery.exceptions import ImproperlyConfigured as E\nraise E('no\\nsun')\n"
ADVICE = "; write -A MODULE or -A MODULE:APP, such as -A shop:app."


def made(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    """The name of a module with this text."""
    (directory / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(directory))
    return name


def sentence(name: str) -> str:
    """What is said of an app that is not there."""
    with pytest.raises(SettingsError) as raised:
        find(name)
    return str(raised.value)


def test_a_misspelled_option_is_our_own_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kombu puts its own ValueError around it, which would be a traceback."""
    name = made(tmp_path, monkeypatch, "misspelled_jobs", MISSPELLED)
    with pytest.raises(JobError, match="did you mean 'schedule'") as raised:
        find(f"{name}:app")
    assert raised.value.exit_status == 78


def test_other_errors_are_those_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ValueError of somebody else stays what it is."""
    name = made(tmp_path, monkeypatch, "of_somebody", "raise ValueError('boom')\n")
    with pytest.raises(ValueError, match="boom"):
        find(name)


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module, the attribute, or what the module needs: each is named."""
    assert sentence("nowhere").endswith(f"No module named 'nowhere'{ADVICE}")
    assert sentence("no.where:app").endswith(f"No module named 'no'{ADVICE}")
    assert sentence("json:nothing").endswith(f"'json' has no 'nothing'{ADVICE}")
    assert sentence("json").endswith(f"'json' has no attribute 'celery'{ADVICE}")
    needy = made(tmp_path, monkeypatch, "needy", "import what_it_needs\n")
    assert sentence(needy).endswith("'needy': No module named 'what_it_needs'.")
    sunny = made(tmp_path, monkeypatch, "sunny", SUN)
    assert sentence(sunny) == "There is no Celery app at 'sunny': no."
