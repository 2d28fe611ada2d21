"""`smartworker dead` on a real server: what people see, and what becomes of letters."""

import json
import os
import pty
import select
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from smartworker.broker.letters import letter_id
from smartworker.broker.returns import dead
from smartworker.cli.main import main
from smartworker.cli.shown import about
from smartworker.store.dead import DeadLetters
from smartworker.store.server import EmbeddedServer
from smartworker.testing import commandstats
from tests.commands import ENTRY, environment, facts, message, run_command
from tests.processes import wait_until

NUMBERS = count(1)
SECOND_STEP = "celery\x06\x163"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client."""
    with redis.Redis.from_url(redis_url) as made:
        yield made
        made.acl_deluser("clerk")


def bury(
    client: Any,
    raw: bytes = message(),
    queue: str = "celery",
    reason: str = "max_deliveries",
    age: timedelta = timedelta(),
) -> str:
    """A dead letter as a worker leaves it; its id."""
    verdict = dead(raw, queue, reason, "as the test wants it", 5)
    assert verdict.facts is not None
    seconds, micros = client.time()
    died = seconds * 1000 + micros // 1000 - int(age.total_seconds() * 1000)
    entry = {"raw": raw, "facts": verdict.facts.encode()}
    found: bytes = client.xadd("smartworker:dead", entry, id=f"{died}-{next(NUMBERS)}")
    return found.decode()


# -- list ------------------------------------------------------------------------------


def test_list_for_people(redis_url: str, client: Any) -> None:
    """A row for each, oldest first, in 80 columns."""
    old = bury(client, message("shop.refund"), SECOND_STEP, age=timedelta(days=3))
    new = bury(client, reason="unroutable", queue="")
    done = run_command(redis_url, "dead", "list")
    assert done.returncode == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0].split() == ["Id", "Died", "Reason", "Queue", "Task"]
    assert lines[2].startswith(f"{old}   3d ago   max_deliveries   celery (step 3)")
    assert lines[2].endswith("shop.refund")
    assert lines[3].startswith(new)
    assert lines[-1] == "2 dead letters."
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_list_for_programs(redis_url: str, client: Any) -> None:
    """An array of facts without the bytes; empty if there is none."""
    assert facts(redis_url, "dead", "list") == []
    wanted = bury(client)
    (found,) = facts(redis_url, "dead", "list")
    assert found["id"] == wanted
    assert (found["queue"], found["task"]) == ("celery", "shop.charge")
    assert (found["reason"], found["attempts"]) == ("max_deliveries", 5)
    assert found["size"] == len(message())
    assert set(found) == {
        *("id", "queue", "reason", "detail", "attempts", "task", "task_id"),
        *("history", "first", "last", "size"),
    }


def test_list_chooses(redis_url: str, client: Any) -> None:
    """By task, by reason and by age, all at once."""
    bury(client, message("shop.refund"), age=timedelta(days=5))
    bury(client, age=timedelta(days=4), reason="unknown_task")
    old = bury(client, age=timedelta(days=3))
    bury(client, age=timedelta(days=1))
    words = ("--task", "shop.charge", "--reason", "max_deliveries")
    found = facts(redis_url, "dead", "list", *words, "--older-than", "2d")
    assert [letter["id"] for letter in found] == [old]
    done = run_command(redis_url, "dead", "list", "--task", "nobody.knows")
    assert (done.returncode, done.stdout) == (0, "No dead letter fits.\n")


def test_list_costs_one_command_per_hundred(redis_url: str, client: Any) -> None:
    """And one for the clock; all others are not billed."""
    for _ in range(150):
        bury(client)
    before = commandstats(client)
    assert len(facts(redis_url, "dead", "list")) == 150
    after = commandstats(client)
    spent = {k: n - before.get(k, 0) for k, n in after.items()}
    assert spent["xrange"] == 2
    billed = {k for k, n in spent.items() if n} - {"info", "ping", "time", "xrange"}
    assert billed == set()


def test_letters_of_another_release_are_listed(redis_url: str, client: Any) -> None:
    """Facts that we do not know, or that are none at all, break nothing."""
    new = {"queue": "celery", "reason": "new", "colour": "red"}
    client.xadd("smartworker:dead", {"raw": b"x", "facts": json.dumps(new)})
    client.xadd("smartworker:dead", {"raw": b"x", "facts": "[1]"})
    client.xadd("smartworker:dead", {"something": "else"})
    found = facts(redis_url, "dead", "list")
    assert [letter["reason"] for letter in found] == ["new", "unknown", "unknown"]
    assert run_command(redis_url, "dead", "show", found[2]["id"]).returncode == 0


# -- show ------------------------------------------------------------------------------


def test_show_for_people(redis_url: str, client: Any) -> None:
    """Facts in the zone of the windows, the body decoded, the message whole."""
    history = {
        "at": "2026-11-24T21:38:41.971+00:00",
        "reason": "unknown_task",
        "attempts": 2,
        "requeued": "2026-11-24T23:38:49.124+00:00",
    }
    raw = message(smartworker_history=[history])
    wanted = bury(client, raw, SECOND_STEP)
    done = run_command(redis_url, "dead", "show", wanted)
    assert done.returncode == 0
    for line in (
        f"Dead letter  {wanted}",
        "Queue        celery (step 3)",
        "Reason       max_deliveries: as the test wants it",
        "First died   2026-11-24 16:38:41 EST",
        "  2026-11-24 16:38:41 EST  unknown_task, attempts 2, requeued 2026-11-24 "
        "18:38:49 EST",
        '[[1, 2], {}, {"callbacks": null}]',
        raw.decode(),
    ):
        assert line in done.stdout.splitlines()


def test_show_for_programs(redis_url: str, client: Any) -> None:
    """The facts, the message as text, and its body."""
    wanted = bury(client)
    found = facts(redis_url, "dead", "show", wanted)
    assert found["id"] == wanted
    assert found["message"] == message().decode()
    assert found["body"] == [[1, 2], {}, {"callbacks": None}]


def test_show_steers_no_terminal(redis_url: str, client: Any) -> None:
    """Bytes that are no text, and text that is no mere text, are escaped."""
    wanted = bury(client, b"\xff\x1b[31m red\nsecond\tline", reason="unreadable")
    done = run_command(redis_url, "dead", "show", wanted)
    assert done.returncode == 0
    assert "\\xff\\x1b[31m red\nsecond    line\n" in done.stdout
    assert "\x1b" not in done.stdout
    bad = bury(client, message("\x1b[2Jshop\n"), queue="a\x1bb")
    for words in (("list",), ("show", bad)):
        assert "\x1b" not in run_command(redis_url, "dead", *words).stdout


def test_show_what_is_not_there(redis_url: str) -> None:
    """One sentence and exit status 1; no id at all is wrong usage."""
    done = run_command(redis_url, "dead", "show", "5-5")
    assert done.returncode == 1
    assert done.stderr == ("smartworker: There is no dead letter 5-5 (any more).\n")
    for wrong in ("abc", "5", "99999999999999999999-0", "٣-٣"):
        done = run_command(redis_url, "dead", "show", wrong)
        assert done.returncode == 2
        assert "is not the id of a dead letter" in done.stderr


# -- requeue ---------------------------------------------------------------------------


def test_requeue_puts_a_letter_back(redis_url: str, client: Any) -> None:
    """At the end of its own priority step, with fresh attempts and a history."""
    wanted = bury(client, message(smartworker_attempts=5), SECOND_STEP)
    client.lpush(SECOND_STEP, "first")
    done = run_command(redis_url, "dead", "requeue", wanted)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{wanted} (shop.charge) went to celery (step 3)\n1 requeued.\n"
    )
    assert client.xlen("smartworker:dead") == 0
    raw, first = client.lrange(SECOND_STEP, 0, -1)
    assert first == b"first"
    headers = json.loads(raw)["headers"]
    assert headers["smartworker_attempts"] == 0
    (entry,) = headers["smartworker_history"]
    assert entry["reason"] == "max_deliveries"


@pytest.mark.every_server
def test_requeue_rings_where_the_server_does_not(redis_url: str, client: Any) -> None:
    """With the doorbell `publish` a waiting worker hears of it at once."""
    bury(client, queue=SECOND_STEP)
    with client.pubsub(ignore_subscribe_messages=True) as ear:
        ear.subscribe(f"smartworker:bell:{SECOND_STEP}")
        ear.get_message(timeout=5)
        run_command(
            redis_url, "dead", "requeue", "--all", "-y", SMARTWORKER_DOORBELL="publish"
        )
        assert ear.get_message(timeout=5)["data"] == b"1"


def test_requeue_tells_of_each(redis_url: str, client: Any) -> None:
    """Refused and missing ones are said, the others go; exit status 1."""
    good = bury(client)
    bad = bury(client, b"no json", reason="unreadable")
    lost = bury(client, queue="", reason="unroutable")
    done = run_command(redis_url, "dead", "requeue", "5-5", lost, bad, good, good)
    assert done.returncode == 1
    assert done.stdout.endswith("1 requeued, 2 refused, 1 not found.\n")
    assert "There is no dead letter 5-5" in done.stderr
    assert f"{lost} has no queue (as the test wants it): name one" in done.stderr
    assert f"{bad} cannot be read by any worker" in done.stderr
    assert client.llen("celery") == 1
    assert client.xlen("smartworker:dead") == 2


def test_requeue_for_programs(redis_url: str, client: Any) -> None:
    """An array of outcomes."""
    good = bury(client)
    found = facts(redis_url, "dead", "requeue", good, "5-5")
    assert found == [
        {
            "id": good,
            "outcome": "requeued",
            "task": "shop.charge",
            "queue": "celery",
            "detail": "",
        },
        {
            "id": "5-5",
            "outcome": "missing",
            "task": None,
            "queue": None,
            "detail": "There is no dead letter 5-5 (any more).",
        },
    ]


def test_requeue_into_another_queue(redis_url: str, client: Any) -> None:
    """Its address goes along, or a retry would be sent where nothing is bound."""
    bury(client, message(step=3), queue="", reason="unroutable")
    done = run_command(redis_url, "dead", "requeue", "--all", "-y", "--queue", "other")
    assert done.returncode == 0
    (raw,) = client.lrange("other\x06\x163", 0, -1)
    info = json.loads(raw)["properties"]["delivery_info"]
    assert (info["exchange"], info["routing_key"]) == ("", "other")
    done = run_command(redis_url, "dead", "requeue", "--all", "-y", "--queue", " ")
    assert done.returncode == 2


def test_a_loop_is_refused_unless_forced(redis_url: str, client: Any) -> None:
    """One that died again at once stays, the other one goes."""
    bury(client)
    run_command(redis_url, "dead", "requeue", "--all", "-y")
    again, other = bury(client, client.rpop("celery")), bury(client)
    done = run_command(redis_url, "dead", "requeue", "--task", "shop.charge")
    assert done.returncode == 1
    assert f"{other} (shop.charge) went to celery" in done.stdout
    assert f"Dead letter {again} was requeued less than an hour ago" in done.stderr
    done = run_command(redis_url, "dead", "requeue", again, "--force")
    assert done.returncode == 0
    assert client.xlen("smartworker:dead") == 0


def test_the_unreadable_goes_if_forced(redis_url: str, client: Any) -> None:
    """Byte for byte, also into another queue."""
    first, second = bury(client, b"\xff"), bury(client, b"\xff")
    run_command(redis_url, "dead", "requeue", first, "--force")
    run_command(redis_url, "dead", "requeue", second, "--force", "--queue", "other")
    assert client.lrange("celery", 0, -1) == client.lrange("other", 0, -1) == [b"\xff"]


def test_a_requeued_task_runs(redis_url: str, client: Any, start_worker: Any) -> None:
    """A waiting worker runs it at once, and its result takes the failure's place."""
    worker = start_worker("-P", "threads", "--windows", "3:00-3:01=30s")
    key = "celery-task-meta-id-1"
    failure = {"status": "FAILURE", "result": None, "task_id": "id-1"}
    client.set(key, json.dumps(failure))
    bury(client, message("project.add"))
    assert run_command(redis_url, "dead", "requeue", "--all", "-y").returncode == 0
    worker.wait_for("task_finished", seconds=5)
    wait_until(lambda: json.loads(client.get(key))["status"] == "SUCCESS")
    assert json.loads(client.get(key))["result"] == 3


