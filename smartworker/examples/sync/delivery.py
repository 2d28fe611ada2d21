"""Brings one change to the roster service; knows nothing of Celery."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smartworker.clock import Clock, system_clock
from smartworker.examples.sync.changes import Action, Change, State, Turn
from smartworker.examples.sync.client import Gone, Refused, Roster
from smartworker.examples.sync.database import Database, schedules
from smartworker.examples.sync.outbox import Beginning, Outbox


@dataclass(frozen=True)
class Outcome:
    """What became of a change; None where there is none."""

    change: Change | None
    state: str
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The task's result."""
        return {"state": self.state, "error": self.error}


class Delivery:
    """One roster service and the database that it is to follow."""

    def __init__(
        self, database: Database, roster: Roster, clock: Clock = system_clock
    ) -> None:
        self._database = database
        self._outbox = Outbox(database)
        self._roster = roster
        self._clock = clock

    def bring(self, change_id: int, fields: Mapping[str, str]) -> Outcome:
        """Apply a change if it is the next of its object.

        Raises Trouble where it is to be tried again.
        """
        begun = self._outbox.begin(change_id, self._clock.now())
        if begun is None:
            return Outcome(None, "unknown")
        if begun.turn is not Turn.APPLY:
            return Outcome(begun.change, begun.turn.value)
        state, error, values = State.DONE, None, {}
        try:
            values = self._ask(begun, fields)
        except Refused as refusal:
            state, error = State.REFUSED, str(refusal)
        self._settle(begun.change, state, error, values, self._clock.now())
        return Outcome(begun.change, state.value, error)

    def _settle(
        self,
        change: Change,
        state: State,
        error: str | None,
        values: Mapping[str, str],
        now: datetime,
    ) -> None:
        with self._database.transaction() as connection:
            self._outbox.close(connection, change, state, now, error)
            if values:
                connection.execute(
                    schedules.update()
                    .where(schedules.c.id == change.schedule_id)
                    .values(**values)
                )

    def _ask(self, begun: Beginning, fields: Mapping[str, str]) -> dict[str, str]:
        """The call itself; what is to be remembered of the answer."""
        change, roster = begun.change, self._roster
        match change.action:
            case Action.CREATE:
                reference = reference_of(change.object)
                return {"external": roster.create(reference, fields, change.key)}
            case Action.UPDATE:
                if begun.external is None:
                    raise Gone("The roster service never took the schedule itself.")
                roster.update(begun.external, fields, change.key)
            case Action.DELETE:
                for number, external in enumerate(self._names(begun)):
                    key = f"{change.key}-{number}" if number else change.key
                    roster.delete(external, key)
            case Action.EMPLOYEE:
                roster.employee(change.object, fields["name"], change.key)
        return {}

    def _names(self, begun: Beginning) -> list[str]:
        """What the schedule may be called there; nothing if it was never heard of."""
        if begun.external is not None:
            return [begun.external]
        if not begun.was_asked:
            return []
        # The answer to a create may have got lost, and the id with it.
        return self._roster.find(reference_of(begun.change.object))


def reference_of(schedule_id: str | int) -> str:
    """Our name for a schedule at the roster service."""
    return f"schedule-{schedule_id}"
