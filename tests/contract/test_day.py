"""A whole day of a worker's poller on a real server, in an instant."""

import random
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import Celery
from kombu import Consumer, Queue

import smartworker
from smartworker import rows
from smartworker.broker.poller import Poller
from smartworker.budget import simulate
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.store import processes
from smartworker.store.meter import UNBILLED, ledger
from smartworker.testing import ManualClock, ManualHub, commandstats
from smartworker.worker.clerk import Clerk
from smartworker.worker.pacer import Pacer


def billed(url):
    """What the server counted, without the free and this client's own."""
    with redis.Redis.from_url(url) as client:
        counts = commandstats(client)
    free = {*UNBILLED, "client"}
    return {name: n for name, n in counts.items() if name.split("|")[0] not in free}


@pytest.mark.parametrize(
    ("day", "polls"),
    [("2026-06-10", 402), ("2026-03-08", 400), ("2026-11-01", 404)],
)
def test_a_day_costs_what_the_plan_says(redis_url, day, polls):
    """Local midnight to local midnight in New York: the polls, and the worker's row.

    The row is read and written at the start and at the two edges, and written after
    each 90 commands: 402 polls become 412 commands.
    """
    settings = Settings(redis_url=redis_url)
    app = smartworker.setup(Celery("day"), settings)
    midnight = settings.windows.midnight
    date = datetime.fromisoformat(day).date()
    begin, end = midnight(date), midnight(date + timedelta(days=1))
    clock = ManualClock(begin.astimezone(UTC))
    hub = ManualHub(clock, patience=0.0005)
    with app.connection_for_read() as connection:
        transport = connection.transport
        poller = Poller(transport, clock=clock, rng=random.Random(1))
        transport.cycle = poller
        channel = connection.default_channel
        queues = [Queue(f"queue{n}", routing_key=f"queue{n}") for n in range(7)]
        with Consumer(channel, queues, callbacks=[print]):
            poller.attach(hub)
            hub.busy = lambda: poller._doorbell.unanswered
            pacer = Pacer(
                Policy(settings.windows, settings.quiet_poll),
                clock,
                poller.set_interval,
                ledger.billed,
            )

            clerk = Clerk(app, "worker", "celery@day", clock=clock)
            # Its thread is this one, and has its turn as soon as it is woken.
            clerk.wake = lambda: hub.call_later(0, clerk.turn)
            clerk.attend()

            def watch():
                hub.call_later(clerk.turn(), watch)

            def turn():
                decision = pacer.adjust()
                clerk.edge()
                hub.call_later((decision.until - clock.now()).total_seconds(), turn)

            turn()
            before = billed(redis_url)
            watch()
            hub.run((end - begin).total_seconds() - 0.001)
            after = billed(redis_url)
    spent = {name: n - before.get(name, 0) for name, n in after.items()}
    spent = {name: n for name, n in spent.items() if n}
    assert spent.pop("subscribe") == 1
    total = sum(spent.values())
    assert total <= 415
    plan = simulate(Policy(settings.windows, settings.quiet_poll), begin, end)
    assert (plan.polls, plan.row) == (polls, 10)
    # The first gap after each of the three changes is drawn at random.
    assert plan.polls <= spent.pop("exists") <= plan.polls + 3
    assert spent == {"hgetall": 3, "hset": 7}
    processes_say = rows.spent(processes.read(clerk._link.get().client), day[:7])
    assert total - sum(processes_say.values()) < 100
    clerk.close()
    assert poller.state == "connected"
