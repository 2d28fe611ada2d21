"""Which slots suit a member, best first. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Slot:
    """A lane at a time, as the facility offers it."""

    id: str
    pool: str
    lane: int
    time: str
    free: int


@dataclass(frozen=True)
class Preference:
    """What a member wants; None means that any will do. Monday is weekday 0."""

    pool: str
    lane: int | None
    time: str
    weekday: int | None = None

    def fits(self, slot: Slot, day: date) -> bool:
        """Whether the slot is what this preference asks for."""
        return (
            slot.pool == self.pool
            and slot.time == self.time
            and self.lane in (None, slot.lane)
            and self.weekday in (None, day.weekday())
        )


@dataclass(frozen=True)
class Member:
    """A person with an account at the facility; preferences stand in their rank."""

    name: str
    password: str
    preferences: tuple[Preference, ...]


def choices(
    preferences: Sequence[Preference], slots: Iterable[Slot], day: date
) -> Iterator[Slot]:
    """The free slots that suit, best first, each one once."""
    free = sorted(
        (slot for slot in slots if slot.free > 0),
        key=lambda slot: (-slot.free, slot.lane),
    )
    seen = set()
    for preference in preferences:
        for slot in free:
            if slot.id not in seen and preference.fits(slot, day):
                seen.add(slot.id)
                yield slot


def first_wish(
    preferences: Sequence[Preference], slots: Iterable[Slot], day: date, turn: int
) -> Slot | None:
    """What to ask for first, before anybody knows what is free.

    Members who take any lane are spread over the lanes by their `turn`.
    """
    offered = sorted(slots, key=lambda slot: slot.lane)
    for preference in preferences:
        fitting = [slot for slot in offered if preference.fits(slot, day)]
        if fitting:
            return fitting[turn % len(fitting)]
    return None


def best(
    preferences: Sequence[Preference], slots: Iterable[Slot], day: date
) -> Slot | None:
    """The free slot that suits best."""
    return next(choices(preferences, slots, day), None)
