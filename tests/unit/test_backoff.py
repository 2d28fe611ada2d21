"""Pauses between tries."""

import random
from itertools import islice

import pytest

from smartworker.backoff import pauses


def test_pauses_double_up_to_the_most() -> None:
    """1, 2, 4, 8, 16, and 30 for ever."""
    found = list(islice(pauses(spread=0.0), 8))
    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_first_and_most_are_arguments() -> None:
    """Other bounds give another series."""
    assert list(islice(pauses(0.1, 0.5, 0.0), 5)) == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_pauses_are_spread_by_a_fifth() -> None:
    """1,000 workers: the first pause lies between 0.8 and 1 s, evenly."""
    found = [next(pauses(rng=random.Random(seed))) for seed in range(1000)]
    assert 0.8 <= min(found) < 0.81
    assert 0.99 < max(found) <= 1.0
    assert sum(found) / 1000 == pytest.approx(0.9, abs=0.01)


def test_the_same_seed_gives_the_same_pauses() -> None:
    """The random source is an argument."""
    one, two = (list(islice(pauses(rng=random.Random(3)), 10)) for _ in range(2))
    assert one == two
    assert one != list(islice(pauses(rng=random.Random(4)), 10))


def test_without_a_source_two_series_differ() -> None:
    """Workers that lost the same server do not come back together."""
    assert list(islice(pauses(), 10)) != list(islice(pauses(), 10))


def test_a_minute_away_costs_few_tries() -> None:
    """At most 8 tries in the first minute, 2 or 3 in each later one."""
    series = pauses(rng=random.Random(5))
    total, tries = 0.0, 0
    while total < 60:
        total += next(series)
        tries += 1
    assert 5 <= tries <= 8
    assert 48 < sum(islice(series, 2)) < 60
