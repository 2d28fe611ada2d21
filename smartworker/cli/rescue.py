"""`smartworker rescue`: brings back by hand what dead workers held."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from smartworker.broker.adoption import MOST, Adopter
from smartworker.broker.rescue import Rescued, Rescuer
from smartworker.cli.connection import EXIT_STATUSES, app_option, opened
from smartworker.cli.shown import about, plain, queue_name
from smartworker.store import keys
from smartworker.store.dead import DeadLetters, Facts
from smartworker.store.leases import Leases
from smartworker.worker.link import Link


@click.command(
    short_help="Bring back what dead workers held.",
    epilog=f"""\b
Examples:
  smartworker rescue
  smartworker rescue --orphans --json

Exit statuses: 0 done, 2 wrong usage, {EXIT_STATUSES}.
""",
)
@click.option(
    "--orphans",
    is_flag=True,
    help="Also in-flight lists without a lease: 1 command per 1,000 keys.",
)
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def rescue(orphans: bool, app_name: str, as_json: bool) -> None:
    """Bring back what dead workers held, as the next worker would.

    A worker is dead when its lease has ended. What a living one holds stays where it
    is. Messages that were delivered too often go to the dead letters. 3 commands; 6
    for each list that is brought back, and 2 for each message in it.
    """
    lists: list[Rescued] = []
    with opened(app_name) as broker:
        rounds = Rounds(broker)
        try:
            for one in rounds.ended():
                lists.append(one)
                tell(one, rounds.now_ms, as_json)
            if orphans:
                click.echo(
                    "Looking through all keys for lists without a lease: 1 command "
                    "per 1,000 keys.",
                    err=True,
                )
                for one in rounds.orphans():
                    lists.append(one)
                    tell(one, rounds.now_ms, as_json)
            stock = rounds.stock()
        finally:
            rounds.follow_up()
    if as_json:
        found = [one.as_json() for one in lists]
        click.echo(json.dumps({"lists": found, "stock": stock}, indent=2))
        return
    if stock:
        click.echo(f"{stock:,} came back from stock workers.")
    if not stock and not any(one.returned or one.died for one in lists):
        click.echo("Nothing to rescue.")


class Rounds:
    """One look at everything that workers may have left behind."""

    def __init__(self, broker: Link) -> None:
        self._broker = broker
        self._deaths: list[Facts] = []
        most = broker.channel.connection.max_deliveries
        self._rescuer = Rescuer(broker.client, broker.prefix, most, self._deaths.append)
        self._adopter = Adopter(
            broker.channel, broker.client, most, self._deaths.append
        )
        leases = Leases(broker.client, broker.prefix)
        self._ends = leases.read()
        self.now_ms = leases.now_ms()

    def ended(self) -> Iterator[Rescued]:
        """Every list with a lease: brought back if it has ended."""
        for name, end in sorted(self._ends.items()):
            if end <= self.now_ms:
                yield from self._rescue(name)
            else:
                # A name that is none is left to whoever wrote it.
                with suppress(ValueError):
                    worker, queue = keys.owner(name, self._broker.prefix)
                    yield Rescued(worker, queue, lease_ms=end)

    def orphans(self) -> Iterator[Rescued]:
        """Every list without a lease, brought back."""
        for name in sorted(set(self._rescuer.orphans()) - self._ends.keys()):
            yield from self._rescue(name)

    def _rescue(self, name: str) -> Iterator[Rescued]:
        with suppress(ValueError):
            yield self._rescuer.rescue(name)

    def stock(self) -> int:
        """How many messages came back that stock workers had given up."""
        count = 0
        while (adopted := self._adopter.adopt(self.now_ms)) == MOST:
            count += adopted
        return count + adopted

    def follow_up(self) -> None:
        """What workers do when a message has died; 1 command a death, and 2."""
        if self._deaths:
            self._tell_waiters()
            now = datetime.fromtimestamp(self.now_ms / 1000, UTC)
            DeadLetters(self._broker.client, self._broker.prefix).trim(
                now, _say_dropped
            )

    def _tell_waiters(self) -> None:
        """Store a failure for whoever waits; the result store may be away."""
        from celery import states

        from smartworker.worker.safekeeper import DeadLettered

        app: Any = self._broker.app
        # One try: workers have minutes for it, a person has not.
        app.conf.result_backend_transport_options = {
            **app.conf.result_backend_transport_options,
            "retry_policy": {"max_retries": 0},
        }
        try:
            for facts in self._deaths:
                if facts.task_id is not None:
                    error = DeadLettered(f"{facts.reason}: {facts.detail}")
                    app.backend.store_result(facts.task_id, error, states.FAILURE)
        except Exception as failure:
            click.echo(
                "smartworker: Who waits for the dead tasks does not hear of it: "
                f"{plain(failure)}.",
                err=True,
            )


def _say_dropped(count: int, why: str) -> None:
    click.echo(f"{count:,} of the oldest dead letters were dropped ({why}).", err=True)


def tell(one: Rescued, now_ms: int, as_json: bool) -> None:
    """One line about one list."""
    if as_json:
        return
    if one.lease_ms:
        left = timedelta(milliseconds=max(one.lease_ms - now_ms, 0))
        what = f"alive for {about(left)} more"
    else:
        what = f"{one.returned:,} returned, {one.died:,} dead"
    click.echo(f"{plain(one.worker)}  {queue_name(one.queue)}  {what}")
