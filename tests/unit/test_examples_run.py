"""What an example starts and says, and how its web process is found."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from flask import Flask

from smartworker.cli.recipe import Part, Recipe
from smartworker.examples import run as run_module
from smartworker.examples.run import ONE_WORKER, decide, run
from smartworker.examples.serve import load, main

SCRATCH = Path("scratch")
GREETING = "\n$address $token {kept} $5\n"


def made(environment: dict[str, str] | None = None, **options: Any) -> Recipe:
    """What is started for the example `shop`."""
    chosen = {
        "greeting": GREETING,
        "parts": (),
        "workers": ONE_WORKER,
        "web": "shop.web:app",
    } | options
    return decide("shop", {"PORT": "0", **(environment or {})}, SCRATCH, **chosen)


def test_the_parts_of_an_example() -> None:
    """Its own servers first, then its workers, then its web process."""
    facility = Part("facility", ("shop.facility",), backing=True, port=8100)
    workers = {"worker": ("-P", "solo"), "mail worker": ("-Q", "email")}
    recipe = made(parts=(facility,), workers=workers)
    names = [part.name for part in recipe.parts]
    assert names == ["facility", "worker", "mail worker", "web"]
    _, worker, mail, web = (" ".join(part.command) for part in recipe.parts)
    assert "-A smartworker.examples.shop.app" in worker
    assert worker.endswith("-P solo")
    assert "-n mail-worker@%h" in mail
    assert web == f"smartworker.examples.serve shop.web:app --port {recipe.port}"
    assert len(set(recipe.ready_files)) == 2
    assert all(str(path) in worker + mail for path in recipe.ready_files)


def test_the_environment_of_an_example() -> None:
    """A database and a token are made; what is given stays."""
    plain = made().environment
    assert plain["DATABASE_URL"] == "sqlite:///scratch/shop.sqlite3"
    assert len(plain["SMARTWORKER_CRON_TOKENS"]) >= 32
    assert made().own_server
    given = {"DATABASE_URL": "sqlite:///mine", "REDIS_URL": "redis://127.0.0.1/0"}
    assert made(given).environment.items() >= given.items()
    assert not made(given).own_server


def test_the_greeting_of_an_example() -> None:
    """Address and token are filled in, and braces and dollars stay as they are."""
    recipe = made()
    token = recipe.environment["SMARTWORKER_CRON_TOKENS"]
    assert recipe.greeting().strip() == f"{recipe.address} {token} {{kept}} $5"
    hidden = made({"SMARTWORKER_CRON_TOKENS": "t" * 40}).greeting()
    assert "<token>" in hidden


def test_a_wrong_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example exits with the status of the error, and starts nothing."""
    monkeypatch.setenv("SMARTWORKER_QUIET_POLL", "soon")
    with pytest.raises(SystemExit) as left:
        run("shop", greeting=GREETING)
    assert left.value.code == 78
    assert capsys.readouterr().err.startswith("shop: SMARTWORKER_QUIET_POLL")


def test_what_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's own values are for what the environment does not say."""
    seen: list[Recipe] = []
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("SHOP_COLOUR", "red")
    monkeypatch.setattr(run_module, "together", lambda make: seen.append(make(SCRATCH)))
    run("shop", greeting=GREETING, environment={"SHOP_COLOUR": "blue", "SHOP": "1"})
    assert seen[0].environment["SHOP_COLOUR"] == "red"
    assert seen[0].environment["SHOP"] == "1"
    assert seen[0].parts[-1].command[1] == "smartworker.examples.shop.web:app"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with a Flask application and something else."""
    module = ModuleType("shop_of_this_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_flask_is_served_as_asgi(shop: Any) -> None:
    """Any other application is taken for ASGI and left as it is."""
    shop.app, shop.other = Flask("shop"), object()
    assert isinstance(load("shop_of_this_test"), WSGIMiddleware)
    assert load("shop_of_this_test:other") is shop.other


def test_a_port_that_cannot_be_opened_is_one_sentence(
    shop: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the ready-made web process."""
    shop.app = object()
    monkeypatch.setattr("smartworker.examples.serve.logs.configure", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        main(["shop_of_this_test:app", "--host", "192.0.2.1", "--port", "9"])
    assert left.value.code == 78
    assert "cannot be opened" in capsys.readouterr().err


def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the base package alone, before anything starts."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as ended:
        run("swim", greeting=GREETING)
    assert ended.value.code == 78
    assert capsys.readouterr().err == (
        "swim: The examples need uvicorn: install smartworker[dev,postgres].\n"
    )
