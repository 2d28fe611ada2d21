"""The swim lanes with a real worker that is killed between a booking and its answer."""

import json
from pathlib import Path

from smartworker.clock import system_clock
from smartworker.examples.swim.database import Database
from smartworker.examples.swim.lanes import Rules
from smartworker.examples.swim.release import next_day
from tests.commands import run_command
from tests.processes import wait_until
from tests.swim import ACCOUNTS, Interrupted, serving

APP = "smartworker.examples.swim.app"
JOB = "schedule-swim-lanes"


def test_a_killed_worker_books_nothing_twice(start_worker, redis_url, tmp_path: Path):
    """kill -9, a second call, a new worker: the message comes back, the lanes stay."""
    url = f"sqlite:///{tmp_path / 'swim.sqlite3'}"
    lanes = Interrupted(ACCOUNTS, Rules(None))
    with serving(Rules(None), lanes=lanes) as server:
        settings = {
            "DATABASE_URL": url,
            "SWIM_FACILITY_URL": server.url,
            "SMARTWORKER_LEASE": "2s",
        }
        first = start_worker("-c", "1", app=APP, **settings)
        call = ("trigger", "-A", APP, JOB, "--key", "evening", "--json")
        queued = run_command(redis_url, *call, **settings)
        assert queued.returncode == 0, queued.stderr
        assert lanes.booked.wait(20), first.text
        first.kill_all()
        lanes.go_on.set()
        assert Database.from_url(url).bookings() == []
        again = run_command(redis_url, *call, **settings)
        told = [json.loads(each.stdout) for each in (queued, again)]
        assert told[0]["task_id"] == told[1]["task_id"]
        assert told[1]["replayed"]
        second = start_worker("-c", "1", app=APP, **settings)
        second.wait_for("task_finished")
        assert len(second.events("task_started")) == 1
        wait_until(lambda: len(Database.from_url(url).bookings()) == 2)
        taken = server.lanes.bookings(next_day(system_clock.now()))
    kept = Database.from_url(url).bookings()
    assert sorted(taken) == [(each.member, each.slot) for each in kept]
    assert [each.member for each in kept] == ["alice", "ben"]
    assert {each.confirmation for each in kept} == lanes.confirmed
