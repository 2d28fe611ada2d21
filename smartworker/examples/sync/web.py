"""The application's own HTTP endpoints; smartworker's are mounted below /worker."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

from a2wsgi import ASGIMiddleware
from flask import Flask, request
from sqlalchemy.exc import DatabaseError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from smartworker.clock import Clock, system_clock
from smartworker.examples.sync import forms
from smartworker.examples.sync.app import app as celery_app
from smartworker.examples.sync.forms import Form, Invalid
from smartworker.examples.sync.parts import Parts
from smartworker.examples.sync.publisher import task_id
from smartworker.examples.sync.schedules import Saved, Taken, UnknownSchedule
from smartworker.web.app import create_app

_logger = logging.getLogger(__name__)

LARGEST_BODY = 10_000
Answer = tuple[dict[str, Any], int]


#: What databases keep as an integer; all else is an unknown address.
NUMBER = f"<int(max={10**18 - 1}):schedule_id>"


class Endpoints:
    """Each saves, wakes the drain and answers; none waits for anybody else."""

    def __init__(self, parts: Parts, clock: Clock = system_clock) -> None:
        self._parts = parts
        self._clock = clock

    def save_schedule(self) -> Answer:
        """A new schedule."""
        new = forms.new_schedule(body())
        return self._saved(self._parts.schedules.save(new, self._clock.now()), 201)

    def reschedule(self) -> Answer:
        """Another time for a schedule."""
        form = Form(body())
        number, move = form.number("schedule_id"), forms.move(form)
        now = self._clock.now()
        return self._saved(self._parts.schedules.reschedule(number, move, now))

    def reschedule_event(self) -> Answer:
        """Another time for the schedule of an event."""
        form = Form(body())
        event, move = form.text("event_id"), forms.move(form)
        now = self._clock.now()
        return self._saved(self._parts.schedules.reschedule_event(event, move, now))

    def trade_events(self) -> Answer:
        """Two schedules exchange their employees."""
        first, second = forms.trade(body())
        pair = self._parts.schedules.trade(first, second, self._clock.now())
        self._parts.drain.wake()
        changes = [each for saved in pair for each in shown(saved)]
        schedules = [saved.schedule for saved in pair]
        return {"status": "saved", "schedules": schedules, "sync": changes}, 200

    def change_employee(self) -> Answer:
        """Somebody else at the same time."""
        form = Form(body())
        number, person = form.number("schedule_id"), form.person()
        form.check()
        now = self._clock.now()
        return self._saved(self._parts.schedules.change_employee(number, person, now))

    def unschedule(self, schedule_id: int) -> Answer:
        """No schedule any more."""
        now = self._clock.now()
        return self._saved(self._parts.schedules.unschedule(schedule_id, now))

    def _saved(self, saved: Saved, status: int = 200) -> Answer:
        self._parts.drain.wake()
        answer = {"status": "saved", "schedule": saved.schedule, "sync": shown(saved)}
        return answer, status


def shown(saved: Saved) -> list[dict[str, str]]:
    """The changes on their way, with the ids under which to ask for them."""
    return [
        {
            "action": change.action.value,
            "task_id": task_id(change),
            "status": f"{request.script_root}/worker/api/tasks/{task_id(change)}",
        }
        for change in saved.changes
    ]


def body() -> Mapping[str, Any]:
    """The request's JSON object; Flask answers with 400 for broken JSON."""
    found = request.get_json(force=True)
    if not isinstance(found, dict):
        raise Invalid({"body": "Write a JSON object."})
    return found


def build(celery: Any) -> Flask:
    """The whole application; changes that still wait are sent at once."""
    celery.loader.import_default_modules()
    parts = Parts(celery)
    ends = Endpoints(parts)
    site = Flask("sync")
    site.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    routes: tuple[tuple[str, Callable[..., Answer], tuple[str, ...]], ...] = (
        ("/save_schedule", ends.save_schedule, ("POST",)),
        ("/api/reschedule", ends.reschedule, ("POST",)),
        ("/api/reschedule_event", ends.reschedule_event, ("POST",)),
        ("/api/trade_events", ends.trade_events, ("POST",)),
        ("/api/change_employee", ends.change_employee, ("POST",)),
        (
            "/api/unschedule/<int(max=999999999999999999):schedule_id>",
            ends.unschedule,
            ("DELETE", "POST"),
        ),
    )
    for path, endpoint, methods in routes:
        site.add_url_rule(path, view_func=endpoint, methods=list(methods))
    site.register_error_handler(Invalid, _invalid)
    site.register_error_handler(UnknownSchedule, _unknown)
    site.register_error_handler(Taken, _taken)
    site.register_error_handler(DatabaseError, _away)
    site.register_error_handler(HTTPException, _http)
    ours: Any = ASGIMiddleware(cast(Any, create_app(celery)))
    site.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        site.wsgi_app, {"/worker": ours}
    )
    parts.drain.wake()
    return site


def _invalid(error: Exception) -> Answer:
    fields = error.fields if isinstance(error, Invalid) else {}
    return {"status": "error", "message": str(error), "errors": fields}, 422


def _unknown(error: Exception) -> Answer:
    return {"status": "error", "message": str(error)}, 404


def _taken(error: Exception) -> Answer:
    return {"status": "error", "message": str(error)}, 409


def _away(error: Exception) -> Answer:
    _logger.warning("The database is away: %s", error)
    return {"status": "error", "message": "Nothing is saved: try again later."}, 503


def _http(error: Exception) -> Answer:
    code = error.code if isinstance(error, HTTPException) else None
    message = error.description if isinstance(error, HTTPException) else None
    return {"status": "error", "message": message or "This went wrong."}, code or 500


app = build(celery_app)
