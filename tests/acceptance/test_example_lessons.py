"""The marketplace of lessons as its users meet it: one command, then HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from mailbox import Maildir
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from smartworker.clock import system_clock
from smartworker.cron.registry import Jobs
from smartworker.examples.lessons.jobs import declare
from smartworker.examples.lessons.queues import PRIORITIES
from smartworker.examples.lessons.rules import day_of
from smartworker.examples.lessons.seeds import PASSWORD
from smartworker.store.server import free_port
from tests.examples import BEARER, WATCHING, Cost, Example, running
from tests.processes import wait_until

#: What keeps messages safe while they are held, what waits for tasks, and our looks:
#: how often these come is another matter.
AROUND = {*WATCHING, "zadd", "zrem", "time", "hgetall"}
#: A run whose result is stored and whose entry in the history is a row: 6 commands.
RUN = {"eval": 1, "set": 2, "lpush": 1, "lmove": 1, "lrem": 1}
#: A task that answers and tells that it began, and three that nobody asks for.
BOOKING = {"lpush": 4, "lmove": 4, "lrem": 4, "set": 2}
APP = "smartworker.examples.lessons.app"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the parts end with /proc"),
]


@dataclass
class Market:
    """The running marketplace and its letters."""

    example: Example
    letters: Path

    def log_in(self, name: str) -> dict[str, str]:
        """The header of a new session."""
        answer = self.example.client.post(
            "/api/sessions",
            json={"email": f"{name}@example.com", "password": PASSWORD},
        )
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def book(self, name: str, lesson: int) -> str:
        """Ask for a place and wait for the answer: the booking's status."""
        return str(self.settled(name, lesson)["status"])

    def settled(self, name: str, lesson: int) -> dict[str, Any]:
        """What the task has made of a new booking."""
        answer = self.example.client.post(
            f"/api/lessons/{lesson}/book", headers=self.log_in(name)
        )
        assert answer.status_code == 202, answer.text
        result = self.example.final(answer.json()["task_id"])["result"]
        assert result["booking_id"] == answer.json()["booking_id"]
        return dict(result)

    def get(self, name: str, path: str) -> Any:
        """What somebody sees."""
        return self.example.client.get(path, headers=self.log_in(name)).json()

    def free(self, lesson: int) -> int | None:
        """How many places a lesson is shown to have."""
        found = self.example.client.get("/api/lessons").json()
        return next(row["free"] for row in found if row["lesson_id"] == lesson)

    def subjects(self, name: str) -> list[str]:
        """What the letters to somebody are about."""
        letters = [
            message_from_bytes(letter.as_bytes(), policy=default)
            for letter in Maildir(self.letters)
        ]
        to = f"{name}@example.com"
        return sorted(str(one["Subject"]) for one in letters if one["To"] == to)

    def run(self, job: str, key: str = "", **query: str) -> dict[str, Any]:
        """Call a job as a cron service does, and wait for its end."""
        headers = {**BEARER, **({"Idempotency-Key": key} if key else {})}
        answer = self.example.client.post(
            f"/api/cron/{job}", headers=headers, params=query
        )
        assert answer.status_code == 202, answer.text
        return self.example.final(answer.json()["task_id"])

    def billed(self) -> dict[str, int]:
        """What was sent since the last call, once all tasks are done."""
        queues = [*PRIORITIES, "smartworker:inflight:*"]
        wait_until(
            lambda: not any(map(self.example.redis.keys, queues)), what="an idle worker"
        )
        found = self.example.billed()
        return {name: n for name, n in found.items() if name not in AROUND}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """The marketplace, ready; its mail server puts off the first letter."""
    directory = tmp_path_factory.mktemp("lessons")
    letters = directory / "letters"
    with running(
        "lessons",
        directory,
        LESSONS_MAIL_DIRECTORY=str(letters),
        LESSONS_MAIL_BUSY="1",
    ) as example:
        yield Market(example, letters)


