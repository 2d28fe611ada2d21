"""The HTTP endpoints of the league example, beside those of smartworker."""

import os
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from celery import states
from celery.exceptions import OperationalError
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict

from smartworker.examples.league.app import app as celery_app
from smartworker.examples.league.book import (
    CANCELLED,
    DONE,
    FAILED,
    OPEN,
    Book,
    Run,
)
from smartworker.examples.league.tables import connect
from smartworker.web.app import create_app
from smartworker.web.problems import Problem, unavailable
from smartworker.worker.lookup import Lookup

TASK = "league.generate"
UNKNOWN = "No schedule was asked for with this id, or it is too old."
WAITING = "The schedule waits for the worker."
CANCELLED_MESSAGE = "The generation was cancelled."

Answer = dict[str, Any]


class Wish(BaseModel):
    """What is asked for: a new schedule, or whichever there is."""

    model_config = ConfigDict(extra="forbid")
    force_regenerate: bool = False


class Desk:
    """Takes wishes, and tells what became of them."""

    def __init__(self, app: Any, book: Book) -> None:
        self._app = app
        self._lookup = Lookup(app)
        self._book = book

    def ask(self, wish: Wish) -> Answer:
        """Queue a run. 1 command. Raises Problem 503."""
        task_id = str(uuid4())
        self._book.open(task_id)
        try:
            # By its app and its name: a shared task asks for the app of its thread.
            # Once: who asks waits for the answer.
            self._app.send_task(
                TASK, kwargs=wish.model_dump(), task_id=task_id, retry=False
            )
        except OperationalError as error:
            self._book.forget(task_id)
            raise unavailable("The schedule could not be queued; ask again.") from error
        return {
            "task_id": task_id,
            "status": states.PENDING,
            "message": "Schedule generation started.",
        }

    def status(self, task_id: str) -> Answer:
        """What became of a run: 1 command while it is open, else none."""
        run = self._run(task_id)
        told = self._ended(run) if run.state != OPEN else self._going(run.task_id)
        return {"task_id": run.task_id, **told}

    def cancel(self, task_id: str) -> Answer:
        """Cancel a run that waits or is under way. Raises Problem 404, 409."""
        run = self._run(task_id)
        task_id, failed = run.task_id, False
        if run.state == OPEN:
            failed = self._meta(task_id)["status"] == states.FAILURE
            self._book.open(task_id)  # one of the cron job, before it has begun
        if failed or not self._book.cancel(task_id):
            raise Problem(409, "This run is over, so there is nothing to cancel.")
        return {
            "task_id": task_id,
            "state": states.REVOKED,
            "message": CANCELLED_MESSAGE,
        }

    def _run(self, task_id: str) -> Run:
        try:
            task_id = str(UUID(task_id))
        except ValueError as error:
            raise Problem(404, UNKNOWN) from error
        run = self._book.run(task_id)
        if run is None:
            # The cron job's runs are known to smartworker until they begin.
            if self._meta(task_id)["status"] == states.PENDING:
                raise Problem(404, UNKNOWN)
            run = Run(task_id, OPEN)
        return run

    def _ended(self, run: Run) -> Answer:
        if run.state == CANCELLED:
            return _over(states.REVOKED, CANCELLED_MESSAGE)
        if run.state == FAILED:
            return _over(states.FAILURE, run.error or "")
        schedule = self._book.schedule(run.schedule or 0)
        if schedule is None:
            raise Problem(404, UNKNOWN)
        return {"state": states.SUCCESS, **schedule}

    def _going(self, task_id: str) -> Answer:
        meta = self._meta(task_id)
        state, result = meta["status"], meta.get("result")
        if state == "PROGRESS" and isinstance(result, dict):
            percent = round(100 * result["current"] / result["total"])
            return {
                "state": state,
                "message": result["message"],
                "percent": percent,
            }
        if state in (states.FAILURE, states.REVOKED):
            return _over(state, str(result))
        run = self._book.run(task_id)
        if run is not None and run.state == DONE:  # just now
            return self._ended(run)
        return {"state": states.PENDING, "message": WAITING, "percent": 0}

    def _meta(self, task_id: str) -> Answer:
        try:
            return self._lookup.find(task_id) or {"status": states.PENDING}
        except Exception as error:
            raise unavailable("The state cannot be read now; try again.") from error


def _over(state: str, message: str) -> Answer:
    return {"state": state, "success": False, "message": message}


def routes(desk: Desk) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/api/schedule", tags=["schedule"])

    @router.post("/async", status_code=202)
    def ask(wish: Wish | None = None) -> Answer:
        """Make a schedule in the background."""
        return desk.ask(wish or Wish())

    @router.get("/status/{task_id}")
    def status(task_id: str) -> Answer:
        """How far it is, and the schedule once it is made."""
        return desk.status(task_id)

    @router.delete("/status/{task_id}")
    @router.post("/status/{task_id}/cancel")
    def cancel(task_id: str) -> Answer:
        """Cancel it, be it waiting or under way."""
        return desk.cancel(task_id)

    return router


def site(app: Any, url: str | None) -> FastAPI:
    """The whole site."""
    found = create_app(app)
    found.include_router(routes(Desk(app, Book(connect(url)))))
    return found


@cache
def _app() -> FastAPI:
    return site(celery_app, os.environ.get("DATABASE_URL"))


def __getattr__(name: str) -> Any:
    """`app`, made when it is first asked for: importing this opens no database."""
    if name == "app":
        return _app()
    raise AttributeError(name)
