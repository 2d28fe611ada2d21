"""A rolling deploy: the release before and this one, on one server, in both ways."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.processes import wait_until
from tests.upgrades.pair import NEW, OLD, RELEASES, Release, Stage, both

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage(
    own_url: str, previous: Path, tmp_path_factory: pytest.TempPathFactory
) -> Stage:
    """Where both releases work."""
    return Stage(own_url, previous, tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def releases(stage: Stage) -> Iterator[dict[str, Release]]:
    """Both of them, working."""
    with both(stage) as found:
        yield found


@pytest.fixture(params=RELEASES)
def one(releases: dict[str, Release], request: pytest.FixtureRequest) -> Release:
    """The release that asks for something."""
    return releases[request.param]


@pytest.fixture
def other(releases: dict[str, Release], one: Release) -> Release:
    """The release that does it."""
    return releases[NEW if one.name == OLD else OLD]


def state(release: Release, task_id: str, wait: int = 0) -> dict[str, Any]:
    """What a web process says of a task."""
    found: dict[str, Any] = release.web.get(
        f"/api/tasks/{task_id}", params={"wait": wait}
    ).json()
    return found


def test_results(one: Release, other: Release) -> None:
    """What one queues the other does, and whoever asks reads the result."""
    to = f"queue={other.name!r}"
    ids = one.hand.ask(f"[note.apply_async(('r',), {to}).id for _ in range(20)]")
    assert one.hand.ask(f"[got(id) for id in {ids}]") == [other.name] * 20
    assert other.hand.ask(f"got({ids[0]!r})") == other.name
    for web in (one, other):
        found = state(web, ids[0])
        assert (found["state"], found["result"]) == ("SUCCESS", other.name)
    failed = one.hand.ask(f"fail.apply_async(('oh dear',), {to}).id")
    for web in (one, other):
        found = state(web, failed, wait=20)
        assert (found["state"], found["error"]) == ("FAILURE", "ValueError: oh dear")


def test_waiting(stage: Stage, one: Release, other: Release) -> None:
    """Progress, and the end that somebody waits for, cross over."""
    gate = f"wait-{one.name}"
    task_id = one.hand.ask(f"late.apply_async(({gate!r},), queue={other.name!r}).id")
    wait_until(lambda: state(one, task_id)["state"] == "PROGRESS", what="progress")
    assert state(one, task_id)["progress"]["current"] == 1
    one.hand.say(f"got({task_id!r})")
    ends: list[dict[str, Any]] = []
    waiter = threading.Thread(target=lambda: ends.append(state(one, task_id, 20)))
    waiter.start()
    wait_until(lambda: listeners(stage, task_id) == 2, what="both hear of its end")
    (stage.gates / gate).touch()
    waiter.join()
    assert one.hand.hear() == other.name
    assert [end["state"] for end in ends] == ["SUCCESS"]


def listeners(stage: Stage, task_id: str) -> int:
    """How many connections wait for news of a task."""
    with redis.Redis.from_url(stage.url) as client:
        channels = client.pubsub_channels(f"*{task_id}*")
        return sum(count for _, count in client.pubsub_numsub(*channels))


def test_etas_and_retries(stage: Stage, one: Release, other: Release) -> None:
    """They are kept by the release that works, as the other one meant them."""
    to = f"queue={other.name!r}"
    later = one.hand.ask(f"note.apply_async(('eta',), countdown=1, {to}).id")
    again = one.hand.ask(f"again.apply_async(('retry', 1), {to}).id")
    assert one.hand.ask(f"[got({later!r}), got({again!r})]") == [other.name] * 2
    runs = [line for line in stage.lines() if line[1:3] == ["retry", other.name]]
    assert [line[3] for line in runs] == ["0", "1"]


def test_groups_and_chords(one: Release, other: Release) -> None:
    """The parts run on both, and the end where it was sent."""
    queues = f"{[one.name, other.name] * 5}"
    parts = f"(add.s(n, n).set(queue=q) for n, q in enumerate({queues}))"
    assert one.hand.ask(f"group({parts}).apply_async().get(timeout=20)") == [
        2 * n for n in range(10)
    ]
    end = f"total.s().set(queue={other.name!r})"
    asked = f"chord({parts})({end}).get(timeout=20)"
    assert one.hand.ask(asked) == [90, other.name]


def test_publishing_once(stage: Stage, one: Release, other: Release) -> None:
    """A key that one has used is used for the other as well."""
    key, to = f"once-{one.name}", f"queue={other.name!r}"
    asked = f"smartworker.publish_once(note, {key!r}, args=({key!r},), {to}).id"
    task_id = one.hand.ask(asked)
    assert other.hand.ask(asked) == task_id
    assert one.hand.ask(f"got({task_id!r})") == other.name
    assert stage.ran(key) == [other.name]


def test_slots(stage: Stage, one: Release, other: Release) -> None:
    """Whichever web process is called first: a slot or a key is one run."""
    job = f"nightly-{other.name}"
    first = one.web.post(f"/api/cron/{job}")
    assert first.status_code == 202, first.text
    assert "Idempotent-Replayed" not in first.headers
    second = other.web.post(f"/api/cron/{job}")
    assert second.status_code == 202, second.text
    assert second.headers["Idempotent-Replayed"] == "true"
    for name in ("task_id", "slot"):
        assert second.json()[name] == first.json()[name]
    assert state(one, first.json()["task_id"], wait=20)["result"] == other.name
    key = {"Idempotency-Key": "again"}
    ids = {
        release.web.post(f"/api/cron/{job}", headers=key).json()["task_id"]
        for release in (other, one)
    }
    assert len(ids) == 1
    assert state(other, ids.pop(), wait=20)["result"] == other.name
    runs = [line for line in stage.lines() if line[0] == f"shop.nightly_{other.name}"]
    assert [line[2] for line in runs] == [other.name] * 2
    for release in (one, other):
        wait_until(lambda web=release: last(web, job), what="its history")
        assert last(release, job)["state"] == "SUCCESS"


def last(release: Release, job: str) -> dict[str, Any]:
    """The last run of a job, as a web process tells it."""
    jobs = release.web.get("/api/jobs").json()["jobs"]
    (found,) = [each for each in jobs if each["name"] == job]
    return found["last_run"]


def test_overlap(stage: Stage, one: Release, other: Release) -> None:
    """A run that one has triggered keeps away the trigger of the other."""
    job, task = f"single-{other.name}", f"shop.single_{other.name}"
    gate = stage.gates / task
    first = one.web.post(f"/api/cron/{job}", headers={"Idempotency-Key": "1"})
    assert first.status_code == 202, first.text
    second = other.web.post(f"/api/cron/{job}", headers={"Idempotency-Key": "2"})
    assert second.json()["reason"] == "overlapping"
    gate.touch()
    assert state(other, first.json()["task_id"], wait=20)["state"] == "SUCCESS"

    def third() -> int:
        header = {"Idempotency-Key": "3"}
        return one.web.post(f"/api/cron/{job}", headers=header).status_code

    wait_until(lambda: third() == 202, what="the job is free")


def test_pauses(one: Release, other: Release) -> None:
    """What one pauses is paused for the other, until that one resumes it."""
    job, key = f"nightly-{one.name}", {"Idempotency-Key": f"paused by {one.name}"}

    def called(release: Release) -> Any:
        return release.web.post(f"/api/cron/{job}", headers=key).json().get("reason")

    for release in (one, other):
        called(release)  # from here on it knows the states, and hears of news
    assert one.web.post(f"/api/jobs/{job}/pause").status_code == 200
    wait_until(lambda: called(other) == "paused", what="paused")
    assert other.web.post(f"/api/jobs/{job}/resume").status_code == 200
    wait_until(lambda: called(one) is None, what="resumed")


def test_dead_letters(stage: Stage, one: Release, other: Release) -> None:
    """What dies at one is listed, put back and dropped by the other."""
    with redis.Redis.from_url(stage.url) as client:
        client.lpush(other.name, f"no message, says {one.name}")
    wait_until(lambda: letters(one), what="a dead letter")
    (letter,) = letters(one)
    assert (letter["reason"], letter["queue"]) == ("unreadable", other.name)
    put_back = f"command('dead', 'requeue', {letter['id']!r}, '--force', *SHOP)"
    assert one.hand.ask(put_back)[0]["outcome"] == "requeued"
    wait_until(lambda: letters(other), what="dead again")
    (letter,) = letters(other)
    dropped = f"command('dead', 'drop', {letter['id']!r}, *SHOP)"
    assert other.hand.ask(dropped)[0]["outcome"] == "dropped"
    assert letters(one) == []


def letters(release: Release) -> list[dict[str, Any]]:
    """The dead letters, as the command of a release lists them."""
    found: list[dict[str, Any]] = release.hand.ask("command('dead', 'list', *SHOP)")
    return found


def test_rows_and_the_month(releases: dict[str, Release]) -> None:
    """Each release reads what all processes have written, and adds up the same."""
    old, new = (releases[name].hand for name in RELEASES)
    # A process may write its row between the two questions.
    wait_until(lambda: old.ask("rows()") == new.ask("rows()"), what="the same")
    rows = old.ask("rows()").values()
    names = {row["name"] for row in rows if row["kind"] == "worker"}
    assert {"old@here", "new@here"} <= names
    sums = [hand.ask("command('budget', *SHOP)")["spent"] for hand in (old, new)]
    assert min(sums) > 0
    assert sums[0] <= sums[1]
    for hand in (old, new):
        hand.say("command('status')")  # it waits two seconds for answers
    for hand in (old, new):
        assert {each["worker"] for each in hand.hear()} == {"old@here", "new@here"}
