"""Findings about the platform: what Render does that no configuration shows."""

from collections.abc import Iterator
from datetime import timedelta

from smartworker.doctor.facts import AppFacts, Finding, HostFacts
from smartworker.durations import format_duration

#: How long Render waits between SIGTERM and SIGKILL, unless it is told otherwise.
GRACE = timedelta(seconds=30)


def find(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    """All of them; nothing elsewhere than on Render."""
    if host.platform != "render":
        return
    yield from _grace(app, host)
    yield from _address(app)
    if host.kind == "web":
        yield from _web(app, host)
    if host.kind == "worker" and not host.health:
        yield Finding(
            "info",
            "render health",
            "Render does not look into a background worker: one that is stuck stays.",
            "Nothing to do: it notices that by itself, leaves, and is started again;"
            " `smartworker health` tells how it is.",
        )


def _grace(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    limit = app.time_limit
    if host.kind not in (None, "worker") or (limit is not None and limit <= GRACE):
        return
    task = (
        f"a task may run for {format_duration(limit)}"
        if limit
        else ("a task may run for good")
    )
    yield Finding(
        "info",
        "render shutdown",
        f"Render kills a worker 30 s after SIGTERM, and {task}: at a deploy it is"
        " cut off and run again.",
        "Set maxShutdownDelaySeconds to at most 300 in render.yaml, and keep tasks"
        " safe to repeat.",
    )


def _address(app: AppFacts) -> Iterator[Finding]:
    for endpoint in app.endpoints:
        if endpoint.host.endswith(".render.com"):
            yield Finding(
                "info",
                "render address",
                f"The {endpoint.name} is {endpoint.host}: the way goes out of Render's"
                " network and back.",
                "In the same region use the internal URL, such as redis://red-...:6379.",
            )


def _web(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    if not app.trusts_proxies:
        yield Finding(
            "info",
            "render proxy",
            "All calls come from Render's proxy: addresses in logs and limits are"
            " its own.",
            "Set SMARTWORKER_TRUSTED_PROXIES=10.0.0.0/8.",
        )
    if not host.port:
        yield Finding(
            "warning",
            "render port",
            "PORT is not set: Render looks for an open port, and takes the service"
            " for dead if it finds none.",
            "Set PORT to 10000, as Render does itself.",
        )
    yield Finding(
        "info",
        "render sleep",
        "A free web service sleeps after 15 minutes without a call, and its first"
        " answer takes about a minute.",
        "Nothing to do on a paid plan; else give cron services a time-out of 60 s.",
    )
