"""What the fault tests change inside the project's processes, told by environment.

`FAULTY_CONF`: Celery settings as JSON. `FAULTY_HOSTS`: a file; the name `HOST` is this
machine while the file is there, and no name at all while it is not.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any

from celery.worker.control import inspect_command

#: A name that nobody else resolves.
HOST = "redis.faulty.test"


def adjust(app: Any) -> None:
    """Change what the environment says."""
    for name, value in json.loads(os.environ.get("FAULTY_CONF", "{}")).items():
        setattr(app.conf, name, value)
    if "FAULTY_HOSTS" in os.environ:
        resolve_by(Path(os.environ["FAULTY_HOSTS"]))


def resolve_by(hosts: Path) -> None:
    """Resolve `HOST` as long as the file is there."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host != HOST:
            return resolve(host, *args, **options)
        if not hosts.exists():
            raise socket.gaierror(
                socket.EAI_AGAIN, "Temporary failure in name resolution"
            )
        return resolve("127.0.0.1", *args, **options)

    socket.getaddrinfo = getaddrinfo


@inspect_command(name="faulty_timers")
def timers(state: Any, **_: Any) -> int:
    """The timers of the worker's loop that are armed."""
    queue = state.consumer.hub.timer._queue
    return sum(not scheduled.entry.canceled for scheduled in queue)
