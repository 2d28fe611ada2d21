"""`smartworker review` as a process: what it prints, writes, and exits with."""

import gzip
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.commands import ENTRY, environment
from tests.log_lines import MIDNIGHT, day_of, hourly, line, ready, run

QUIET = b"\n".join(day_of())
AT = MIDNIGHT + timedelta(hours=9)
TROUBLE = [
    ready(MIDNIGHT),
    *day_of(MIDNIGHT - timedelta(days=1)),
    *[each for hour, each in enumerate(day_of()) if hour not in (4, 5)],
    *run(AT, "1", "nightly-report"),
    *run(AT, "2", "refresh", task="swim.tasks.refresh_lanes", error="E: \x1b[2J " * 30),
    line("run_missed", AT, "warning", job="nightly-report", slot="s", task_id="9"),
    *(
        line(
            "trigger_refused",
            AT,
            "warning",
            address="2001:db8::1",
            status=401,
            reason="The token is not valid for this job.",
        )
        for _ in range(30)
    ),
    line(
        "interval_changed",
        AT,
        old_poll_seconds=1800.0,
        poll_seconds=30.0,
        window="20:00\x1b[2J",
    ),
    line("broker_back", AT, kind="lost", away_seconds=420.0, attempts=3),
    b"10.0.0.1 GET /",
    b'{"event": "cut off',
]


