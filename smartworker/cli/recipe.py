"""What is started together and what is said then, decided before anything runs."""

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smartworker.errors import SmartworkerError
from smartworker.settings import Settings
from smartworker.store.server import HOST, free_port

SWIM = "smartworker.examples.swim"
USUAL_PORT = 8000


class PortTaken(SmartworkerError):
    """Somebody else listens on the port that was asked for."""


@dataclass(frozen=True)
class Part:
    """One process: its name, its module with arguments, and whether others need it.

    `port`: where it takes connections once it is ready. `note`: a file into which it
    writes when it is told to stop.
    """

    name: str
    command: tuple[str, ...]
    backing: bool = False
    port: int | None = None
    note: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parts, their environment, and what the greeting tells, if there is one.

    `unhurried`: parts that are told to stop may take the time that they need.
    """

    environment: Mapping[str, str]
    parts: tuple[Part, ...]
    port: int = USUAL_PORT
    moved_from: int | None = None
    own_server: bool = False
    ready_files: tuple[Path, ...] = ()
    text: str = ""
    unhurried: bool = False

    @property
    def address(self) -> str:
        """Where the web process answers."""
        return address_of(self.port)

    def greeting(self) -> str:
        """The address and the lines to try."""
        moved = (
            f"Port {self.moved_from} is in use, so it is {self.port} this time; "
            "PORT chooses another.\n"
            if self.moved_from
            else ""
        )
        return f"\n{moved}{self.text}\n"


@dataclass(frozen=True)
class Ground:
    """What every set-up on this machine needs: a port, a server, a token."""

    settings: Settings
    environment: dict[str, str]
    port: int
    moved_from: int | None
    own_server: bool
    bearer: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Ground":
        """Raises SmartworkerError for a setting that is wrong."""
        settings = Settings.from_environment(environment)
        asked = settings.port if environment.get("PORT", "").strip() else None
        port = choose_port(asked)
        wanted = {
            "SMARTWORKER_LOG_FORMAT": "console",
            "CELERY_QUIET": "1",  # the parts share one terminal: no banner
            **environment,
            "PORT": str(port),
        }
        own_server = settings.redis_url is None
        if own_server:
            # Commands cost nothing here, and a mistyped id is told from a waiting task.
            wanted.setdefault("SMARTWORKER_TRACK_QUEUED", "on")
        bearer = "<token>"
        if not settings.cron_tokens:
            bearer = wanted["SMARTWORKER_CRON_TOKENS"] = secrets.token_urlsafe(32)
        moved_from = USUAL_PORT if asked is None and port != USUAL_PORT else None
        return cls(settings, wanted, port, moved_from, own_server, bearer)

    @property
    def address(self) -> str:
        """Where the web process will answer."""
        return address_of(self.port)

    def recipe(
        self, parts: list[Part], ready_files: tuple[Path, ...], text: str
    ) -> Recipe:
        """Everything together."""
        return Recipe(
            environment=self.environment,
            parts=tuple(parts),
            port=self.port,
            moved_from=self.moved_from,
            own_server=self.own_server,
            ready_files=ready_files,
            text=text,
        )


def decide(environment: Mapping[str, str], scratch: Path) -> Recipe:
    """What `smartworker dev` starts; raises SmartworkerError for a wrong setting."""
    ground = Ground.of(environment)
    wanted = ground.environment
    ready_file = scratch / "worker-ready"
    parts = [
        cli_part(
            *("worker", "-c", "2", "-l", "info", "--ready-file", str(ready_file)),
            "--no-doctor",
        ),
        cli_part("web", "--host", HOST, "--no-doctor"),
    ]
    is_swim = any(module.startswith(f"{SWIM}.") for module in ground.settings.tasks)
    if is_swim:
        wanted.setdefault("DATABASE_URL", f"sqlite:///{scratch / 'swim.sqlite3'}")
    if is_swim and "SWIM_FACILITY_URL" not in wanted:
        port = free_port()
        wanted["SWIM_FACILITY_URL"] = address_of(port)
        # The lanes are free at any hour, or the example would book at 9 PM alone.
        command = (f"{SWIM}.facility", "--port", str(port), "--release", "always")
        parts.insert(0, Part("swim facility", command, backing=True, port=port))
    trigger = "/api/cron_schedule_swim_lanes" if is_swim else "/api/cron/<job>"
    return ground.recipe(parts, (ready_file,), dev_text(ground, trigger))


def dev_text(ground: Ground, trigger: str) -> str:
    """The three lines to try."""
    bearer = f"-H 'Authorization: Bearer {ground.bearer}'"
    admin = ground.settings.admin_token
    opener = "SMARTWORKER_ADMIN_TOKEN" if admin else "the token below"
    lines = (
        f"smartworker answers at {ground.address} and Ctrl-C stops it.",
        f"The dashboard is the page {ground.address}/ and takes {opener}.",
        "",
        "Queue the job, as an external cron service does:",
        f"  curl -X POST {bearer} {ground.address}{trigger}",
        "Ask how it goes, with the task_id of that answer:",
        f"  curl {ground.address}/api/task-status/<task_id>",
        "Is the web process alive?",
        f"  curl {ground.address}/livez",
    )
    return "\n".join(lines)


def cli_part(name: str, *options: str, note: Path | None = None) -> Part:
    """One of our own commands as a process."""
    return Part(name, ("smartworker.cli.main", name, *options), note=note)


def address_of(port: int) -> str:
    """The address of a part on this machine."""
    return f"http://{HOST}:{port}"


def choose_port(asked: int | None) -> int:
    """The port that was asked for, or the usual one, or any if that is taken."""
    if asked == 0:
        return free_port()
    port = asked or USUAL_PORT
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        if asked is None:
            return free_port()
        raise PortTaken(
            f"PORT is {port}, and nothing can be started there: {error.strerror}."
        ) from error
    return port
