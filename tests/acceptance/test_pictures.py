"""The pictures of the README: made by a script from the real pages, and light."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LARGEST = 150_000
WIDTHS = {"report": 900, "dashboard-light": 1000, "dashboard-phone-dark": 585}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs an embedded server"),
]


def width(path: Path) -> int:
    """Of a PNG, in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", path
    found: int = struct.unpack(">I", head[16:20])[0]
    return found


def check(folder: Path) -> None:
    """All pictures are there, of the right width, and load quickly."""
    assert {path.stem: width(path) for path in folder.glob("*.png")} == WIDTHS
    assert all(path.stat().st_size <= LARGEST for path in folder.glob("*.png"))


def test_the_pictures_are_there() -> None:
    """The repository has each picture, none of them heavy."""
    check(ROOT / "docs" / "pictures")


def test_the_script_makes_the_pictures(tmp_path: Path) -> None:
    """A server, a worker and the web process start, and their pages are taken."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "pictures.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    check(tmp_path)
