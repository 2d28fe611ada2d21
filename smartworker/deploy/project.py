"""What is known of a project when its deployment files are written."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from smartworker.cron.registry import Job

#: Heroku's limit for the name of an app.
LONGEST_NAME = 30
#: Where services of this machine lie, if nobody says otherwise.
SERVICES = "/srv"
#: Where a project lists what it needs.
LISTED = "requirements.txt"
#: Celery would take as many processes as there are cores, and a small plan shows those
#: of its host. `smartworker web --with-worker` takes two by itself.
WORKER_OPTIONS = ("--concurrency", "2", "--loglevel", "info")

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+", re.ASCII)
#: A line that names another file, such as `-r base.txt`, `-e .` and `./lib`.
_OTHER_FILE = re.compile(r"^\s*(?:-[rce]|--[rce]|\.|[^#\n]*/)", re.MULTILINE)


@dataclass(frozen=True)
class Install:
    """How the project's packages are installed: words for `pip install`, and the
    file that must be there for them, or "." for the whole project."""

    words: tuple[str, ...]
    needs: str | None


@dataclass(frozen=True, kw_only=True)
class Project:
    """One project, as the templates see it."""

    #: What begins the names of its services, files and containers.
    name: str
    #: MODULE:APP; None: the ready-made app.
    app: str | None
    jobs: tuple[Job, ...]
    install: Install
    #: Major, minor and patch, such as 3.13.9.
    python: str
    #: Web and worker under one command.
    single: bool = False
    #: Cron services of the platform, too, where they cost something.
    cron: bool = False
    #: Further variables that the app needs.
    variables: tuple[str, ...] = ()
    #: Where the project lies on a server of one's own.
    home: str = ""
    region: str = "oregon"
    #: Who runs the programs there.
    user: str = ""

    @property
    def options(self) -> list[str]:
        """The words that name the app to a command of ours."""
        return [] if self.app is None else ["-A", self.app]

    @property
    def minor(self) -> str:
        """The version of Python without its patch."""
        return ".".join(self.python.split(".")[:2])

    @property
    def processes(self) -> dict[str, list[str]]:
        """The command of each process, by its name."""
        web = ["smartworker", "web", *self.options]
        if self.single:
            return {"web": [*web, "--with-worker"]}
        return {
            "web": web,
            "worker": ["smartworker", "worker", *self.options, *WORKER_OPTIONS],
        }

    @property
    def check(self) -> list[str]:
        """The command that looks at Redis and the settings before a deploy.

        Without its sample of others' traffic, which would hold each deploy up.
        """
        return ["smartworker", "doctor", "--sample", "0", *self.options]


def name_of(app: str | None) -> str:
    """A name for the services of an app, from its outermost module."""
    module = "smartworker" if app is None else app.partition(":")[0].partition(".")[0]
    plain = _NOT_IN_NAMES.sub("-", module.lower()).strip("-")[:LONGEST_NAME]
    plain = plain.lstrip("0123456789-").rstrip("-")
    return plain or "app"


def install_of(folder: Path) -> Install:
    """How the project in this folder is installed, by the files that are there."""
    listed = folder / LISTED
    if listed.is_file():
        text = listed.read_text(encoding="utf-8", errors="replace")
        return Install(
            ("-r", listed.name), "." if _OTHER_FILE.search(text) else listed.name
        )
    if _is_package(folder / "pyproject.toml"):
        return Install((".", "smartworker[web]"), ".")
    return Install(("smartworker[web]",), None)


def _is_package(path: Path) -> bool:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Poetry did without the first of them, and uv does without the second.
    return "project" in tables or "build-system" in tables