def test_a_prefix_is_minded(redis_url: str, client: Any, tmp_path: Any) -> None:
    """An app of one's own, named with -A, may have a prefix."""
    (tmp_path / "shop.py").write_text(
        "import smartworker\nfrom celery import Celery\n"
        "app = smartworker.setup(Celery('shop'))\n"
        "app.conf.broker_transport_options = {'global_keyprefix': 'shop:'}\n"
    )
    verdict = dead(message(), "shop:celery", "max_deliveries", "", 5)
    assert verdict.facts is not None
    for _ in range(2):
        entry = {"raw": message(), "facts": verdict.facts.encode()}
        client.xadd("shop:smartworker:dead", entry)
    words = ("dead", "requeue", "-A", "shop")
    (first, _), (second, _) = client.xrange("shop:smartworker:dead")
    run_command(redis_url, *words, first.decode(), cwd=tmp_path)
    run_command(redis_url, *words, second.decode(), "--queue", "other", cwd=tmp_path)
    assert client.xlen("shop:smartworker:dead") == 0
    assert client.llen("shop:celery") == client.llen("shop:other") == 1


# -- drop ------------------------------------------------------------------------------


def test_drop(redis_url: str, client: Any) -> None:
    """By id and by choice; what is not there is said."""
    one, other = bury(client), bury(client, message("shop.refund"))
    done = run_command(redis_url, "dead", "drop", one, "5-5")
    assert (done.returncode, done.stdout) == (1, "1 dropped, 1 not found.\n")
    assert "There is no dead letter 5-5" in done.stderr
    found = facts(redis_url, "dead", "drop", "--task", "shop.refund")
    assert found == [{"id": other, "outcome": "dropped"}]
    assert client.xlen("smartworker:dead") == 0