def test_a_lesson_is_booked_and_everybody_hears_of_it(market: Market) -> None:
    """A letter although the mail server was busy, and notices for both sides."""
    assert market.book("ann", 1) == "confirmed"
    wait_until(lambda: market.subjects("ann"), what="the letter")
    assert market.subjects("ann") == ["You have a place in Piano for beginners"]
    assert '"task_retried"' in market.example.log()
    (booking,) = market.get("ann", "/api/bookings")
    assert booking["status"] == "confirmed"
    assert booking["teacher"] == "Clara"
    (notice,) = market.get("ann", "/api/notifications")
    assert notice["text"] == "You have a place in Piano for beginners."
    assert {each["text"] for each in market.get("clara", "/api/notifications")} == {
        "Ann comes to Piano for beginners."
    }


def test_a_lesson_has_so_many_places(market: Market) -> None:
    """The next one is declined, by a letter too; a place given back is free again."""
    first = market.settled("bob", 2)
    assert first["status"] == "confirmed"
    assert market.book("cleo", 2) == "declined"
    assert market.free(2) == 0
    wait_until(
        lambda: (
            market.subjects("cleo")
            == ["There is no place for you in Gypsy jazz guitar"]
        ),
        what="the letter",
    )
    client, number = market.example.client, first["booking_id"]
    url = f"/api/bookings/{number}"
    assert client.delete(url, headers=market.log_in("ann")).status_code == 404
    answer = client.delete(url, headers=market.log_in("bob"))
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    again = client.delete(url, headers=market.log_in("bob"))
    assert again.status_code == 409
    assert again.json()["detail"] == "The booking is cancelled already."
    assert market.free(2) == 1
    assert market.book("cleo", 2) == "confirmed"


def test_twenty_at_once_get_no_more_than_there_are(market: Market) -> None:
    """Eight places, twenty requests of four people: one place for each of them."""
    client = market.example.client
    headers = [market.log_in(name) for name in ("ann", "bob", "cleo", "dan")]
    asked = [
        client.post("/api/lessons/3/book", headers=headers[n % 4]).json()["task_id"]
        for n in range(20)
    ]
    found = [market.example.final(task)["result"]["status"] for task in asked]
    assert found.count("confirmed") == 4
    assert market.free(3) == 4


def test_the_seven_jobs_do_their_work(market: Market) -> None:
    """Each one, called as a cron service does, for the commands that are planned."""
    yesterday = day_of(int(system_clock.now().timestamp())) - timedelta(days=1)
    done, costs = {}, {}
    market.billed()
    for job in declared():
        found = market.run(job.name)
        assert found["state"] == "SUCCESS", market.example.log()
        done[job.name], costs[job.name] = found["result"], market.billed()
    # Ann's lesson is in 20 hours; the others are later.
    assert done["remind-of-bookings"] == {"reminded": 1}
    assert costs.pop("remind-of-bookings") != RUN  # the letter and the notice
    assert done["clean-up-sessions"] == {"dropped": 0}
    assert done["clean-up-notifications"] == {"dropped": 0}
    assert done["check-no-shows"] == {"no_shows": 0}
    assert done["warm-availability"] == {"lessons": 3}
    assert done["daily-analytics"]["day"] == yesterday.isoformat()
    assert done["check-health"] == {"worker": "", "mail": ""}
    assert costs == dict.fromkeys(costs, RUN)
    assert len(done) == 7
    answer = market.example.client.get("/api/health")
    assert answer.json() == {"status": "ok", "parts": {"mail": "ok", "worker": "ok"}}
    wait_until(
        lambda: "Piano for beginners begins soon" in market.subjects("ann"),
        what="the reminder",
    )


def test_the_figures_of_a_day(market: Market) -> None:
    """The job works out any day, and the application shows it."""
    today = day_of(int(system_clock.now().timestamp())).isoformat()
    assert market.run("daily-analytics", "today", day=today)["state"] == "SUCCESS"
    found = market.get("clara", f"/api/analytics/{today}")
    assert found["counts"]["confirmed"] >= 7
    assert found["counts"]["letters"] >= 7
    assert found["revenue_cents"] > 0
    url = "/api/analytics/2001-01-01"
    answer = market.example.client.get(url, headers=market.log_in("clara"))
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/lessons/1/book", 401),
        ("GET", "/api/notifications", 401),
        ("GET", "/api/lessons", 200),
        ("POST", "/api/sessions", 422),
        ("GET", "/livez", 200),
        ("POST", "/api/cron/check-health", 401),
    ],
)
def test_who_may_do_what(market: Market, method: str, path: str, status: int) -> None:
    """One's own things need a session, jobs their token; no half-open door."""
    assert market.example.client.request(method, path).status_code == status


