"""`smartworker doctor --probe`: what no document says of a database, tried on it."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import click

from smartworker.cli.connection import opened
from smartworker.cli.probe_print import ask_for_counter, print_probe, print_step
from smartworker.clock import Clock, system_clock
from smartworker.durations import format_duration
from smartworker.store.bill import bill_cost, run, steps
from smartworker.store.client import ResponseError
from smartworker.store.probe import (
    BELL_COST,
    SILENCE_COST,
    Bell,
    Silence,
    bell,
    latency,
    refused,
    scratch,
    silence,
    trials_cost,
)
from smartworker.worker.link import Link

#: Seconds between two lines about the silence.
SAY_EACH = 15.0


@dataclass(frozen=True)
class Plan:
    """What is to be tried, and what that costs."""

    silence: timedelta
    bill: int | None

    @property
    def cost(self) -> int:
        """Billed commands, if the server refuses none."""
        silent = SILENCE_COST if self.silence else 0
        return (
            trials_cost()
            + BELL_COST
            + silent
            + bill_cost(self.bill or 0) * bool(self.bill)
        )


@dataclass
class Results:
    """What came out; in seconds."""

    cost: int
    latency: tuple[float, float] = (0.0, 0.0)
    refused: dict[str, str] = field(default_factory=dict)
    bell: Bell | None = None
    silence: list[Silence] = field(default_factory=list)
    bill: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        middle, longest = self.latency
        return {
            "commands": self.cost,
            "round_trip_ms": {
                "median": round(1000 * middle, 3),
                "longest": round(1000 * longest, 3),
            },
            "refused": self.refused,
            "keyspace_events": self.bell and asdict(self.bell),
            "silence": [asdict(each) for each in self.silence],
            "bill": self.bill,
        }


def run_probe(
    app_name: str,
    silent: timedelta,
    count: int | None,
    *,
    yes: bool,
    as_json: bool,
    clock: Clock = system_clock,
) -> None:
    """Name the cost, ask, try everything out, and say what came out."""
    plan = Plan(silent, count)
    confirm(plan, yes=yes)
    with opened(app_name) as link:
        found = try_out(link, plan, clock, as_json=as_json)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        print_probe(found)


def confirm(plan: Plan, *, yes: bool) -> None:
    """Say what it costs, and let a person agree. Raises UsageError without one."""
    wait = f", and takes {format_duration(plan.silence)}" if plan.silence else ""
    click.echo(f"This costs {plan.cost:,} commands that are billed{wait}.", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask in: say --yes.")
    click.confirm("Go on?", abort=True, err=True)


def try_out(link: Link, plan: Plan, clock: Clock, *, as_json: bool = False) -> Results:
    """All trials, the silence last. Raises what redis-py raises."""
    client, base = link.client, scratch(link.prefix)
    doorbell = link.app.conf.broker_transport_options.get("doorbell", "auto")
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    found = Results(plan.cost, latency(client, clock))
    found.refused = refused(client, base)
    may_set = doorbell in ("auto", "keyspace")
    found.bell = bell(client, base, may_set=may_set, database=database)
    if plan.bill:
        found.bill = read_off(client, base, plan.bill, quietly=as_json)
    if plan.silence:
        seconds = plan.silence.total_seconds()
        found.silence = silence(client, base, clock, seconds, progress(seconds))
    return found


def read_off(
    client: Any, base: str, count: int, *, quietly: bool
) -> list[dict[str, Any]]:
    """Send each question of the bill, between two looks at the provider's counter."""
    ask = sys.stdin.isatty() and not quietly
    told = []
    for step in steps(base):
        if ask:
            ask_for_counter(f"before {count:,} x {step.name}")
        try:
            error = run(client, base, step, count)
        except ResponseError as refusal:
            error = str(refusal)
        expected = {text: each * count for each, text in step.readings}
        told.append({"name": step.name, "expected": expected, "error": error})
        if not quietly:
            print_step(told[-1])
    if ask:
        ask_for_counter("after the last one")
    return told


def progress(seconds: float) -> Callable[[float], None]:
    """What says now and then, on stderr, that the silence goes on."""
    said = [0.0]

    def say(passed: float) -> None:
        if passed - said[0] >= SAY_EACH and passed < seconds:
            said[0] = passed
            so_far = format_duration(timedelta(seconds=passed))
            whole = format_duration(timedelta(seconds=seconds))
            click.echo(f"Silent for {so_far} of {whole}; Ctrl-C ends it.", err=True)

    return say
