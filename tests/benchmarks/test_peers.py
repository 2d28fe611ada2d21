"""The peers of the benchmarks are who they say, and pinned; none is built here."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.lab import peers
from benchmarks.lab.peers import FOLDERS, PEERS, Peer, Unavailable
from benchmarks.lab.results import Plan

CONSTRAINTS = FOLDERS.parent.parent / "constraints.txt"
WRITTEN = sorted(FOLDERS.glob("*/requirements.txt"))
EXACT = re.compile(r"==[^*,]+")

every_peer = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
every_file = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.parent.name)


def lines(path: Path) -> list[str]:
    """What a requirements file says, without its comments."""
    stripped = [line.partition("#")[0].strip() for line in path.read_text().split("\n")]
    return [line for line in stripped if line]


def pins(path: Path) -> dict[str, str]:
    """Name -> version. Fails for a requirement without one exact version."""
    found: dict[str, str] = {}
    for line in lines(path):
        if not line.startswith("-"):
            wanted = Requirement(line)
            assert EXACT.fullmatch(str(wanted.specifier)), f"{path}: {line}"
            found[canonicalize_name(wanted.name)] = str(wanted.specifier)
    return found


def names(path: Path) -> set[str]:
    """What a module has at its top level."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.ImportFrom():
                found.update(alias.asname or alias.name for alias in node.names)
            case ast.Assign():
                found.update(t.id for t in node.targets if isinstance(t, ast.Name))
    return found


def test_every_folder_is_registered() -> None:
    """A peer without a folder, or a folder without a peer, is a mistake."""
    there = {path.parent.name for path in WRITTEN}
    assert {peer.folder for peer in PEERS.values()} == there
    assert {path.parent.name for path in FOLDERS.glob("*/app.py")} == there


@every_file
def test_requirements_are_pinned(path: Path) -> None:
    """Each has one exact version, or is this repository with its constraints."""
    wanted, options = pins(path), [x for x in lines(path) if x.startswith("-")]
    assert set(options) <= {"-c ../../../constraints.txt", "-e ../../.."}
    if "-e ../../.." in options:
        assert "-c ../../../constraints.txt" in options
    else:
        assert "redis" in wanted


@every_file
def test_pins_agree_with_our_own(path: Path) -> None:
    """A peer on our constraints runs the very versions that smartworker runs."""
    ours = pins(CONSTRAINTS)
    if any(line.startswith("-c") for line in lines(path)):
        wanted = pins(path)
        assert wanted == {name: ours.get(name) for name in wanted}


@every_peer
def test_app_has_what_is_asked_of_it(peer: Peer) -> None:
    """The driver's functions, and whatever the worker's command line names."""
    there = names(peer.directory / "app.py")
    named = re.findall(r"\bapp[.:](\w+)", " ".join(peer.worker))
    assert {"noop", "stamp", *named} <= there


@every_peer
def test_command_line_is_complete(peer: Peer) -> None:
    """Nothing is left to fill in, and the number of tasks at a time is given."""
    command = peer.command("bench,bench2", "w3")
    assert command[0] == "-m"
    assert not [word for word in command if "{" in word]
    said = (peer.directory / "app.py").read_text()
    assert "2" in command or "BENCH_CONCURRENCY" in said


@every_peer
def test_queues_reach_the_worker(peer: Peer) -> None:
    """On its command line, or by the environment that its app reads."""
    command = peer.command("bench,bench2", "w3")
    said = (peer.directory / "app.py").read_text()
    assert "bench,bench2" in command or "BENCH_QUEUES" in said


def test_celery_is_told_apart() -> None:
    """Stock flags and the frugal ones differ in nothing else."""
    stock = PEERS["celery"].command("bench", "w0")
    expected = "-m celery -A app worker -l INFO -n w0@bench -Q bench -c 2"
    assert " ".join(stock) == expected
    rest = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    assert PEERS["celery-frugal-1800"].command("bench", "w0") == stock + rest


def test_environment_is_the_peers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's settings of smartworker do not reach a peer, its own do."""
    monkeypatch.setenv("SMARTWORKER_QUIET_POLL", "1s")
    peer = PEERS["celery-frugal-30"]
    found = peer.environment("redis://h:1/0", tmp_path, "a,b", results=False)
    assert not [name for name in found if name.startswith("SMARTWORKER")]
    expected = {
        "BENCH_URL": "redis://h:1/0",
        "BENCH_NOTES": str(tmp_path),
        "BENCH_QUEUES": "a,b",
        "BENCH_RESULTS": "0",
        "BENCH_CONCURRENCY": "2",
        "BENCH_POLLING_INTERVAL": "30",
    }
    assert {name: found[name] for name in expected} == expected


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer that needs `python3.99`, where nothing has been built yet."""
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    return Peer("newer", "Newer", "rq", (), python="python3.99")


def test_missing_python_is_said(newer: Peer) -> None:
    """Such a peer is unavailable, with the reason, and the others are measured."""
    with pytest.raises(Unavailable, match=r"Newer needs python3\.99"):
        newer.interpreter()
    found = Plan((newer,)).each(lambda peer: pytest.fail("measured"))
    assert found == {
        "newer": {"unavailable": "Newer needs python3.99, which is not here"}
    }


def test_python_that_does_not_start_is_missing(newer: Peer, tmp_path: Path) -> None:
    """A version manager has a program of that name that only says it has none."""
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert subprocess.run([shim], check=False).returncode == 127
    with pytest.raises(Unavailable, match=r"python3\.99"):
        newer.interpreter()
