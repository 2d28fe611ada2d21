"""uvicorn's home: the web half as a process."""

import socket
from contextlib import suppress
from typing import Any

import uvicorn

from smartworker.errors import SettingsError
from smartworker.web.patience import (
    HEAD_SECONDS,
    WRITE_SECONDS,
    OneLength,
    patient,
)

MOST_CONNECTIONS = 1000
LONGEST_HEAD = 16 * 1024
STOP_SECONDS = 3


def serve(app: Any, host: str, port: int) -> None:
    """Answer requests until a signal comes."""
    with listen(host, port) as listener, suppress(KeyboardInterrupt):
        build(app).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """An open socket, so that port 0 has a number before the server starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"PORT is {port}, which cannot be opened on {host}: {error.strerror}."
        ) from error
    # Inherited by each connection. asyncio sets it only on sockets it made itself,
    # and without it every second write of an answer waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def build(
    app: Any,
    *,
    head_seconds: float = HEAD_SECONDS,
    write_seconds: float = WRITE_SECONDS,
) -> uvicorn.Server:
    """The server with limits that one slow or hostile client cannot exceed."""
    return uvicorn.Server(
        uvicorn.Config(
            OneLength(app),
            http=patient(head_seconds, write_seconds),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whom to believe is SMARTWORKER_TRUSTED_PROXIES, see web/limits.py.
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=LONGEST_HEAD,
        )
    )