def review(*words, data=b"", **extra):
    """The command with this on standard input; no Redis and no application."""
    if "--day" not in words and "--today" not in words:
        words = ("--day", "2026-11-24", *words)
    env = environment("", **extra)
    del env["REDIS_URL"]
    return subprocess.run(
        [*ENTRY, "review", *words],
        env=env,
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def log(tmp_path):
    """A log of a quiet day."""
    path = tmp_path / "worker.log"
    path.write_bytes(QUIET)
    return path


def test_a_quiet_day_exits_with_0(log):
    """From a file, the standard input, or both; packed or not."""
    packed = gzip.compress(QUIET)
    for done in (
        review(str(log)),
        review("-", data=QUIET),
        review(data=QUIET),
        review("-", data=packed),
    ):
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode()
        assert "Nothing needs attention." in text
        assert "Tue 24 Nov 2026, 24 hours in America/New_York" in text
        assert "24 lines read, 24 of smartworker" in text
    both = review(str(log), "-", "--json", data=QUIET)
    assert json.loads(both.stdout)["reading"]["sources"] == [
        str(log),
        "standard input",
    ]


def test_trouble_exits_with_1_and_stands_first():
    """In 80 columns, one sentence each, and nothing of the log steers the terminal."""
    done = review(data=b"\n".join(TROUBLE))
    assert done.returncode == 1
    text = done.stdout.decode()
    rows = text.splitlines()
    assert max(map(len, rows)) <= 80
    assert rows[2].startswith("!  1 run failed: swim.tasks.refresh_lanes.")
    assert "\x1b" not in text
    assert "No worker was heard of for 3.0 h in 1 gap." in text
    assert "30 calls were refused, from 2001:db8::1." in text
    assert "broken:" in text
    assert "in brackets: the day before" in text


def test_a_terminal_without_unicode_gets_letters():
    """No line of the report fails to be printed."""
    done = review(data=b"\n".join(TROUBLE), PYTHONIOENCODING="ascii")
    assert done.returncode == 1, done.stderr
    assert done.stdout.isascii()
    for words in ((), ("--json",)):
        done = review(
            *words,
            data=b"\n".join(run(AT, "1", "n\xe4chtlich")),
            PYTHONIOENCODING="ascii",
        )
        assert done.returncode == 0, done.stderr


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    """Its name may be no text."""
    path = os.fsencode(tmp_path) + b"/\xff.log"
    Path(os.fsdecode(path)).write_bytes(QUIET)
    done = review(path, path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["reading"]
    assert (found["events"], len(found["sources"])) == (24, 1)


def test_the_json_has_the_whole_report():
    """Instants in UTC, a version, and the reasons with stable kinds."""
    found = json.loads(review("--json", data=b"\n".join(TROUBLE)).stdout)
    assert found["version"] == 1
    assert [reason["kind"] for reason in found["reasons"]] == [
        "failed",
        "missed",
        "gap",
        "outage",
        "refused",
    ]
    assert datetime.fromisoformat(found["day"]["since"]) == MIDNIGHT
    assert found["before"]["polls"]["made"] == 402


def test_the_page_is_written(log, tmp_path):
    """Beside what is printed; a folder that is not there is a usage error."""
    page = tmp_path / "day.html"
    done = review(str(log), "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype")
    assert review(str(log), "--html", str(tmp_path / "no" / "x.html")).returncode == 2


def test_the_page_takes_no_place_of_a_log(log, tmp_path):
    """`--html worker.log` forgot a name; a page from before is written anew."""
    before = log.read_bytes()
    done = review("--html", str(log), data=QUIET)
    assert (done.returncode, log.read_bytes()) == (2, before)
    assert b"is no page: name another file" in done.stderr.replace(b"\n", b" ")
    page = tmp_path / "day.html"
    for _ in range(2):
        assert review(str(log), "--html", str(page)).returncode == 0


def test_another_day_zone_and_plan(log):
    """By options, as in the other commands that know the plan."""
    found = json.loads(review(str(log), "--json", "--day", "2026-11-23").stdout)
    assert found["day"]["date"] == "2026-11-23"
    assert found["reasons"][0]["kind"] == "empty"
    done = review(
        str(log), "--json", "--timezone", "UTC", "--windows", "00:00-24:00=1h"
    )
    found = json.loads(done.stdout)
    assert found["zone"] == "UTC"
    # From 5 in the morning on.
    assert found["day"]["polls"]["demanded"] == 19


def test_today_is_the_day_so_far():
    """What is logged a moment ago counts, and what has not come yet is no gap."""
    now = datetime.now().astimezone()
    lines = [hourly(now - timedelta(seconds=5), since=now - timedelta(seconds=65))]
    done = review("--today", "--json", "--timezone", "UTC", data=b"\n".join(lines))
    found = json.loads(done.stdout)
    assert found["day"]["events"] == {"worker_report": 1}
    assert found["day"]["gaps"] == []


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["/does/not/exist"], 2, "No such file"),
        (["--day", "yesterday"], 2, "write 2026-11-01"),
        (["--day", "2026-11-24", "--today"], 2, "give one of them"),
        (["--windows", "soon"], 2, "is not a window"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_wrong_usage_is_a_sentence(words, status, sentence):
    """And the exit status 2."""
    done = review(*words)
    assert (done.returncode, b"Traceback" in done.stderr) == (status, False)
    assert sentence in done.stderr.decode()


def test_a_wrong_setting_is_78(log):
    """As in every command."""
    done = review(str(log), SMARTWORKER_WINDOWS="20:00")
    assert done.returncode == 78
    assert b"SMARTWORKER_WINDOWS" in done.stderr


@pytest.mark.parametrize("missing", ["msgspec", "jinja2"])
def test_a_missing_extra_is_a_sentence(log, tmp_path, missing):
    """Which names what to install."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from smartworker.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "review", "--html", tmp_path / "x.html", log],
        env=environment(""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "install smartworker[review]" in done.stderr
    assert "Traceback" not in done.stderr


def test_damage_is_told(tmp_path):
    """A packed file that ends too early: what it holds counts, and one line says so."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(QUIET * 100)[:-9])
    done = review(str(path))
    assert "broken:" in done.stdout.decode()
    assert "1 broken" in done.stdout.decode()


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_log():
    """200 MB through a pipe, with a new id on each line, in less than 120 MB."""
    bench = Path(__file__).parents[2] / "benchmarks" / "review.py"
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['review.py', '200', '-']; runpy.run_path({str(bench)!r}, "
        "run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(""),
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    figures = dict(each.split(": ") for each in done.stdout.splitlines())
    assert int(figures["megabytes"].replace(",", "")) >= 200
    assert int(figures["resident_megabytes"].replace(",", "")) < 120
