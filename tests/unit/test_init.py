"""What `smartworker init` is made of: names, quoting, times, and careful writing."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from smartworker.cli.init import init, read_home, read_name, read_python, read_user
from smartworker.cli.init_print import steps_of
from smartworker.cron.fields import read_fields
from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.deploy.patterns import moved
from smartworker.deploy.platforms import PLATFORMS, files_of, missing, warnings_of
from smartworker.deploy.project import Install, Project, install_of, name_of
from smartworker.deploy.quoting import (
    calendar,
    supervisor_command,
    systemd_command,
)
from smartworker.deploy.writing import File, NotWritten, write_all
from smartworker.errors import SettingsError

NOW = datetime(2027, 1, 1, tzinfo=UTC)
NEW_YORK = "America/New_York"
INSTALL = Install(("-r", "requirements.txt"), "requirements.txt")


def project(**changes: object) -> Project:
    """A project without jobs."""
    facts = {"name": "shop", "app": "shop:app", "jobs": (), "install": INSTALL}
    made = {**facts, "python": "3.13.9", "home": "/srv/shop", "user": "shop", **changes}
    return Project(**made)  # type: ignore[arg-type]


def job(schedule: str, **changes: object) -> Job:
    """A job with a schedule of New York."""
    facts = {"name": "sum", "task": "shop.add", "zone": NEW_YORK, **changes}
    return Job(schedule=Schedule(schedule, NEW_YORK), **facts)  # type: ignore[arg-type]


def file(path: str, text: str = "new\n") -> File:
    """One file to write."""
    return File(PurePosixPath(path), text)


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("shop:app", "shop"),
        ("my_shop.celery:app", "my-shop"),
        ("Config.main", "config"),
        ("_3d:app", "d"),
        ("\u5e97:app", "app"),
        ("a" * 40, "a" * 30),
        ("shop--x__y:app", "shop-x-y"),
        (None, "smartworker"),
    ],
)
def test_a_name_comes_from_the_module(app: str | None, name: str) -> None:
    """In letters that every platform takes; so `--name` takes it, too."""
    assert name_of(app) == name
    assert read_name(name) == name


@pytest.mark.parametrize(
    "text", ["my shop", "Shop", "3d", "-a", "a-", "a--b", "a" * 31]
)
def test_a_name_that_no_platform_takes(text: str) -> None:
    """It is refused with the rule."""
    with pytest.raises(ValueError, match="small letters"):
        read_name(text)


def test_users() -> None:
    """Linux takes names with underscores, which services may not have."""
    assert [read_user(name) for name in ("www-data", "_shop_1")]
    with pytest.raises(ValueError, match="no user"):
        read_user("my shop")


@pytest.mark.parametrize("text", ["3.13", "3.10.4", "latest", "3.13.x", "2.7.18"])
def test_a_version_that_is_none(text: str) -> None:
    """Render asks for the patch, and smartworker for 3.11."""
    with pytest.raises(ValueError, match=r"3\.13\.9"):
        read_python(text)
    assert read_python("3.11.0") == "3.11.0"


@pytest.mark.parametrize(
    "text", ["srv/shop", "", "/srv/a\nb", "/srv/a ;b", "/srv/a #b"]
)
def test_a_home_that_cannot_be_written_down(text: str) -> None:
    """A relative path, a line break, and what supervisor reads as a comment."""
    with pytest.raises(ValueError, match=r"path|comment"):
        read_home(text)
    assert read_home("/srv/my shop/") == "/srv/my shop"


def test_how_a_project_is_installed(tmp_path: Path) -> None:
    """By requirements.txt, else as a package, else smartworker alone."""
    assert install_of(tmp_path) == Install(("smartworker[web]",), None)
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert install_of(tmp_path).needs is None
    for table in ("[project]\nname = 'shop'\n", "[build-system]\n[tool.poetry]\n"):
        (tmp_path / "pyproject.toml").write_text(table)
        assert install_of(tmp_path) == Install((".", "smartworker[web]"), ".")
    (tmp_path / "requirements.txt").touch()
    assert install_of(tmp_path) == INSTALL


@pytest.mark.parametrize(
    ("line", "alone"),
    [
        ("celery>=5  # see docs/x", True),
        ("# -r base.txt", True),
        ("smartworker[web]==0.2.0", True),
        ("-r base.txt", False),
        ("--constraint=limits.txt", False),
        ("  -e .", False),
        (".[web]", False),
        ("vendor/shop-1.0-py3-none-any.whl", False),
    ],
)
def test_a_list_of_packages_that_needs_other_files(
    tmp_path: Path, line: str, alone: bool
) -> None:
    """Docker copies the whole project before it installs, and not the list alone."""
    (tmp_path / "requirements.txt").write_text(f"redis\n{line}\n")
    install = install_of(tmp_path)
    assert install.words == ("-r", "requirements.txt")
    assert install.needs == ("requirements.txt" if alone else ".")
    made = files_of(PLATFORMS["docker"], project(install=install), NOW)
    (dockerfile,) = [each.text for each in made if each.path.name == "Dockerfile"]
    copied = dockerfile[: dockerfile.index("RUN [")].rstrip().splitlines()[-1]
    assert copied == ("COPY requirements.txt ./" if alone else "COPY . .")


def test_words_for_systemd_and_supervisor() -> None:
    """Each is one word again, and what means something there is doubled."""
    words = ["/a $b/100%", 'say "$x"', "back\\slash", "plain-1:x"]
    assert systemd_command(words) == (
        '"/a $b/100%%" "say \\"$$x\\"" "back\\\\slash" plain-1:x'
    )
    read = supervisor_command(words) % {}
    assert shlex.split(read) == words


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 21 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 21:00:00 Europe/Berlin"]),
        ("*/30 8,9 1 6 *", ["*-06-01 08,09:00,30:00 Europe/Berlin"]),
        ("* * * * *", ["*-*-* *:*:00 Europe/Berlin"]),
        # Either day is meant, and in one line of systemd it would be both.
        (
            "5 4 1 * sun",
            ["*-*-01 04:05:00 Europe/Berlin", "Sun *-*-* 04:05:00 Europe/Berlin"],
        ),
    ],
)
def test_times_for_systemd(schedule: str, expected: list[str]) -> None:
    """A schedule as lines of OnCalendar=."""
    patterns, _ = moved(read_fields(schedule), [0])
    assert [calendar(each, "Europe/Berlin") for each in patterns] == expected


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [("*/30 * * * *", "UTC"), ("30 1 * * *", NEW_YORK), ("*/30 1-3 * * *", NEW_YORK)],
)
def test_a_timer_of_every_hour_is_in_utc(schedule: str, zone: str) -> None:
    """There no hour comes twice, of which systemd would leave one out."""
    made = files_of(PLATFORMS["systemd"], project(jobs=(job(schedule),)), NOW)
    (timer,) = [each.text for each in made if each.path.suffix == ".timer"]
    (line,) = [each for each in timer.splitlines() if each.startswith("OnCalendar")]
    assert line.split()[-1] == zone


def test_a_warning_of_calls_that_come_too_often() -> None:
    """Where the files make the calls, and the job does not refuse those."""
    loose = job("0 9 L * *", name="loose")
    strict = job("0 9 L * *", name="strict", only_when_due=True)
    found = {
        name: warnings_of(each, project(jobs=(loose, strict), cron=cron), NOW)
        for name, each in PLATFORMS.items()
        for cron in [name == "render"]
    }
    assert [name for name, warnings in found.items() if warnings] == [
        "render",
        "systemd",
    ]
    for name in ("render", "systemd"):
        (warning,) = found[name]
        assert warning.startswith("loose is called at times at which it is not due")
    assert warnings_of(PLATFORMS["render"], project(jobs=(loose,)), NOW) == []


def test_nothing_is_written_when_one_is_there(tmp_path: Path) -> None:
    """It says which, all of them; a link to nowhere counts, too."""
    (tmp_path / "b").write_text("mine")
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotWritten) as caught:
        write_all(tmp_path, [file("a"), file("b"), file("c")], force=False)
    said = str(caught.value)
    assert f"{tmp_path / 'b'} and {tmp_path / 'c'} are there already" in said
    assert "--force" in said
    assert caught.value.exit_status == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    assert (tmp_path / "b").read_text() == "mine"


def test_force_replaces(tmp_path: Path) -> None:
    """The link itself goes, and not what it led to."""
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    write_all(tmp_path, [file("a"), file("deep/er/b")], force=True)
    assert (tmp_path / "a").read_text() == "new\n"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "deep" / "er" / "b").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.parametrize("force", [False, True])
def test_all_or_nothing(tmp_path: Path, force: bool) -> None:
    """What cannot be written is named, nothing is half there, and nothing is left."""
    (tmp_path / "folder").touch()
    with pytest.raises(NotWritten, match=r"folder.b cannot be written: "):
        write_all(tmp_path, [file("a"), file("folder/b")], force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """Not even with force."""
    (tmp_path / "b" / "full").mkdir(parents=True)
    with pytest.raises(NotWritten, match="it is a folder"):
        write_all(tmp_path, [file("a"), file("b")], force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_project_keeps_its_own_choices(tmp_path: Path) -> None:
    """Its Python version, and its list of packages by whichever tool."""
    made = files_of(PLATFORMS["heroku"], project(install=Install(("x",), None)), NOW)
    names = {str(each.path) for each in made}
    assert names == {"Procfile", "app.json", ".python-version", "requirements.txt"}
    (tmp_path / "uv.lock").touch()
    (tmp_path / ".python-version").write_text("3.12\n")
    left = {str(each.path) for each in missing(made, tmp_path)}
    assert left == {"Procfile", "app.json"}


def test_without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SettingsError, match=r"install smartworker\[web\]"):
        files_of(PLATFORMS["render"], project(), NOW)


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize("single", [False, True])
def test_every_file_is_whole(name: str, single: bool) -> None:
    """No line ends in a blank, no two empty lines follow, one line break at the end."""
    for each in files_of(PLATFORMS[name], project(single=single, cron=True), NOW):
        lines = each.text.split("\n")
        assert lines[-1] == ""
        assert lines[-2] != ""
        assert [line for line in lines if line != line.rstrip()] == []
        assert "\n\n\n" not in each.text, each.path
        assert "{{" not in each.text
        assert "%}" not in each.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docker", "--name", "my shop"], "'my shop' is no name"),
        (["docker", "--region", "ohio"], "--region goes with render."),
        (["render", "--home", "/srv/x"], "--home goes with systemd or supervisor."),
        (["systemd", "--user", "me"], "--user goes with supervisor."),
        (["systemd", "--home", "srv"], "'srv' is no path"),
        (["kubernetes"], "'kubernetes' is not one of"),
        (["heroku", "--python", "3.9.1"], "'3.9.1' is no version"),
        (["docker", "--env", "A B"], "'A B' is no name"),
        (["docker", "--into", __file__], "is a file"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    """It names the value, with exit status 2."""
    done = CliRunner().invoke(init, words)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_next_steps(name: str) -> None:
    """They are sentences or commands of this project, which a shell reads as meant."""
    home = "/srv/my $hop"
    steps = steps_of(PLATFORMS[name], project(home=home, install=Install(("x",), None)))
    assert all("{" not in step for step in steps)
    commands = [step for step in steps if step.startswith(("sudo ", "docker ", "git "))]
    words = [word for step in commands for word in shlex.split(step)]
    assert not [word for word in words if word in {"$hop", "/srv/my"}]
    if name == "systemd":
        assert f"{home}/.venv/bin/smartworker" in words
        assert words[-2:] == ["shop-web", "shop-worker"]
    if name == "supervisor":
        script = next(word for word in words if word.startswith("set -a"))
        assert home in shlex.split(script.replace(";", " ; "))
    if name in {"render", "docker", "heroku"}:
        assert "requirements.txt" in steps[0]


@pytest.mark.parametrize("name", ["render", "docker", "heroku"])
def test_a_list_that_is_made_later_has_to_be_read(name: str) -> None:
    """The files name what is installed; Heroku's have the list with them."""
    step = steps_of(PLATFORMS[name], project(install=Install(("x",), None)))[0]
    assert ("--force" in step) is (name != "heroku")


def test_the_next_steps_for_the_jobs() -> None:
    """Something must call them, unless cron services or timers do, or none is due."""
    nightly = job("0 0 * * *")
    for name in ("render", "docker", "supervisor", "heroku"):
        assert "cron render" not in " ".join(steps_of(PLATFORMS[name], project()))
        steps = steps_of(PLATFORMS[name], project(jobs=(nightly,)))
        assert "cron render TARGET -A shop:app" in steps[-1]
    steps = steps_of(PLATFORMS["render"], project(jobs=(nightly,), cron=True))
    assert "by themselves" in steps[-1]
    steps = steps_of(PLATFORMS["systemd"], project(jobs=(nightly,)))
    assert "cron-header" in steps[2]
    assert steps[-1].endswith(" shop-cron@sum.timer")
    assert "cron" not in " ".join(steps_of(PLATFORMS["systemd"], project()))
