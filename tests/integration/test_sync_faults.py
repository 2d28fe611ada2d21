"""The sync example with its broker, its third party and its workers being hurt."""

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartworker.examples.sync.client import Roster
from tests.integration.sync_site import SyncSite, sequences, sync_site, timed
from tests.processes import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncSite]:
    """A site with one worker of four processes, for all tests here."""
    with sync_site(tmp_path_factory.mktemp("sync"), SYNC_STALE_SECONDS="0") as site:
        site.start_worker()
        yield site


@pytest.fixture(autouse=True)
def good_mood(site: SyncSite) -> Iterator[None]:
    """Each test begins and ends with a roster service that is well."""
    site.mood("good")
    yield
    site.mood("good")


def test_200_changes_of_20_schedules_come_in_order(site: SyncSite) -> None:
    """None lost, none doubled, none overtaken: two workers, a moody third party."""
    second = site.start_worker(2)
    site.mood("moody", share=0.15, slow_seconds=0.05)
    numbers = [
        site.save(f"order-{event}")["schedule"]["schedule_id"] for event in range(20)
    ]
    with ThreadPoolExecutor(8) as threads:
        # Nine changes of each, all schedules mixed, from several clients at once.
        calls = [(number, minute) for minute in range(9) for number in numbers]
        list(threads.map(lambda call: site.move(*call), calls))
    site.settle()
    found = sequences(site.heard())
    for number in numbers:
        assert found[f"schedule-{number}"] == list(range(1, 11))
        assert site.heard(number)[0]["action"] == "create"
    assert site.outbox.counts()["refused"] == 0
    assert site.stop_worker(second) == 0


def test_everything_at_once(site: SyncSite) -> None:
    """Trades, deletes, a killed worker, a broker that restarts: both sides agree."""
    first = site.start_worker(2)
    site.mood("moody", share=0.2, slow_seconds=0.05)
    dice = random.Random(7)
    numbers = [
        int(site.save(f"mix-{event}", f"e{event}")["schedule"]["schedule_id"])
        for event in range(20)
    ]
    for step in range(120):
        one, other = dice.sample(numbers, 2)
        match dice.randrange(8):
            case 0:
                body = {"schedule_id": one, "other_schedule_id": other}
                site.call("POST", "/api/trade_events", **body)
            case 1:
                body = {"schedule_id": one, "employee_id": f"e{step}"}
                site.call("POST", "/api/change_employee", **body)
            case 2 if step > 60:
                site.call("DELETE", f"/api/unschedule/{one}")
            case _:
                start = f"2026-11-23T08:{step % 60:02}"
                site.call("POST", "/api/reschedule", schedule_id=one, start=start)
        if step == 40:
            site.workers.remove(first)
            first.kill()
        if step == 80:
            site.broker.kill()
        if step == 100:
            site.broker.restart()
    site.mood("good")
    site.settle()
    made = sequences(site.heard())
    for number in numbers:
        mine = made.get(f"schedule-{number}", [])
        assert mine == sorted(set(mine))
    assert site.outbox.counts()["refused"] == 0
    assert site.refresh()["repaired"] == 0


def test_a_stopped_broker_delays_and_loses_nothing(site: SyncSite) -> None:
    """Requests are answered at once, with a warning in the log; nobody has to call."""
    site.broker.kill()
    saved = site.save("no-broker")
    number = saved["schedule"]["schedule_id"]
    took = [timed(lambda minute=minute: site.move(number, minute)) for minute in (1, 2)]
    assert max(took) < 1
    wait_until(lambda: "The broker is away" in site.web.log.read_text())
    assert site.heard(number) == []
    site.broker.restart()
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2, 3]}
    assert "The outbox is drained" in site.web.log.read_text()


