"""The marketplace over HTTP, and smartworker's own endpoints beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from celery.exceptions import OperationalError
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Response
from pydantic import BaseModel

from smartworker.clock import system_clock
from smartworker.examples.lessons import accounts, booking, pages
from smartworker.examples.lessons.app import app as celery_app
from smartworker.examples.lessons.booking import NoSuchThing, Refused
from smartworker.examples.lessons.seeds import seed
from smartworker.examples.lessons.tasks import database, settle_booking, tell_all
from smartworker.examples.lessons.words import Kind
from smartworker.web.app import create_app
from smartworker.web.problems import Problem, unavailable

router = APIRouter(prefix="/api")


class Credentials(BaseModel):
    """Who wants a session."""

    email: str
    password: str


def now() -> int:
    """Seconds since 1970."""
    return int(system_clock.now().timestamp())


@contextmanager
def transaction() -> Iterator[sa.Connection]:
    """The database; what the rules refuse is an answer with a reason."""
    try:
        with database().transaction() as rows:
            yield rows
    except NoSuchThing as error:
        raise Problem(404, str(error)) from error
    except Refused as error:
        raise Problem(409, str(error)) from error
    except sa.exc.OperationalError as error:
        raise unavailable("The database is busy; try again.") from error


def member(authorization: Annotated[str, Header()] = "") -> int:
    """Whose session the bearer token is."""
    kind, _, token = authorization.partition(" ")
    with transaction() as rows:
        found = accounts.who(rows, token.strip(), now()) if token else None
    if kind.lower() != "bearer" or found is None:
        raise Problem(
            401,
            "POST /api/sessions gives a token for the Authorization header.",
            {"WWW-Authenticate": "Bearer"},
        )
    return found


Member = Annotated[int, Depends(member)]
#: An id of the database: what is larger than its integers is none.
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("/sessions", status_code=201)
def log_in(credentials: Credentials) -> dict[str, Any]:
    """Begin a session."""
    with transaction() as rows:
        token = accounts.log_in(rows, credentials.email, credentials.password, now())
    if token is None:
        raise Problem(401, "The address or the password is wrong.")
    return {"token": token, "expires_in": accounts.SESSION_SECONDS}


@router.get("/lessons")
def list_lessons() -> list[dict[str, Any]]:
    """The lessons to come."""
    with transaction() as rows:
        return pages.lessons_to_come(rows, now())


@router.post("/lessons/{lesson}/book", status_code=202)
def book(lesson: Number, student: Member) -> dict[str, Any]:
    """Ask for a place; a task answers within moments."""
    with transaction() as rows:
        number = booking.request(rows, lesson, student, now())
    try:
        task = settle_booking.delay(number)
    except OperationalError as error:
        with transaction() as rows:
            booking.forget(rows, number)
        raise Problem(
            503, "Bookings are not taken now.", {"Retry-After": "30"}
        ) from error
    return {"booking_id": number, "status": "requested", "task_id": task.id}


@router.get("/bookings")
def list_bookings(student: Member) -> list[dict[str, Any]]:
    """One's own bookings."""
    with transaction() as rows:
        return [pages.booking_page(each) for each in booking.of_student(rows, student)]


@router.delete("/bookings/{number}")
def cancel(number: Number, student: Member) -> dict[str, Any]:
    """Give a place back."""
    with transaction() as rows:
        booking.cancel(rows, number, student, now())
    told = _tell(Kind.CANCELLED, number)
    return {"booking_id": number, "status": "cancelled", "letter": told}


@router.post("/bookings/{number}/check-in")
def check_in(number: Number, student: Member) -> dict[str, Any]:
    """Be there."""
    with transaction() as rows:
        booking.check_in(rows, number, student, now())
    _tell(Kind.ATTENDED, number)
    return {"booking_id": number, "status": "attended"}


@router.get("/notifications")
def list_notifications(person: Member) -> list[dict[str, Any]]:
    """What one was told."""
    with transaction() as rows:
        return pages.notices_of(rows, person)


@router.post("/notifications/{notice}/read", status_code=204)
def read(notice: Number, person: Member) -> None:
    """Mark as read."""
    with transaction() as rows:
        if not pages.mark_read(rows, notice, person, now()):
            raise NoSuchThing(f"There is no notification {notice}.")


@router.get("/analytics/{day}")
def analytics(day: date, _person: Member) -> dict[str, Any]:
    """The figures of a day."""
    with transaction() as rows:
        found = pages.figures_of(rows, day.isoformat())
    if found is None:
        raise Problem(404, f"The figures of {day} are not worked out.")
    return found


@router.get("/health")
def health(response: Response) -> dict[str, Any]:
    """What the last check has found; 503 if that was bad or long ago."""
    with transaction() as rows:
        page = pages.health_page(rows, now())
    response.status_code = 200 if page["status"] == "ok" else 503
    return page


def _tell(kind: Kind, number: int) -> str:
    """Queue what follows. What the student wanted is done, whatever Redis says."""
    try:
        tell_all(kind, number)
    except OperationalError:
        return "not sent"
    return "on its way"


def make_site() -> FastAPI:
    """The marketplace's endpoints, and smartworker's."""
    site = create_app(celery_app)
    site.include_router(router)
    with database().transaction() as rows:
        seed(rows, now())
    return site


app = make_site()
