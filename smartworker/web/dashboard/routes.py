"""The dashboard over HTTP: the page, its stream, sign-in, and what buttons do."""

import json
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.responses import HTMLResponse, RedirectResponse

from smartworker.settings import Settings
from smartworker.web.bodies import read_form
from smartworker.web.dashboard.actions import Actions
from smartworker.web.dashboard.facts import Facts
from smartworker.web.dashboard.page import HEADERS, Page, Sections
from smartworker.web.dashboard.session import Session, SessionGate, check_origin
from smartworker.web.dashboard.snapshot import Snapshot
from smartworker.web.jobs import Management
from smartworker.web.problems import Problem
from smartworker.worker.presence import look

#: Seconds between two signs of life on a quiet stream.
KEEPALIVE = 15.0
#: What a page says after a button was used, by the word in its address.
SAID = {
    "paused": "The job is paused: its triggers are skipped.",
    "resumed": "The job runs again when it is triggered.",
    "queued": "A run is queued.",
    "skipped": "An earlier run is not done, so no other was queued.",
    "requeued": "The message is back in its queue.",
}


@dataclass(frozen=True)
class Dashboard:
    """The page and everything behind it."""

    settings: Settings
    snapshot: Snapshot
    page: Page
    session: Session
    actions: Actions

    def close(self) -> None:
        """Read nothing any more."""
        self.snapshot.close()

    async def show(self, request: Request) -> Response:
        """The page with everything that this visitor may see."""
        trusted = self.session.is_trusted(request)
        if self.settings.dashboard == "private" and not trusted:
            return _to(request, "dashboard/login")
        facts = await self.snapshot.current(trusted=trusted)
        html = self.page.whole(
            self._sections(facts, trusted),
            trusted=trusted,
            can_sign_in=self.session.is_possible,
            said=SAID.get(request.query_params.get("said", "")),
        )
        return HTMLResponse(html, headers=HEADERS)

    async def stream(self, request: Request) -> Response:
        """The sections that change, for as long as somebody looks."""
        trusted = self.session.is_trusted(request)
        if self.settings.dashboard == "private" and not trusted:
            raise Problem(401, "Sign in with the admin token first.")
        states = self.snapshot.follow(trusted=trusted, beat=KEEPALIVE)
        first = await anext(states)
        return EventSourceResponse(
            self._events(first, states, trusted),
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def ask_token(self, request: Request) -> Response:
        """The form that takes the admin token."""
        if self.session.is_open(request):
            return _to(request)
        return self._login()

    async def sign_in(self, request: Request) -> Response:
        """Open a session, or say what is wrong."""
        try:
            check_origin(request)
            form = await read_form(request)
            self.session.sign_in(request, form.get("token", ""))
        except Problem as problem:
            return self._login(problem)
        answer = _to(request)
        self.session.keep(request, answer)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        check_origin(request)
        answer = _to(request)
        self.session.end(request, answer)
        return answer

    async def act(self, request: Request, work: Awaitable[str]) -> Response:
        """Do what a button says; back to the page, or a page with what went wrong."""
        try:
            said = await work
        except Problem as problem:
            html = self.page.plain("problem.html", problem=problem)
            headers = HEADERS | dict(problem.headers or {})
            return HTMLResponse(html, problem.status, headers)
        await self.snapshot.changed()
        return _to(request, f"?said={said}")

    def _login(self, problem: Problem | None = None) -> Response:
        html = self.page.plain(
            "login.html", problem=problem, possible=self.session.is_possible
        )
        headers = HEADERS | dict(problem.headers or {} if problem else {})
        return HTMLResponse(html, problem.status if problem else 200, headers)

    def _sections(self, facts: Facts, trusted: bool) -> Sections:
        return self.page.sections(
            facts,
            trusted=trusted,
            detailed=trusted or self.settings.dashboard == "open",
            resting=not trusted and self.snapshot.resting,
        )

    async def _events(
        self,
        facts: Facts | None,
        states: AsyncGenerator[Facts | None],
        trusted: bool,
    ) -> AsyncGenerator[bytes]:
        known: Sections = {}
        try:
            while True:
                if facts is None:
                    yield KEEPALIVE_COMMENT
                else:
                    sections = self._sections(facts, trusted)
                    news = {k: v for k, v in sections.items() if known.get(k) != v}
                    known = sections
                    if news:
                        yield _event(news)
                facts = await anext(states)
        finally:
            await states.aclose()


def _event(sections: Sections) -> bytes:
    return format_sse_event(event="sections", data_str=json.dumps(sections))


def _to(request: Request, path: str = "") -> RedirectResponse:
    """Back to a page of ours, below whatever prefix we are mounted."""
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/{path}", 303, HEADERS)


def dashboard_of(management: Management, celery_app: Any) -> Dashboard:
    """The dashboard of an app; its buttons do what these endpoints do."""
    jobs, settings, clock = management.jobs, management.settings, management.clock
    session = Session.of(management.gate, settings.redis_url or "", clock)
    # The same gate, open also for who has signed in.
    admitting = replace(management, gate=SessionGate.of(session))
    return Dashboard(
        settings=settings,
        snapshot=Snapshot(
            management.states.link, lambda: look(celery_app), jobs, settings, clock
        ),
        page=Page(settings, jobs, celery_app, clock),
        session=session,
        actions=Actions(admitting),
    )


def routes(dashboard: Dashboard) -> APIRouter:
    """`/` and `/dashboard/...`; nothing at all where the dashboard is off."""
    router = APIRouter(include_in_schema=False)
    if dashboard.settings.dashboard == "off":
        return router
    _add_pages(router, dashboard)
    _add_buttons(router, dashboard)
    return router


def _add_pages(router: APIRouter, dashboard: Dashboard) -> None:
    @router.head("/")
    async def head() -> Response:
        # Platforms ask for it to see whether somebody listens.
        return Response(headers=HEADERS)

    @router.get("/")
    async def page(request: Request) -> Response:
        return await dashboard.show(request)

    @router.get("/dashboard/events")
    async def events(request: Request) -> Response:
        return await dashboard.stream(request)

    @router.get("/dashboard/assets/{name}")
    async def asset(request: Request, name: str) -> Response:
        return dashboard.page.assets.answer(request, name)

    @router.get("/dashboard/login")
    async def login(request: Request) -> Response:
        return await dashboard.ask_token(request)

    @router.post("/dashboard/login")
    async def sign_in(request: Request) -> Response:
        return await dashboard.sign_in(request)

    @router.post("/dashboard/logout")
    async def sign_out(request: Request) -> Response:
        return await dashboard.sign_out(request)


def _add_buttons(router: APIRouter, dashboard: Dashboard) -> None:
    actions = dashboard.actions

    @router.post("/dashboard/jobs/{job}/pause")
    async def pause(request: Request, job: str) -> Response:
        return await dashboard.act(request, actions.pause(request, job))

    @router.post("/dashboard/jobs/{job}/resume")
    async def resume(request: Request, job: str) -> Response:
        return await dashboard.act(request, actions.resume(request, job))

    @router.post("/dashboard/jobs/{job}/run")
    async def run(request: Request, job: str) -> Response:
        return await dashboard.act(request, actions.run(request, job))

    @router.post("/dashboard/dead/{letter}/requeue")
    async def requeue(request: Request, letter: str) -> Response:
        return await dashboard.act(request, actions.requeue(request, letter))
