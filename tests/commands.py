"""The installed command as a process, and messages as kombu writes them."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENTRY = [sys.executable, "-m", "smartworker.cli.main"]
OURS = ("SMARTWORKER_", "REDIS_URL", "UPSTASH_")


def environment(url: str, **extra: str) -> dict[str, str]:
    """An environment with this server, a narrow terminal, and nobody's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    return {**kept, "REDIS_URL": url, "COLUMNS": "80", **extra}


def run_command(
    url: str, *words: str, cwd: Path | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end without a terminal."""
    done = subprocess.run(
        [*ENTRY, *words],
        env=environment(url, **extra),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def facts(url: str, *words: str, **extra: str) -> Any:
    """What the command prints for programs."""
    done = run_command(url, *words, "--json", **extra)
    return json.loads(done.stdout)


def clerk(client: Any, url: str, *commands: str) -> str:
    """The URL of a user who may run these commands."""
    client.acl_setuser(
        "clerk",
        enabled=True,
        passwords=["+very-secret-word"],
        commands=commands,
        keys=["*"],
        channels=["*"],
    )
    return url.replace("redis://", "redis://clerk:very-secret-word@")


def message(
    task: str = "shop.charge", task_id: str = "id-1", step: int = 0, **headers: Any
) -> bytes:
    """A task message as Celery and kombu put it on a queue."""
    body = json.dumps([[1, 2], {}, {"callbacks": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"lang": "py", "task": task, "id": task_id, **headers},
            "properties": {
                "body_encoding": "base64",
                "delivery_mode": 2,
                "delivery_tag": "foreign",
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "priority": step,
            },
        }
    ).encode()
