"""The facility's books: accounts, slots, capacity, release. No HTTP in here."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from secrets import token_urlsafe
from typing import Any

from smartworker.examples.swim.booking import Slot
from smartworker.examples.swim.release import EASTERN

DAYS_OFFERED = 14
POOLS = {"Main": 6, "Warm-up": 3}
TIMES = ("06:00", "07:00", "12:00", "18:00", "19:00")


class Refusal(Exception):
    """A request that the facility turns down, with its HTTP status."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Rules:
    """When slots are released on the day before, and how many fit on one lane."""

    #: A moment instead of a time of day releases all dates at once; None is always.
    release: time | datetime | None = time(21)
    capacity: int = 2
    #: Whether the first log-in of an unknown user makes an account.
    registers: bool = False

    def released_at(self, day: date) -> datetime | None:
        """When this date's slots are released; None means always."""
        if self.release is None or isinstance(self.release, datetime):
            return self.release
        before = day - timedelta(days=1)
        moment: datetime = EASTERN.localize(datetime.combine(before, self.release))
        return moment


class Lanes:
    """Everything the facility knows, in memory; safe for many threads."""

    def __init__(self, accounts: Mapping[str, str], rules: Rules) -> None:
        self._accounts = dict(accounts)
        self._rules = rules
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._taken: dict[tuple[date, str], list[str]] = {}
        self._by_key: dict[tuple[str, str], dict[str, Any]] = {}

    def log_in(self, user: str, password: str) -> dict[str, Any]:
        """A new token for this user."""
        with self._lock:
            if self._rules.registers:
                self._accounts.setdefault(user, password)
            known = self._accounts.get(user)
        if known != password:
            raise Refusal(401, "login", "User or password is wrong.")
        token = token_urlsafe(16)
        with self._lock:
            self._sessions[token] = user
        return {"token": token}

    def user(self, token: str) -> str:
        """Whose token this is."""
        with self._lock:
            user = self._sessions.get(token)
        if user is None:
            raise Refusal(401, "login", "Log in first.")
        return user

    def log_out_all(self) -> None:
        """Forget all tokens, as after a restart."""
        with self._lock:
            self._sessions.clear()

    def timetable(self, day: date, now: datetime) -> dict[str, Any]:
        """All slots of a date as if nobody had booked, and when they are released."""
        self._check_offered(day, now)
        released_at = self._rules.released_at(day)
        return {
            "released": released_at is None or now >= released_at,
            "released_at": released_at and released_at.isoformat(),
            "slots": [asdict(slot) for slot in self._all(lambda _id: 0)],
        }

    def slots(self, day: date, now: datetime) -> dict[str, Any]:
        """All slots of a released date."""
        self._check_release(day, now)
        with self._lock:
            return {"slots": [asdict(slot) for slot in self._slots(day)]}

    def book(
        self, user: str, slot_id: str, day: date, key: str, now: datetime
    ) -> dict[str, Any]:
        """Take a place. The same key again gives the same answer."""
        self._check_release(day, now)
        with self._lock:
            if (user, key) in self._by_key:
                return self._by_key[user, key]
            slot = next((slot for slot in self._slots(day) if slot.id == slot_id), None)
            if slot is None:
                raise Refusal(404, "slot", "There is no such slot.")
            if slot.free <= 0:
                raise Refusal(409, "full", "This slot is full.")
            self._taken.setdefault((day, slot_id), []).append(user)
            answer = {"slot": slot_id, "confirmation": token_urlsafe(6)}
            if key:
                self._by_key[user, key] = answer
            return answer

    def bookings(self, day: date) -> list[tuple[str, str]]:
        """Who booked what on this date: pairs of user and slot."""
        with self._lock:
            return [
                (user, slot_id)
                for (taken, slot_id), users in self._taken.items()
                for user in users
                if taken == day
            ]

    def of_user(self, user: str, day: date) -> dict[str, Any]:
        """The slots that this user has on this date."""
        mine = [slot_id for name, slot_id in self.bookings(day) if name == user]
        return {"bookings": mine}

    def _check_offered(self, day: date, now: datetime) -> None:
        today = now.astimezone(EASTERN).date()
        if not today <= day <= today + timedelta(days=DAYS_OFFERED):
            raise Refusal(404, "date", "This date is not offered.")

    def _check_release(self, day: date, now: datetime) -> None:
        self._check_offered(day, now)
        released_at = self._rules.released_at(day)
        if released_at and now < released_at:
            raise Refusal(
                409,
                "not_released",
                f"The slots of {day} are released at {released_at.isoformat()}.",
            )

    def _slots(self, day: date) -> list[Slot]:
        return self._all(lambda slot_id: len(self._taken.get((day, slot_id), ())))

    def _all(self, taken: Callable[[str], int]) -> list[Slot]:
        return [
            Slot(slot_id, pool, lane, start, self._rules.capacity - taken(slot_id))
            for pool, count in POOLS.items()
            for lane in range(1, count + 1)
            for start in TIMES
            for slot_id in (f"{pool}-{lane}-{start}".lower(),)
        ]