def test_drop_all_of_many(redis_url: str, client: Any) -> None:
    """A hundred with each command."""
    for _ in range(101):
        bury(client)
    client.config_resetstat()
    done = run_command(redis_url, "dead", "drop", "--all", "--yes")
    assert (done.returncode, done.stdout) == (0, "101 dropped.\n")
    assert commandstats(client)["xdel"] == 2
    done = run_command(redis_url, "dead", "drop", "--all", "--yes")
    assert (done.returncode, done.stdout) == (0, "No dead letter fits.\n")


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["requeue", "drop"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "or use --all."),
        (("--all",), "--all needs --yes where nobody can be asked."),
        (("--all", "--yes", "5-5"), "--all goes without IDs"),
        (("--all", "--yes", "--task", "x"), "--all goes without IDs"),
        (("--older-than", "2 days"), "is not a duration"),
        (("--reason", "bad_luck"), "'bad_luck' is not one of"),
        (("nothing",), "is not the id of a dead letter"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, verb: str, words: tuple[str, ...], sentence: str
) -> None:
    """One sentence and exit status 2; nobody has asked the server, which is away."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    done = CliRunner().invoke(main, ["dead", verb, *words])
    assert done.exit_code == 2
    assert sentence in done.stderr


class Terminal:
    """The command at a terminal, where it asks a person."""

    def __init__(self, url: str, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [*ENTRY, *words],
            env=environment(url),
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        )
        os.close(theirs)
        self.said = ""

    def read(self, until: str) -> None:
        """Wait until it has said this."""
        while until not in self.said:
            assert select.select([self._ours], [], [], 20)[0], self.said
            self.said += os.read(self._ours, 1000).decode()

    def answer(self, line: str) -> int:
        """Answer, and wait for its end; the exit status."""
        os.write(self._ours, f"{line}\n".encode())
        with suppress(OSError):  # the way a terminal ends
            self.read("this never comes")
        return self._process.wait(20)

    def close(self) -> None:
        """Whatever is left."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, 0), ("n", 1, 2)])
