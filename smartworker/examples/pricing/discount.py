"""The discount rule: what a batch costs so many days before it expires."""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
#: The last day of each tier, counted back from the expiry date, and its percentage.
TIERS = ((1, 75), (3, 60), (7, 50), (14, 30), (21, 20), (30, 10))
#: Whoever has more days left is sold at the full price.
LONGEST = TIERS[-1][0]


@dataclass(frozen=True)
class Offer:
    """What a batch is sold for; `percent` is what the tier promises.

    The floor may leave less of it.
    """

    price: Decimal
    percent: int


def percent_of(days_left: int) -> int:
    """The percentage of the tier. An expired batch has none: it is not sold."""
    if days_left < 0:
        return 0
    return next((percent for last, percent in TIERS if days_left <= last), 0)


def offer(price: Decimal, floor: Decimal, days_left: int) -> Offer | None:
    """The offer for a batch, or None where it is sold at its full price.

    Never below the floor, never above the price; half a cent is rounded up.
    """
    percent = percent_of(days_left)
    reduced = (price * (100 - percent) / 100).quantize(CENT, ROUND_HALF_UP)
    reduced = max(reduced, min(floor, price))
    return Offer(reduced, percent) if reduced < price else None


def days_between(today: date, expires_on: date) -> int:
    """Days left; 0 on the expiry date itself, the last one on which it is sold."""
    return (expires_on - today).days