def test_a_silent_broker_holds_up_no_request(site: SyncSite) -> None:
    """Connections stay open and nobody answers: still quick, and no threads pile up."""
    number = site.save("silent-broker")["schedule"]["schedule_id"]
    site.wait_until_drained()
    site.broker.pause()
    try:
        took = [timed(lambda m=minute: site.move(number, m)) for minute in range(40)]
        threads = site.web.threads()
    finally:
        site.broker.resume()
    assert max(took) < 1
    assert threads < 30
    site.wait_until_drained(40)
    assert sequences(site.heard(number)) == {f"schedule-{number}": list(range(1, 42))}


def test_killed_between_commit_and_publication(site: SyncSite) -> None:
    """What is saved and not queued is queued when a web process starts."""
    site.broker.kill()
    number = site.save("killed-web")["schedule"]["schedule_id"]
    site.web.kill()
    site.broker.restart()
    assert site.due() == 1
    site.start_web()
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1]}


def test_a_third_party_that_is_killed_and_comes_back(site: SyncSite) -> None:
    """Three retries, then the change rests; the hourly refresh takes it up again."""
    number = site.save("killed-roster")["schedule"]["schedule_id"]
    site.wait_until_drained()
    site.roster.kill()
    task_id = site.move(number, 1)["sync"][0]["task_id"]
    site.move(number, 2)
    worker = site.workers[0]
    wait_until(
        lambda: any(e["task_id"] == task_id for e in worker.events("task_failed"))
    )
    retried = [e for e in worker.events("task_retried") if e["task_id"] == task_id]
    assert len(retried) == 3
    assert site.due() == 0
    site.roster = site.start_roster()
    assert site.refresh()["revived"] >= 1
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2, 3]}


def test_retries_of_a_create_hold_back_its_updates(site: SyncSite) -> None:
    """While it fails nothing else of the schedule is tried."""
    site.mood("failing")
    number = site.save("failing-create")["schedule"]["schedule_id"]
    site.move(number, 1)
    worker = site.workers[0]
    wait_until(lambda: len(worker.events("task_retried")) >= 2)
    site.mood("good")
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2]}


def test_a_rate_limit_is_kept_and_is_no_failure(site: SyncSite) -> None:
    """Eight calls at two a second: nobody gives up, and all arrive in their order."""
    site.mood("good", rate=2)
    numbers = [
        site.save(f"limit-{event}")["schedule"]["schedule_id"] for event in range(4)
    ]
    for number in numbers:
        site.move(number, 1)
    took = site.wait_until_drained(30)
    assert took > 2
    for number in numbers:
        assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2]}


@pytest.mark.parametrize("mood", ["nonsense", "losing"])
def test_what_was_done_is_not_done_again(site: SyncSite, mood: str) -> None:
    """The answer is nonsense or gets lost after the work: the key tells it apart."""
    before = site.replays()
    site.mood(mood)
    number = site.save(f"mood-{mood}")["schedule"]["schedule_id"]
    site.move(number, 1)
    wait_until(lambda: site.replays() > before)
    site.mood("good")
    site.refresh()
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2]}


def test_deletes_win(site: SyncSite) -> None:
    """Updates that wait are not made any more, and the delete is the last word."""
    site.mood("failing")
    number = site.save("deleted")["schedule"]["schedule_id"]
    for minute in range(5):
        site.move(number, minute)
    assert site.call("DELETE", f"/api/unschedule/{number}").status_code == 200
    assert site.call("DELETE", f"/api/unschedule/{number}").status_code == 404
    site.mood("good")
    site.wait_until_drained()
    assert site.heard(number) == []  # it had refused the create, so nothing is there
    assert site.refresh()["repaired"] == 0


def test_a_delete_after_a_lost_answer(site: SyncSite) -> None:
    """The schedule was made and nobody knows its name: it is looked up and deleted."""
    site.mood("losing")
    number = site.save("lost-answer")["schedule"]["schedule_id"]
    wait_until(lambda: site.heard(number))
    site.call("DELETE", f"/api/unschedule/{number}")
    site.mood("good")
    site.wait_until_drained()
    assert [event["action"] for event in site.heard(number)] == ["create", "delete"]


