"""Programs that some tests run: a laptop may lack one, CI may not."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, package: str | None = None) -> str:
    """Its path; without it the test is skipped, and fails where CI=true."""
    return shutil.which(name) or lacking(package or name)


def lacking(package: str) -> NoReturn:
    """Skip the test, or fail it where CI=true: there a skip would hide something."""
    words = f"{package} is missing: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    command = [program("openssl"), *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def fake_time_library() -> str:
    """libfaketime, where Debian's package `faketime` puts it."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else lacking("faketime")