def test_notices_are_read(market: Market) -> None:
    """One's own, and nobody else's."""
    client, ann = market.example.client, market.log_in("ann")
    number = market.get("ann", "/api/notifications")[0]["notification_id"]
    url = f"/api/notifications/{number}/read"
    assert client.post(url, headers=market.log_in("bob")).status_code == 404
    assert client.post(url, headers=ann).status_code == 204
    assert market.get("ann", "/api/notifications")[0]["read"] is True


def test_a_number_beyond_the_database_is_refused(market: Market) -> None:
    """422 wherever an id stands, and no fault."""
    client, ann, huge = market.example.client, market.log_in("ann"), 10**22
    for path in (
        f"/api/lessons/{huge}/book",
        f"/api/bookings/{huge}/check-in",
        f"/api/notifications/{huge}/read",
    ):
        assert client.post(path, headers=ann).status_code == 422
    assert client.delete(f"/api/bookings/{huge}", headers=ann).status_code == 422


def cost_row(market: Market) -> Cost:
    """What is measured here, and what is planned, for the README's table."""
    market.billed()
    market.example.client.post("/api/lessons/3/book", headers=market.log_in("dan"))
    billed = market.billed()
    assert billed == BOOKING
    tasks = billed["lmove"]
    trigger = sum(RUN.values()) - (RUN["lmove"] + RUN["lrem"] + 1)
    return Cost.planned(
        "lessons", declared(), trigger=trigger, task=round(sum(billed.values()) / tasks)
    )


def test_what_it_costs(market: Market) -> None:
    """A booking and all that follows; the idle day and the month of all jobs."""
    row = cost_row(market)
    assert row == Cost("lessons", 412, 3, 4, 513_240)
    assert row.is_in_the_readme()


def test_flower_shows_workers_tasks_and_queues(market: Market) -> None:
    """Flower starts against this application, and its API lists all three."""
    port = free_port()
    options = market.example.redis.connection_pool.connection_kwargs
    words = ["smartworker.cli.main", "flower", "-A", APP, "--port", str(port)]
    kept = ("PATH", "HOME", "LANG")
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        env={
            **{key: os.environ[key] for key in kept if key in os.environ},
            "REDIS_URL": f"redis://127.0.0.1:{options['port']}/0",
            "FLOWER_UNAUTHENTICATED_API": "true",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as flower:
        address = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
                look_at_flower(client, market)
        finally:
            flower.terminate()
            flower.wait(10)


def look_at_flower(client: httpx.Client, market: Market) -> None:
    """Workers, tasks and queues, as Flower's API tells."""
    wait_until(lambda: answers(client), what="Flower")
    (worker,) = client.get("/api/workers", params={"refresh": "1"}).json().values()
    assert {queue["name"] for queue in worker["active_queues"]} == set(PRIORITIES)
    lengths = client.get("/api/queues/length").json()["active_queues"]
    assert {row["name"]: row["messages"] for row in lengths} == dict.fromkeys(
        PRIORITIES, 0
    )

    def shows_a_task() -> bool:
        # Flower answers before it listens, so the first task may escape it.
        market.run("warm-availability", uuid4().hex)
        tasks = client.get("/api/tasks").json().values()
        shown = {task["name"] for task in tasks if task["state"] == "SUCCESS"}
        return "lessons.warm_availability" in shown

    wait_until(shows_a_task, what="the task")
    market.billed()
    market.run("warm-availability", uuid4().hex)
    # The task was received, has begun, and has succeeded.
    assert market.billed()["publish"] == 3


def answers(client: httpx.Client) -> bool:
    """Whether it is up."""
    try:
        return client.get("/api/tasks").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def declared() -> Jobs:
    """The jobs of the marketplace."""
    jobs = Jobs()
    declare(jobs)
    return jobs