def test_a_person_is_asked(
    redis_url: str, client: Any, answer: str, status: int, left: int
) -> None:
    """At a terminal `--all` asks, with the number of letters."""
    bury(client), bury(client)
    with closing(Terminal(redis_url, "dead", "drop", "--all")) as terminal:
        terminal.read("Drop all 2 dead letters? [y/N]")
        assert terminal.answer(answer) == status
    assert client.xlen("smartworker:dead") == left


def test_a_server_that_goes_away_meanwhile() -> None:
    """One line and exit status 69; what was not done is not told as done."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        bury(client)
        words = ("dead", "requeue", "--all")
        with closing(Terminal(server.url, *words)) as terminal:
            terminal.read("Requeue the only dead letter? [y/N]")
            server.stop()
            assert terminal.answer("y") == 69
    assert "Traceback" not in terminal.said
    assert "fits" not in terminal.said
    assert f"smartworker: Redis at 127.0.0.1:{server.port} cannot be" in terminal.said


def test_trouble_is_one_line_without_a_secret(redis_url: str, client: Any) -> None:
    """No server, no permission, a wrong password, a key of the wrong type."""
    secret = "very-secret-word"
    client.acl_setuser(
        "clerk",
        enabled=True,
        passwords=[f"+{secret}"],
        commands=["+@all", "-xrange"],
        keys=["*"],
        channels=["*"],
    )
    clerk = redis_url.replace("redis://", f"redis://clerk:{secret}@")
    thief = redis_url.replace("redis://", f"redis://clerk:{secret}-not@")
    client.lpush("smartworker:dead", "x")
    for url, status, words in (
        (clerk, 78, "no permissions to run the 'xrange' command"),
        (thief, 78, "refused the password"),
        (redis_url, 78, "Redis refused a command (WRONGTYPE"),
        (f"redis://:{secret}@127.0.0.1:1/0", 69, "cannot be reached"),
    ):
        done = run_command(url, "dead", "list")
        assert done.returncode == status
        assert done.stdout == ""
        assert words in done.stderr
        assert done.stderr.startswith("smartworker: ")
        assert done.stderr.count("\n") == 1
        assert secret not in done.stderr


def test_an_app_that_is_none(redis_url: str) -> None:
    """-A names no app, or one that smartworker does not know."""
    for name, words in (
        ("nowhere", "There is no Celery app at 'nowhere'"),
        ("celery:current_app", "is no smartworker: call smartworker.setup(app)"),
        ("smartworker.errors:SmartworkerError", "is no smartworker"),
    ):
        done = run_command(redis_url, "dead", "list", "-A", name)
        assert done.returncode == 78
        assert words in done.stderr


# -- parts -----------------------------------------------------------------------------


def test_ids() -> None:
    """What the server takes for an id, and nothing else."""
    assert letter_id("1764026888123-0") == "1764026888123-0"
    assert letter_id(f"{2**64 - 1}-1") == f"{2**64 - 1}-1"
    for wrong in ("", "-", "1-", "-1", f"{2**64}-0", f"0-{2**64}", "1-*", "+", "1-1\n"):
        with pytest.raises(ValueError, match="is not the id of a dead letter"):
            letter_id(wrong)


def test_ages_have_one_unit() -> None:
    """The largest; nothing is older than it is."""
    ages = (
        timedelta(days=2, hours=23),
        timedelta(hours=3, minutes=59),
        timedelta(minutes=1, seconds=59),
        timedelta(seconds=59.9),
        timedelta(seconds=-3),
    )
    assert [about(age) for age in ages] == ["2d", "3h", "1m", "59s", "0s"]


def test_a_letter_can_be_requeued_once(redis_url: str, client: Any) -> None:
    """Whoever comes second finds it gone."""
    bury(client)
    letters = DeadLetters(client)
    (letter,) = letters.all()
    assert letters.requeue(letter, "celery", b"first")
    assert not letters.requeue(letter, "celery", b"second")
    assert client.lrange("celery", 0, -1) == [b"first"]
