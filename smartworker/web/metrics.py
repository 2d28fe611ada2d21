"""`/metrics` of the web process: what this process has done, at no Redis command."""

from collections import Counter
from collections.abc import Iterable

from fastapi import APIRouter, Request
from starlette.responses import Response

from smartworker.cron.registry import Jobs
from smartworker.errors import BrokerUnreachable
from smartworker.exposition import Page
from smartworker.metrics import Readings, info, known_jobs
from smartworker.store.meter import ledger
from smartworker.web import contract
from smartworker.web.gate import Gate
from smartworker.web.problems import Problem
from smartworker.worker.readings import commands


class TriggerCounts:
    """What became of the calls that may start a job; one for each application."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def note(self, job: str, outcome: str, reason: str = "") -> None:
        """A call was accepted, replayed or skipped."""
        self._counts[job, outcome, reason] += 1

    def turned_away(self, job: str, problem: Problem) -> None:
        """A call was refused, or it failed as Redis was away.

        `job` is what the caller wrote: only declared names should come here.
        """
        if isinstance(problem.__cause__, BrokerUnreachable):
            self.note(job, "failed")
        else:
            self.note(job, "refused", str(problem.status))

    def readings(self, jobs: Iterable[str]) -> Readings:
        """All of the web process's metrics."""
        return {
            **commands(ledger.counts()),
            **info("web"),
            "smartworker_triggers_total": known_jobs(self._counts, jobs),
        }


def routes(counts: TriggerCounts, jobs: Jobs, gate: Gate) -> APIRouter:
    """`/metrics`, for whoever has a token; the scraper sends it as a Bearer."""
    page = Page(lambda: counts.readings(job.name for job in jobs))
    router = APIRouter(tags=["health"], dependencies=contract.READERS)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}}},
            **contract.problems(400, 401, 429, 503),
        },
    )
    async def metrics(request: Request) -> Response:
        """What this process has done, for Prometheus."""
        gate.admit_reader(request)
        body, kind = page.render(request.headers.get("accept", ""))
        return Response(
            body, headers={"Content-Type": kind, "Cache-Control": "no-store"}
        )

    return router
