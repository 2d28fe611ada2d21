"""The arithmetic of the bill."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smartworker
from benchmarks.lab.facts import Facts
from benchmarks.lab.peers import Unavailable
from benchmarks.measures import bill
from benchmarks.measures.bill import Units, cheapest, tasks_within

OURS = Units(412, task=5.5, run=3, question=1, ours=True, ends=4, between=1)
STOCK = Units(142_272, task=17, run=14, question=1)


@pytest.mark.parametrize(
    ("commands", "plan", "dollars"),
    [
        (0, "free", 0.0),
        (500_000, "free", 0.0),
        (500_001, "pay as you go", 1.000002),
        (4_999_999, "pay as you go", 9.999998),
        (5_000_001, "fixed 250 MB", 10.0),
        (1_000_000_000, "fixed 250 MB", 10.0),
    ],
)
def test_the_cheapest_plan(commands: int, plan: str, dollars: float) -> None:
    """Free, then by the command, then never more than the smallest fixed plan."""
    assert cheapest(commands) == (plan, pytest.approx(dollars))


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_more_commands_are_never_cheaper(one: int, other: int) -> None:
    """And nothing costs more than it does by the command."""
    low, high = sorted((one, other))
    assert cheapest(low)[1] <= cheapest(high)[1] <= max(high * 0.20 / 100_000, 0)


@given(
    st.integers(0, 10**8),
    st.floats(0, 10**7, allow_nan=False),
    st.floats(0.5, 100, allow_nan=False),
)
def test_how_many_tasks_fit(commands: int, base: float, task: float) -> None:
    """As many fit, and one more does not."""
    many = tasks_within(commands, base, task)
    assert many == 0 or base + many * task <= commands * (1 + 1e-12)
    assert base + (many + 1) * task > commands * (1 - 1e-12)


@pytest.mark.parametrize("name", bill.USERS)
def test_a_month_is_the_sum_of_its_parts(name: str) -> None:
    """For both, and jobs cost what the command says of them."""
    usage = bill.USERS[name]
    for units, extra in ((OURS, usage.extra), (STOCK, 0)):
        month = bill.bill(name, units)
        assert month["idle"] == units.idle_day * 30 * usage.workers
        assert month["tasks"] == usage.tasks * (units.task + extra)
        parts = (month[part] for part in ("idle", "jobs", "tasks", "waits"))
        assert month["commands"] == round(sum(parts))
        assert (month["plan"], month["dollars"]) == (
            cheapest(month["commands"])[0],
            round(cheapest(month["commands"])[1], 2),
        )
        assert month["free_until"] <= month["pay_until"]
    check = bill.bill(name, OURS)["jobs_check"]
    assert check["composed"] == check["command"] > 0
    assert "jobs_check" not in bill.bill(name, STOCK)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("swim", 30),
        ("league", 4),
        ("lessons", 720 + 1440 + 2880 + 8640 + 43_200 + 30 + 30),
        ("pricing", 720 + 30 + 120),
        ("sync", 720),
    ],
)
def test_runs_follow_the_schedules(name: str, runs: int) -> None:
    """In 30 days; with Celery each is a task."""
    month = bill.bill(name, STOCK)
    assert (month["runs"], month["jobs"]) == (runs, runs * 17)


def test_waiting() -> None:
    """Asked each 2 s, or held for 25 s at a time."""
    assert [STOCK.wait(seconds) for seconds in (0, 1, 10, 300)] == [0, 1, 5, 150]
    assert [OURS.wait(seconds) for seconds in (10, 50, 75, 300)] == [4, 4, 5, 14]


def facts(**measures: Any) -> Facts:
    """Raw numbers as the measures write them."""
    return Facts({name: {"numbers": found} for name, found in measures.items()})


def test_units_are_those_that_were_measured() -> None:
    """Whole days and 200 tasks for ours, hours and single tasks for Celery."""
    autumn = {"hours": 25.0, "tasks": 0, "server": 414}
    busy = {"hours": 25.0, "tasks": 200, "server": 1514}
    spring = {"hours": 23.0, "tasks": 0, "server": 410}
    single = {"results": {"single": {"per_task": 4.0, "producer": 1.0}}}
    wait = {"question": 1, "long_poll": {"first": 3, "between": 1, "last": 1}}
    stock = {"results": {"single": {"per_task": 17.0, "producer": 3.0}}}
    found = facts(
        day={"smartworker": {"autumn": autumn, "busy": busy, "spring": spring}},
        tasks={
            "smartworker": {**single, "status": wait},
            "celery": {**stock, "status": {"question": 1}},
        },
        idle={"celery": {"hours": {"total_per_day": 142_272}}},
    )
    assert bill.measured(found, "smartworker") == OURS
    assert bill.measured(found, "celery") == STOCK
    with pytest.raises(Unavailable, match=r"not measured yet: idle, tasks"):
        bill.measured(found, "celery-frugal-30")
    with pytest.raises(Unavailable, match=r"day"):
        bill.measured(facts(), "smartworker")


def test_a_rough_look_takes_the_plan() -> None:
    """Of ours; of Celery a window of seconds. Only where that is asked for.

    412 is what the README says of an ordinary day.
    """
    single = {"results": {"single": {"per_task": 4.0, "producer": 1.0}}}
    wait = {"question": 1, "long_poll": {"first": 3, "between": 1, "last": 1}}
    window = {"total_per_minute": 9.0, "total_per_day": 12_960}
    found = facts(
        day={"smartworker": {"night": {"hours": 9.0, "tasks": 0, "server": 380}}},
        tasks={
            "smartworker": {**single, "status": wait},
            "celery-frugal-30": single,
            "celery": {"status": {"question": 1}},
        },
        idle={
            "celery-frugal-30": {"cases": {"1x1": {"idle": window}}},
        },
    )
    ours = bill.measured(found, "smartworker", rough=True)
    assert (ours.idle_day, ours.task, ours.run) == (412, 6.0, 3.0)
    assert bill.measured(found, "celery-frugal-30", rough=True).idle_day == 12_960
    for peer in ("smartworker", "celery-frugal-30"):
        with pytest.raises(Unavailable, match="idle"):
            bill.measured(found, peer)


def test_every_application_is_a_user() -> None:
    """One for each folder of the examples."""
    found = Path(smartworker.__file__).parent / "examples"
    assert {path.parent.name for path in found.glob("*/jobs.py")} == bill.USERS.keys()
