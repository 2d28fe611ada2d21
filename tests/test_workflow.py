"""The workflow runs what a developer runs, on each Python and server that we name."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from smartworker.store.server import valkey_binary

PROJECT = Path(__file__).parent.parent
WORKFLOW = PROJECT / ".github/workflows/ci.yml"
TEXT = WORKFLOW.read_text("utf-8")
JOBS: dict[str, Any] = yaml.safe_load(TEXT)["jobs"]
STEPS: list[dict[str, Any]] = [step for job in JOBS.values() for step in job["steps"]]
ROWS: list[dict[str, str]] = JOBS["suite"]["strategy"]["matrix"]["include"]
METADATA: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SERVERS = [
    line.split()[0]
    for line in (PROJECT / ".ci/servers").read_text().splitlines()
    if not line.startswith("#")
]


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """What the schema of GitHub's workflows says of a file."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.github-workflows", str(path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_schema_accepts_it(tmp_path: Path) -> None:
    """And it refuses a misspelling, so it looks."""
    done = checked(WORKFLOW)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "ci.yml"
    broken.write_text(TEXT.replace("runs-on:", "run-on:"))
    assert checked(broken).returncode == 1


def test_actions_are_pinned() -> None:
    """By the whole commit, and the version is beside it for the reader."""
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    for action in used:
        pin = rf"{re.escape(action)} # v\d+\.\d+\.\d+$"
        assert re.search("@[0-9a-f]{40}$", action), action
        assert re.search(pin, TEXT, re.MULTILINE), action


def test_it_may_only_read() -> None:
    """No secret, no right to write, no run that lasts for hours."""
    assert yaml.safe_load(TEXT)["permissions"] == {"contents": "read"}
    assert "secrets" not in TEXT
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())
    assert not any("permissions" in job for job in JOBS.values())


def test_it_runs_nothing_else() -> None:
    """One command, and the two words that a developer would set as well."""
    runs = [step for step in STEPS if "run" in step]
    assert [step["run"] for step in runs] == [".ci/run"] * len(JOBS)
    for step in runs:
        assert step["env"] == {
            "PYTHON": "python${{ matrix.python }}",
            "SERVER": "${{ matrix.server }}",
        }
    assert all(word in (PROJECT / ".ci/run").read_text() for word in step["env"])


def test_the_version_before_is_there() -> None:
    """The tests of upgrades build it, so the history must be whole."""
    checkouts = [s for s in STEPS if s.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["fetch-depth"] for step in checkouts] == [0] * len(JOBS)


def test_every_python_that_we_name() -> None:
    """As the classifiers say, the oldest being the one that pip asks for."""
    project = METADATA["project"]
    named = [
        found[1]
        for line in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert [row["python"] for row in ROWS if "server" not in row] == named
    allowed = SpecifierSet(project["requires-python"])
    assert all(version in allowed for version in named)
    assert f"3.{int(named[0].removeprefix('3.')) - 1}" not in allowed


def test_every_server_that_we_name() -> None:
    """As the table of .ci says, and the page for users."""
    rows = [row for row in ROWS if "server" in row]
    assert [row["server"] for row in rows] == SERVERS
    assert len({row["python"] for row in rows}) == 1
    page = " ".join((PROJECT / "docs/install.md").read_text("utf-8").split())
    (said,) = re.findall(r"The tests run on ([^.]+(?:\.\d[^.]*)*)\.", page)
    for server in SERVERS:
        kind, _, version = server.partition(":")
        assert re.search(rf"{kind.title()} [^A-Z]*\b{re.escape(version)}\b", said), said


def server(*words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """`.ci/server`, with these folders before all others."""
    return subprocess.run(
        ["bash", str(PROJECT / ".ci/server"), *words],
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_file_on_one_server() -> None:
    """The line of CONTRIBUTING.md, with a server that is here: all is run on that."""
    page = (PROJECT / "CONTRIBUTING.md").read_text("utf-8")
    (line,) = re.findall(r"^\$ (TEST_SERVER=.+)$", page, re.MULTILINE)
    line = line.replace(" redis:6.2)", f" {quote(str(valkey_binary()))})")
    line = line.replace(".venv/bin/pytest", f"{quote(sys.executable)} -m pytest -v")
    done = subprocess.run(
        ["bash", "-c", line], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "[chosen] PASSED" in done.stdout
    assert "[valkey]" not in done.stdout


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("redis:5", f"SERVER=redis:5 is not known. There are: {' '.join(SERVERS)}\n"),
        ("redis", "SERVER=redis is not known."),
        ("r.dis:8", "SERVER=r.dis:8 is not known."),
        ("/no/where", "SERVER=/no/where is no program"),
    ],
)
def test_a_server_that_is_not_there(asked: str, sentence: str) -> None:
    """One sentence with the ones that there are, and no path."""
    done = server(asked)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)


def test_a_server_by_its_path() -> None:
    """For one that no wheel brings."""
    program = shutil.which("sh")
    assert server(str(program)).stdout.strip() == os.path.realpath(str(program))


@pytest.mark.parametrize(
    ("version", "status"), [("7.4.1", 0), ("8.0.2", 1), ("70.1.0", 1)]
)
def test_the_server_of_the_system_has_the_asked_version(
    tmp_path: Path, version: str, status: int
) -> None:
    """Redis 7 is the system's, and another system has another one."""
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0'\n")
    program.chmod(0o755)
    done = server("redis:7", path=str(tmp_path))
    assert done.returncode == status
    assert done.stdout == ("" if status else f"{program}\n")
    assert (f"is Redis server v={version}" in done.stderr) == bool(status)
