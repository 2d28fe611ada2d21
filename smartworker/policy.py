"""How often to poll at a given instant, until when, and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from smartworker.windows import Windows, to_utc

SHORTEST_LEASE = timedelta(minutes=5)
LONGEST_LEASE = timedelta(minutes=15)


def lease_for(poll: timedelta) -> timedelta:
    """How long a message stays a worker's without a sign of life from it.

    Ten polls, between 5 and 15 minutes: in a window what a dead worker held comes
    back sooner, outside a lease costs fewer commands.
    """
    return min(max(10 * poll, SHORTEST_LEASE), LONGEST_LEASE)


@dataclass(frozen=True)
class Decision:
    """The poll that holds from `since` up to and without `until`, and its reason."""

    poll: timedelta
    window: str | None
    since: datetime | None
    until: datetime | None
    reason: str

    def next_poll(self, now: datetime) -> datetime:
        """When to poll next after a poll at `now`: never later than the next change."""
        due = to_utc(now) + self.poll
        return due if self.until is None else min(due, self.until)


@dataclass(frozen=True)
class Widening:
    """Quiet polls are further apart for a while; windows are as they were."""

    poll: timedelta
    until: datetime
    reason: str


@dataclass(frozen=True)
class Policy:
    """Poll as the open window says, and every `quiet_poll` outside of all windows."""

    windows: Windows
    quiet_poll: timedelta
    widening: Widening | None = None

    def decide(self, now: datetime) -> Decision:
        """The decision for this instant; it holds until its `until`."""
        window, until = self.windows.at(now), self.windows.next_change(now)
        poll, reason = self.quiet_poll, "no window is open"
        wide = self.widening
        if window:
            poll, reason = window.poll, f"window {window.name} is open"
        elif wide and wide.poll > poll and to_utc(now) < wide.until:
            poll, reason = wide.poll, wide.reason
            until = wide.until if until is None else min(until, wide.until)
        return Decision(
            poll=poll,
            window=window.name if window else None,
            since=self.windows.last_change(now),
            until=until,
            reason=reason,
        )
