"""The discount rule: tiers by days left, a floor, and money that is rounded."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.examples.pricing.discount import (
    CENT,
    LONGEST,
    Offer,
    days_between,
    offer,
    percent_of,
)

money = st.integers(1, 1_000_000).map(lambda cents: Decimal(cents).scaleb(-2))
days = st.integers(-5, 60)


@pytest.mark.parametrize(
    ("days_left", "percent"),
    [
        (-1, 0),
        (0, 75),
        (1, 75),
        (2, 60),
        (3, 60),
        (4, 50),
        (7, 50),
        (8, 30),
        (14, 30),
        (15, 20),
        (21, 20),
        (22, 10),
        (30, 10),
        (31, 0),
    ],
)
def test_the_tiers(days_left: int, percent: int) -> None:
    """Each tier ends on its day; an expired batch has no discount."""
    assert percent_of(days_left) == percent


@pytest.mark.parametrize(
    ("price", "floor", "days_left", "expected"),
    [
        ("10.00", "1.00", 30, Offer(Decimal("9.00"), 10)),
        ("9.99", "1.00", 0, Offer(Decimal("2.50"), 75)),
        ("0.05", "0.01", 30, None),  # 4.5 cents are 5
        ("0.15", "0.01", 30, Offer(Decimal("0.14"), 10)),  # 13.5 cents are 14
        ("10.00", "8.00", 0, Offer(Decimal("8.00"), 75)),
        ("10.00", "12.00", 0, None),
        ("10.00", "1.00", 31, None),
    ],
)
def test_offers(price: str, floor: str, days_left: int, expected: Offer | None) -> None:
    """Half a cent goes up, and a floor stops the discount."""
    assert offer(Decimal(price), Decimal(floor), days_left) == expected


@given(price=money, floor=money, days_left=days)
def test_an_offer_stays_within_its_bounds(
    price: Decimal, floor: Decimal, days_left: int
) -> None:
    """Not below the floor, below the price, and in whole cents."""
    found = offer(price, floor, days_left)
    if found is None:
        return
    assert floor <= found.price < price
    assert found.price == found.price.quantize(CENT)
    assert 0 <= days_left <= LONGEST
    exact = price * (100 - found.percent) / 100
    assert found.price == floor or abs(found.price - exact) <= CENT / 2


@given(price=money, floor=money, days_left=st.integers(0, 60))
def test_no_batch_becomes_dearer(
    price: Decimal, floor: Decimal, days_left: int
) -> None:
    """A day later it costs the same or less."""
    now, later = offer(price, floor, days_left + 1), offer(price, floor, days_left)
    before = price if now is None else now.price
    after = price if later is None else later.price
    assert after <= before


@given(price=money, higher=money, floor=money, days_left=days)
def test_a_dearer_batch_stays_dearer(
    price: Decimal, higher: Decimal, floor: Decimal, days_left: int
) -> None:
    """The order of two prices is kept."""
    cheap, dear = sorted((price, higher))
    offers = [offer(each, floor, days_left) for each in (cheap, dear)]
    prices = [
        each if found is None else found.price
        for each, found in zip((cheap, dear), offers, strict=True)
    ]
    assert prices[0] <= prices[1]


def test_days_are_counted_on_the_calendar() -> None:
    """On its last day a batch has 0 days left."""
    assert days_between(date(2026, 11, 25), date(2026, 11, 25)) == 0
    assert days_between(date(2026, 10, 31), date(2026, 11, 2)) == 2
