"""The page docs/review.md: its commands are run, its table is complete."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smartworker.review import reasons
from tests.commands import environment
from tests.log_lines import MIDNIGHT, day_of, run

PAGE = Path(__file__).parents[2] / "docs" / "review.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", TEXT, re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """Logs under the names that the page uses."""
    (tmp_path / "worker.log").write_bytes(b"\n".join(day_of()))
    (tmp_path / "web.log").write_bytes(b"\n".join(run(MIDNIGHT, "1")))
    wrapped = {"message": day_of()[0].decode(), "labels": []}
    (tmp_path / "export.json").write_text(json.dumps(wrapped))
    (tmp_path / "logs").mkdir()
    packed = gzip.compress(b"\n".join(day_of()))
    (tmp_path / "logs" / "worker.gz").write_bytes(packed)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(folder, command):
    """In a shell: each prints a report, and ends with 0 or with 1."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'PATH="{Path(sys.executable).parent}:$PATH"; {command}'],
        cwd=folder,
        env=environment(""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "lines read" in done.stdout or json.loads(done.stdout)["version"] == 1
    assert done.stderr == ""
    if "--html" in command:
        assert "<svg" in (folder / "day.html").read_text(encoding="utf-8")


def test_every_reason_is_in_the_table():
    """The kinds that the code gives are those that the page explains."""
    code = Path(reasons.__file__).read_text(encoding="utf-8")
    kinds = set(re.findall(r'Reason\(\s*"(\w+)"', code))
    kinds |= set(re.findall(r'^        \("(\w+)", "', code, re.MULTILINE))
    rows = re.findall(r"^\| (`[^|]+`) \|", TEXT, re.MULTILINE)
    explained = {kind for row in rows for kind in re.findall(r"`(\w+)`", row)}
    assert {"missed", "failed", "empty"} <= kinds
    assert kinds == explained