def test_a_broker_that_forgot_everything(site: SyncSite) -> None:
    """Messages that are lost with the broker are sent again by the refresh."""
    number = site.save("forgotten")["schedule"]["schedule_id"]
    site.wait_until_drained()
    assert site.stop_worker(site.workers[0]) == 0
    site.move(number, 1)
    wait_until(lambda: site.due() == 0)
    site.broker.kill()
    for file in (site.home / "broker").rglob("*.aof"):
        file.unlink()
    for file in (site.home / "broker").rglob("*.manifest"):
        file.unlink()
    site.broker.restart()
    site.start_worker()
    assert site.refresh()["revived"] == 1
    site.wait_until_drained()
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2]}


def test_the_refresh_puts_right_what_differs(site: SyncSite) -> None:
    """What the third party lost, changed or kept is made as it is here."""
    lost, changed = (
        site.save(event)["schedule"]["schedule_id"] for event in ("lost", "changed")
    )
    site.wait_until_drained()
    names = {number: site.heard(number)[0]["id"] for number in (lost, changed)}
    roster = Roster(site.roster.url)
    roster.delete(names[lost], "somebody-1-x")
    roster.update(names[changed], {"employee": "eve"}, "somebody-2-x")
    assert site.refresh()["repaired"] == 2
    site.wait_until_drained()
    assert [event["action"] for event in site.heard(lost)] == ["create", "create"]
    assert site.heard(changed)[-1]["fields"] == {"employee": "ann"}
    assert site.refresh()["repaired"] == 0


def test_a_worker_killed_in_the_middle(site: SyncSite) -> None:
    """The message comes back when its lease ends, and the key stops a second one."""
    number = site.save("killed-worker")["schedule"]["schedule_id"]
    site.wait_until_drained()
    site.mood("slow", slow_seconds=3)
    site.move(number, 1)
    site.move(number, 2)
    worker = site.workers.pop(0)
    wait_until(lambda: site.outbox.counts()["queued"] == 1)
    worker.kill()
    site.mood("good")
    site.start_worker()
    site.wait_until_drained(30)
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2, 3]}


def test_one_process_of_the_pool_is_killed(site: SyncSite) -> None:
    """A child that dies with its task costs a delivery, and nothing else."""
    site.mood("slow", slow_seconds=1)
    number = site.save("killed-child")["schedule"]["schedule_id"]
    worker = site.workers[0]
    wait_until(lambda: site.outbox.counts()["queued"] >= 1)
    path = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    for child in map(int, path.read_text().split()):
        os.kill(child, signal.SIGKILL)
    site.mood("good")
    site.wait_until_drained(30)
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1]}


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_broker_that_goes_away_in_the_middle(
    site: SyncSite, is_answered: bool
) -> None:
    """Neither the next change nor the retry can be queued: the outbox has both."""
    number = save_and_wait(site, f"broker-in-the-middle-{is_answered}")
    started = len(site.workers[0].events("task_started"))
    site.mood("slow", slow_seconds=1)
    site.move(number, 1)
    site.move(number, 2)
    wait_until(lambda: len(site.workers[0].events("task_started")) > started)
    wait_until(lambda: site.outbox.counts()["queued"] == 1)
    site.broker.kill()
    if is_answered:
        wait_until(lambda: len(site.heard(number)) == 2)
    else:
        site.roster.kill()
        site.roster = site.start_roster()
    site.mood("good")
    wait_until(lambda: site.outbox.counts()["queued"] == 0)
    site.broker.restart()
    site.wait_until_drained(30)
    assert sequences(site.heard(number)) == {f"schedule-{number}": [1, 2, 3]}


def save_and_wait(site: SyncSite, event: str) -> int:
    """A schedule that the third party has; its number."""
    number = int(site.save(event)["schedule"]["schedule_id"])
    site.wait_until_drained()
    return number
