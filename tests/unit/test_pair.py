"""What `smartworker web --with-worker` decides before it starts anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from smartworker.cli.pair import decide_pair
from smartworker.cli.recipe import Recipe
from smartworker.cli.run import take_options
from smartworker.cli.web import web

SCRATCH = Path("scratch")


def pair(*options: str, looks: bool = True) -> Recipe:
    """The two processes for these options of the worker."""
    return decide_pair(
        {"PORT": "1"}, SCRATCH, app="shop", host="::1", options=options, looks=looks
    )


def words(recipe: Recipe) -> dict[str, list[str]]:
    """The command line of each, by its name."""
    return {part.name: list(part.command) for part in recipe.parts}


def test_both_get_the_app_and_the_environment() -> None:
    """Neither has other settings than if it were alone, and nothing else is started."""
    recipe = pair()
    assert recipe.environment == {"PORT": "1"}
    line = " ".join(words(recipe)["web"])
    assert line.endswith(" web -A shop --host ::1 --no-doctor")
    assert words(recipe)["worker"][1:4] == ["worker", "-A", "shop"]
    assert (recipe.own_server, recipe.text, recipe.unhurried) == (False, "", True)


def test_given_options_win() -> None:
    """Celery takes the last word, and ours come first."""
    line = words(pair("-c", "1", "-Qmail"))["worker"]
    assert line.index("2") < line.index("1")
    assert line[-3:] == ["-c", "1", "-Qmail"]


def test_the_worker_notes_that_it_stops() -> None:
    """Where the group looks, so that a signal for all is not taken for two."""
    (note,) = [part.note for part in pair().parts if part.note]
    ours, _ = take_options(tuple(words(pair())["worker"]))
    assert ours["ready_file"] == str(note)


def test_one_looks_for_both() -> None:
    """The doctor speaks once, and not at all if it is not asked."""
    silent = [line for line in words(pair()).values() if "--no-doctor" in line]
    assert silent == [words(pair())["web"]]
    assert all("--no-doctor" in line for line in words(pair(looks=False)).values())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--with-worker", "--", "-A", "other"), "'-A' is for both"),
        (("--with-worker", "--", "--app=other"), "'--app=other' is for both"),
        (("--", "-c", "1"), "'-c' is for a worker, which comes with --with-worker."),
    ],
)
def test_wrong_usage(options: tuple[str, ...], complaint: str) -> None:
    """What does not fit together is refused before anything starts."""
    done = CliRunner().invoke(web, ["-A", "shop", *options])
    assert done.exit_code == 2
    assert complaint in done.output
