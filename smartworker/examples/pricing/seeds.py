"""Batches to try the example with, the same ones each time."""

import argparse
import os
from collections.abc import Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa

from smartworker.clock import system_clock
from smartworker.examples.pricing.database import batches, connect_engine, transaction
from smartworker.examples.pricing.days import today_at

PRODUCTS = ("Milk", "Yoghurt", "Butter", "Brie", "Salmon", "Chicken", "Bread", "Salad")
#: Some have expired, and most expire within the tiers.
FIRST, LAST = -10, 45
A_TIME = 10_000

Row = dict[str, Any]


def seed(
    engine: sa.Engine, count: int, today: date, first: int = FIRST, last: int = LAST
) -> int:
    """Add batches until there are `count`; how many were added.

    They expire from `first` to `last` days after today.
    """
    with engine.connect() as connection, transaction(connection):
        there = connection.scalar(sa.select(sa.func.count(batches.c.id))) or 0
        for begin in range(there, count, A_TIME):
            numbers = range(begin, min(begin + A_TIME, count))
            rows = [batch(number, today, first, last) for number in numbers]
            connection.execute(batches.insert(), rows)
    return max(count - there, 0)


def batch(number: int, today: date, first: int = FIRST, last: int = LAST) -> Row:
    """The batch of this number; it follows from the number and the day."""
    random = Random(number)  # noqa: S311 - prices, not secrets
    price = random.randint(99, 4_999)
    return {
        "product": random.choice(PRODUCTS),
        "price_cents": price,
        "floor_cents": price * random.randint(20, 60) // 100,
        "expires_on": today + timedelta(days=random.randint(first, last)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Add batches to the database of DATABASE_URL."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}")
    parser.add_argument("--batches", type=int, default=1_000)
    options = parser.parse_args(arguments)
    engine = connect_engine(os.environ.get("DATABASE_URL"))
    added = seed(engine, options.batches, today_at(system_clock.now()))
    print(f"{added:,} batches added.")  # noqa: T201 - it is a command


if __name__ == "__main__":
    main()
