"""The HTTP endpoints of the swim example: members, preferences, bookings.

smartworker's own stand beside them: `POST /api/cron_schedule_swim_lanes` and
`GET /api/task-status/<id>`. All but the status need the token that manages.
"""

import os
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from smartworker.clock import system_clock
from smartworker.cron.auth import Tokens
from smartworker.errors import BrokerUnreachable
from smartworker.examples.swim.app import app as celery_app
from smartworker.examples.swim.booking import Member, Preference
from smartworker.examples.swim.database import Booking, Database
from smartworker.examples.swim.tasks import auto_book
from smartworker.web import contract
from smartworker.web.app import create_app
from smartworker.web.blocking import Blocking
from smartworker.web.gate import Gate
from smartworker.web.limits import Limits
from smartworker.web.problems import Document, Problem, unavailable
from smartworker.web.signatures import Signatures

JOB = "schedule-swim-lanes"
MOST_PREFERENCES = 20
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Want(_Body):
    """A preference; what is left out may be any. Monday is weekday 0."""

    pool: str = Field(min_length=1, max_length=50)
    time: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    lane: int | None = Field(None, ge=1, le=99)
    weekday: int | None = Field(None, ge=0, le=6)

    def preference(self) -> Preference:
        """The same without HTTP."""
        return Preference(self.pool, self.lane, self.time, self.weekday)


Wants = Annotated[list[Want], Field(max_length=MOST_PREFERENCES)]


class Profile(_Body):
    """A member with the password of the facility; the best preference comes first."""

    password: str = Field(min_length=1, max_length=200)
    preferences: Wants = []


class Asked(_Body):
    """The date for which a lane is wanted."""

    date: date


def make_site(app: Any, database: Database) -> FastAPI:
    """smartworker's endpoints, and those of the members."""
    site = create_app(app)
    site.include_router(routes(app, database))
    return site


def routes(app: Any, database: Database) -> APIRouter:
    """What the desk of the swimming club calls."""
    gate, blocking = _gate(app), Blocking()

    def admit(request: Request) -> None:
        gate.admit_manager(request, JOB)

    router = APIRouter(
        prefix="/api",
        tags=["members"],
        dependencies=[*contract.CALLERS, Depends(admit)],
    )
    router.include_router(_members(database))

    @router.get("/bookings")
    def bookings(date: date | None = None, member: str | None = None) -> Document:
        """All bookings, of one date or member if that is given."""
        found = database.bookings(member, date)
        return Document({"bookings": [_booked(each) for each in found]})

    @router.post("/members/{name}/bookings", status_code=202)
    async def book(name: Name, asked: Asked) -> Document:
        """Book a lane for this member alone; a second run books nothing twice."""
        await run_in_threadpool(_known, database, name)
        wanted = {"day": asked.date.isoformat(), "member": name}
        try:
            queued = await blocking.run(_task().apply_async, kwargs=wanted)
        except BrokerUnreachable as error:
            raise unavailable("The task could not be queued; call again.") from error
        return Document(
            {
                "status": "accepted",
                "message": f"A lane for {name} is being booked.",
                "task_id": queued.id,
            },
            status_code=202,
            headers={"Location": f"/api/tasks/{queued.id}"},
        )

    return router


def _members(database: Database) -> APIRouter:
    router = APIRouter()

    @router.get("/members")
    def members() -> Document:
        """All members with their preferences, the best one first."""
        return Document({"members": [_shown(each) for each in database.members()]})

    @router.get("/members/{name}")
    def member(name: Name) -> Document:
        """One member."""
        return Document(_shown(_known(database, name)))

    @router.put("/members/{name}")
    def save(name: Name, profile: Profile) -> Document:
        """Add a member, or change password and preferences."""
        wants = tuple(want.preference() for want in profile.preferences)
        member = Member(name, profile.password, wants)
        is_new = database.save(member)
        return Document(_shown(member), status_code=201 if is_new else 200)

    @router.put("/members/{name}/preferences")
    def rank(name: Name, wants: Wants) -> Document:
        """Set a member's preferences, the best one first."""
        known = _known(database, name)
        ranked = tuple(want.preference() for want in wants)
        changed = Member(name, known.password, ranked)
        database.save(changed)
        return Document(_shown(changed))

    @router.get("/members/{name}/bookings")
    def bookings(name: Name) -> Document:
        """What a member has booked, by date."""
        _known(database, name)
        found = database.bookings(name)
        return Document({"bookings": [_booked(each) for each in found]})

    return router


def _gate(app: Any) -> Gate:
    settings = app.smartworker
    tokens = Tokens.parse(settings.cron_tokens, settings.admin_token)
    limits = Limits.of(settings, system_clock)
    return Gate(tokens, Signatures.of(settings), limits)


def _known(database: Database, name: str) -> Member:
    member = database.member(name)
    if member is None:
        raise Problem(404, f"There is no member called {name}.")
    return member


def _shown(member: Member) -> dict[str, Any]:
    wants = [
        {"pool": w.pool, "time": w.time, "lane": w.lane, "weekday": w.weekday}
        for w in member.preferences
    ]
    return {"name": member.name, "preferences": wants}


def _booked(booking: Booking) -> dict[str, Any]:
    return {
        "member": booking.member,
        "date": booking.day.isoformat(),
        "slot": booking.slot,
        "confirmation": booking.confirmation,
    }


app = make_site(celery_app, Database.from_url(os.environ.get("DATABASE_URL")))


def _task() -> Any:
    """A shared task belongs to the app of the thread that asks, unless it is told."""
    return celery_app.tasks[auto_book.name]
