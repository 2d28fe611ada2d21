"""What `active` and `scheduled` answer over remote control: Celery's, and the jobs."""

from collections.abc import Iterator
from typing import Any

from celery.worker import control
from celery.worker import state as worker_state
from celery.worker.control import inspect_command

from smartworker.worker.request import run_header


def connect() -> None:
    """Take the place of Celery's own commands; who asks for them gets more."""
    inspect_command(name="active", alias="dump_active")(active)
    inspect_command(name="scheduled", alias="dump_schedule")(scheduled)


def active(state: Any, safe: bool = False, **_: Any) -> list[dict[str, Any]]:
    """The tasks that run, each with its job."""
    running = state.tset(worker_state.active_requests)
    return [_told(request, safe=safe) for request in running]


_celerys_scheduled = control.scheduled


def scheduled(state: Any, **_: Any) -> list[dict[str, Any]]:
    """The tasks with an ETA, and the runs that wait for an earlier run of their job."""
    listed: list[dict[str, Any]] = list(_celerys_scheduled(state))
    for entry in listed:
        request = worker_state.requests.get(entry["request"]["id"])
        if request is not None:
            entry["request"]["job"] = _job(request)
    known = {entry["request"]["id"] for entry in listed}
    return listed + list(_waiting(state, known))


def _waiting(state: Any, known: set[str]) -> Iterator[dict[str, Any]]:
    for request in state.tset(worker_state.scheduled_requests):
        header = run_header(request)
        if header is None or header.get("overlap") == "allow" or request.id in known:
            continue
        yield {
            "eta": None,
            "priority": None,
            "waits_for": header["job"],
            "request": _told(request),
        }


def _told(request: Any, *, safe: bool = False) -> dict[str, Any]:
    return {**request.info(safe=safe), "job": _job(request)}


def _job(request: Any) -> str | None:
    header = run_header(request)
    return None if header is None else str(header["job"])
