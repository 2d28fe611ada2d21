"""What `smartworker dev` decides before it starts anything."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartworker.cli import recipe
from smartworker.cli.recipe import PortTaken, choose_port, decide
from smartworker.errors import SettingsError

SCRATCH = Path("scratch")
OTHER_TASKS = {"SMARTWORKER_TASKS": "shop.tasks", "PORT": "0"}


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def names(environment: dict[str, str]) -> list[str]:
    """The parts that this environment asks for."""
    return [part.name for part in decide(environment, SCRATCH).parts]


def test_empty_environment_brings_everything() -> None:
    """Without any setting there are a server, a facility, a database and a token."""
    made = decide({"PORT": "0"}, SCRATCH)
    assert [part.name for part in made.parts] == ["swim facility", "worker", "web"]
    assert made.own_server
    assert len(made.environment["SMARTWORKER_CRON_TOKENS"]) >= 32
    assert made.environment["DATABASE_URL"] == "sqlite:///scratch/swim.sqlite3"
    assert made.environment["SMARTWORKER_LOG_FORMAT"] == "console"
    assert made.environment["PORT"] == str(made.port)


@pytest.mark.parametrize(
    "environment",
    [
        {"REDIS_URL": "redis://127.0.0.1/0"},
        {"UPSTASH_REDIS_HOST": "x.upstash.io", "UPSTASH_REDIS_PASSWORD": "secret"},
    ],
)
def test_given_server_is_used(environment: dict[str, str]) -> None:
    """A Redis in the environment means no server of our own."""
    made = decide({"PORT": "0", **environment}, SCRATCH)
    assert not made.own_server
    assert made.environment.items() >= environment.items()


def test_given_values_stay() -> None:
    """What the environment says is passed on as it is."""
    given = {
        "SMARTWORKER_LOG_FORMAT": "json",
        "DATABASE_URL": "sqlite:///mine",
        "SWIM_FACILITY_URL": "http://127.0.0.1:1",
    }
    assert decide({"PORT": "0", **given}, SCRATCH).environment.items() >= given.items()
    assert names({"PORT": "0", **given}) == ["worker", "web"]


def test_other_tasks_need_no_facility() -> None:
    """The swim example's parts come with the swim example only."""
    made = decide(OTHER_TASKS, SCRATCH)
    assert [part.name for part in made.parts] == ["worker", "web"]
    assert "DATABASE_URL" not in made.environment
    assert "/api/cron/<job>" in made.greeting()


def test_given_token_is_not_printed() -> None:
    """Only a token that was made for this run stands in the greeting."""
    token = "t" * 40
    made = decide({"PORT": "0", "SMARTWORKER_CRON_TOKENS": token}, SCRATCH)
    assert token not in made.greeting()
    assert "Bearer <token>" in made.greeting()


def test_made_token_is_printed() -> None:
    """The curl line works as it stands, with the token of this run."""
    made = decide({"PORT": "0"}, SCRATCH)
    token = made.environment["SMARTWORKER_CRON_TOKENS"]
    assert f"'Authorization: Bearer {token}' {made.address}/api/" in made.greeting()
    assert made.greeting().count("  curl ") == 3


def test_wrong_setting_is_refused() -> None:
    """A wrong value stops the start before anything runs."""
    with pytest.raises(SettingsError, match="SMARTWORKER_QUIET_POLL"):
        decide({"SMARTWORKER_QUIET_POLL": "soon"}, SCRATCH)


def test_busy_usual_port_moves(busy_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for the usual port, so another one is taken and told."""
    monkeypatch.setattr(recipe, "USUAL_PORT", busy_port)
    made = decide({}, SCRATCH)
    assert made.port != busy_port
    assert f"Port {busy_port} is in use" in made.greeting()


def test_busy_port_that_was_asked_for_is_refused(busy_port: int) -> None:
    """A port that was asked for is never exchanged for another."""
    with pytest.raises(PortTaken, match=f"PORT is {busy_port}"):
        choose_port(busy_port)
