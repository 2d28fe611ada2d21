"""What the buttons do: the same as the endpoints of jobs and the command `dead`."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from smartworker.broker.letters import Outcome, Selection, letter_id, requeue
from smartworker.errors import BrokerUnreachable
from smartworker.logs import get_logger
from smartworker.web.dashboard.session import check_origin
from smartworker.web.jobs import Management
from smartworker.web.problems import Problem, unavailable

logger = get_logger(__name__)


@dataclass(frozen=True)
class Actions:
    """Each answers with the word for what was done. Raises Problem for all else.

    `management` has the gate that also opens for who has signed in.
    """

    management: Management

    async def pause(self, request: Request, job: str) -> str:
        """Stop the triggers of a job."""
        with self.management.telling(request, job):
            check_origin(request)
            await self.management.pause(request, job)
        return "paused"

    async def resume(self, request: Request, job: str) -> str:
        """Let the triggers of a job through again."""
        with self.management.telling(request, job):
            check_origin(request)
            await self.management.resume(request, job)
        return "resumed"

    async def run(self, request: Request, job: str) -> str:
        """Queue a run now, whatever the schedule says."""
        with self.management.telling(request, job):
            check_origin(request)
            answer = await self.management.run(request, job)
        return "queued" if answer.status_code == HTTPStatus.ACCEPTED else "skipped"

    async def requeue(self, request: Request, wanted: str) -> str:
        """Put a dead letter back into its queue; 8 commands, and 1 for the bell."""
        with self.management.telling(request):
            check_origin(request)
            self.management.gate.admit_manager(request, "")
            outcome = await self._requeue(wanted)
        logger.warning(
            "dead_requeued",
            letter=outcome.id,
            task=outcome.task,
            queue=outcome.queue,
            address=self.management.gate.address(request),
        )
        return "requeued"

    async def _requeue(self, wanted: str) -> Outcome:
        try:
            chosen = Selection((letter_id(wanted),))
        except ValueError as error:
            raise Problem(404, "There is no such dead letter.") from error

        def put_back() -> list[Outcome]:
            channel = self.management.states.link().channel
            return [*requeue(channel, chosen, self.management.clock.now())]

        try:
            found: list[Outcome] = await self.management.states.ask(put_back)
        except BrokerUnreachable as error:
            raise unavailable("The letter could not be put back; try again.") from error
        if not found or found[0].outcome == "missing":
            raise Problem(404, "There is no such dead letter (any more).")
        if found[0].outcome == "refused":
            raise Problem(409, found[0].detail)
        return found[0]
