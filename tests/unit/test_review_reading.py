"""Reading logs: packed, prefixed, wrapped, broken, endless; nothing makes it fail."""

import gzip
import io
import json
import os
import random
import threading
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.policy import Policy
from smartworker.review import reading
from smartworker.review.analysis import Review
from smartworker.review.lines import read
from smartworker.review.output import as_json
from smartworker.review.reading import Damaged, lines
from smartworker.windows import Windows
from tests.log_lines import MIDNIGHT, day_of, line, run

POLICY = Policy(
    Windows.parse("20:00-23:00=30s", "America/New_York"), timedelta(minutes=30)
)
ONE = run(MIDNIGHT, "1", error='E: "quoted" \\ é')[1]
TEXT = ONE.decode()


def stream(data: bytes) -> io.BufferedReader:
    """As a file or a pipe gives it."""
    return io.BufferedReader(io.BytesIO(data))


def fresh() -> Review:
    """A review of the day of the lines."""
    return Review(POLICY, 500_000, MIDNIGHT + timedelta(days=2), date(2026, 11, 24))


def failed(*raw: bytes) -> int:
    """How many failed tasks a review finds in these lines."""
    review = fresh()
    review.read("test", raw)
    return sum(task.failed for task in review.report().day.tasks)


@pytest.mark.parametrize(
    "wrapped",
    [
        TEXT,
        f"  {TEXT}\r",
        f"2026-11-24T05:00:01.5Z srv-d1abc-hibernate-6f7 {TEXT}",
        f"[srv-abc] Nov 24 05:00:01 AM  [x9k2f]  {TEXT}",
        f"<14>1 2026-11-24T05:00:01Z srv worker 1 - - {TEXT}",
        json.dumps({"timestamp": "x", "message": TEXT, "labels": {"a": 1}}),
        json.dumps({"id": "1", "message": TEXT, "labels": [{"name": "type"}]}),
        json.dumps({"log": f"{TEXT}\n", "stream": "stderr", "time": "x"}),
        json.dumps({"message": f"srv-1 {TEXT}"}),
        f"srv-1 {json.dumps({'msg': TEXT})}",
        json.dumps([{"message": TEXT}]),
        json.dumps({"hasMore": False, "logs": [{"message": TEXT}]}),
        f'  "message": {json.dumps(TEXT)},',
    ],
)
def test_what_platforms_put_around_a_line_is_taken_off(wrapped):
    """Prefixes, JSON around JSON, a page of an interface, and pretty printing."""
    assert failed(wrapped.encode()) == 1


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'10.0.0.1 - - "GET / HTTP/1.1" 200', "foreign"),
        (b'{"event": "order placed", "level": "info"}', "foreign"),
        (b'{"event": {"type": 1}}', "foreign"),
        (b'{"a": 1}', "foreign"),
        (b"null", "foreign"),
        (b"Traceback (most recent call last):", "foreign"),
        (b'body {"a": 1} of a request', "foreign"),
        (ONE[:-10], "broken"),
        (b"srv-1 " + ONE[:-10], "broken"),
        (b'{"event": "task_failed", "timestamp": "20', "broken"),
        (b"2026-11-24T05:00:01Z [info     ] worker_ready  queues=1", "console"),
        (b"\x1b[2m2026-11-24\x1b[0m [\x1b[32minfo\x1b[0m] task_started", "console"),
    ],
)
def test_other_lines_are_known_for_what_they_are(raw, kind):
    """Other services, cut lines, and the format for people."""
    found = read(raw)
    assert isinstance(found, tuple)
    assert found[0] == kind


def test_what_is_no_event_is_counted_and_shown():
    """Broken lines with samples, cut short and without secrets."""
    review = fresh()
    secret = b'{"event": "x", "url": "redis://u:hunter2@host", "bearer": "'
    review.read("a", [*day_of(), secret, *[ONE[:-9]] * 9, b"GET /", b""])
    found = review.report().reading
    assert (found.lines, found.events, found.broken, found.foreign) == (36, 24, 10, 1)
    assert len(found.broken_samples) == 5
    assert "hunter2" not in found.broken_samples[0]
    assert found.foreign_samples == ("GET /",)
    assert found.sources == ("a",)


def test_lines_without_a_time_are_no_part_of_a_day():
    """They are counted; a time without a zone is none."""
    bare = json.dumps({"event": "task_failed", "task": "t"}).encode()
    naive = json.dumps({"event": "task_failed", "timestamp": "2026-11-24T12:00:00"})
    review = fresh()
    review.read("a", [bare, naive.encode()])
    report = review.report()
    assert report.reading.undated == 2
    assert report.day.tasks == ()


def test_gzip_is_known_by_its_first_bytes():
    """Also several packed parts one after the other."""
    data = b"a\nb\nc"
    assert list(lines(stream(data))) == [b"a", b"b", b"c"]
    assert list(lines(stream(gzip.compress(data)))) == [b"a", b"b", b"c"]
    parts = gzip.compress(b"a\n") + gzip.compress(b"b\n")
    assert list(lines(stream(parts))) == [b"a", b"b"]
    assert list(lines(stream(b""))) == []


def test_a_packed_pipe():
    """It cannot be wound back."""
    data = gzip.compress(b"\n".join(day_of()))
    reader, writer = os.pipe()

    def fill() -> None:
        with os.fdopen(writer, "wb") as out:
            out.write(data)

    thread = threading.Thread(target=fill)
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        assert list(lines(pipe)) == day_of()
    thread.join()


@pytest.mark.parametrize("cut", [1, 8, 5000])
def test_a_damaged_file_gives_what_it_has(cut):
    """The lines before the damage, then one error."""
    rng = random.Random(1)
    data = b"".join(b"%030x\n" % rng.getrandbits(120) for _ in range(200_000))
    found: list[bytes] = []
    with pytest.raises(Damaged):
        found.extend(lines(stream(gzip.compress(data, 1)[:-cut])))
    assert len(found) > 90_000
    with pytest.raises(Damaged):
        list(lines(stream(b"\x1f\x8b no gzip at all")))


def test_a_line_without_end_is_cut(monkeypatch):
    """The memory does not grow with it, and the next line is whole."""
    monkeypatch.setattr(reading, "CHUNK", 10)
    monkeypatch.setattr(reading, "LONGEST", 25)
    data = b"a\n" + b"x" * 500 + b"\nb\n" + b"y" * 70
    first, long, second, last = lines(stream(data))
    assert (first, second) == (b"a", b"b")
    assert set(long) == {ord("x")}
    assert 25 <= len(long) <= 35
    assert set(last) == {ord("y")}


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(data):
    """Whatever a log holds, a report comes out of it."""
    review = fresh()
    try:
        review.read("fuzz", lines(stream(data)))
    except Damaged as error:
        review.damaged("fuzz", str(error))
    assert as_json(review.report())


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)
FIELDS = st.sampled_from(
    [
        "timestamp",
        "level",
        "logger",
        "task_id",
        "task",
        "job",
        "seconds",
        "error",
        "worker",
        "address",
        "reason",
        "status",
        "window",
        "poll_seconds",
        "away_seconds",
        "attempts",
        "since",
        "polls",
        "commands",
        "message",
        "logs",
        "log",
        "kind",
    ]
)
EVENT = st.sampled_from(
    [
        "task_failed",
        "task_finished",
        "task_started",
        "trigger_accepted",
        "trigger_refused",
        "worker_report",
        "web_report",
        "worker_ready",
        "worker_stopping",
        "broker_lost",
        "broker_back",
        "interval_changed",
        "run_missed",
        "message_dead",
    ]
)
STAMP = st.sampled_from(
    ["2026-11-24T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)


@given(st.dictionaries(FIELDS, JSON, max_size=6), EVENT, STAMP, st.booleans())
def test_no_values_make_it_fail(fields, event, stamp, dated):
    """Ours by name, with any value in any field, at the ends of time too."""
    whole = {**fields, "event": event} | ({"timestamp": stamp} if dated else {})
    review = fresh()
    review.read("fuzz", [*day_of(), json.dumps(whole).encode()])
    assert as_json(review.report())


@given(
    st.sampled_from(
        [b"[", b'{"logs":[', b'{"message":"', b'{"', b'"message":', b"[{", b'{"a":']
    ),
    st.integers(1, 3000),
)
def test_nesting_makes_no_trouble(piece, times):
    """Deep brackets end in a count, not in an error."""
    review = fresh()
    review.read("deep", [piece * times])
    assert review.report().reading.lines == 1


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("task_finished", {"seconds": 1e308}),
        ("task_failed", {"seconds": -1e18}),
        ("task_failed", {"task": 7}),
        ("broker_back", {"away_seconds": "long"}),
        ("worker_report", {"polls": 10**400, "commands": {"poll": 10**400}}),
        ("web_report", {"commands": {"poll": -1}}),
        ("interval_changed", {"poll_seconds": 1e300}),
    ],
)
def test_values_that_cannot_be_make_a_line_broken(event, fields):
    """It is counted and shown, and no figure holds it."""
    at = MIDNIGHT + timedelta(hours=12)
    odd = line(event, at, since=(at - timedelta(hours=1)).isoformat(), **fields)
    review = fresh()
    review.read("a", [*day_of(), odd])
    report = review.report()
    assert (report.reading.events, report.reading.broken) == (24, 1)
    assert report.day.tasks == ()
    assert report.day.commands.total == 402


def test_a_report_that_begins_after_its_end_is_of_its_end():
    """The clock was set back; at the end of time nothing fails either."""
    at = MIDNIGHT + timedelta(hours=12, minutes=30)
    for since in ((at + timedelta(minutes=2)).isoformat(), "9999-12-31T23:59:59-14:00"):
        odd = line("worker_report", at, since=since, polls=3, commands={"poll": 3})
        review = fresh()
        review.read("a", [*day_of(), odd])
        report = review.report()
        assert report.day.commands.total == 405
        assert report.day.hours[12].commands == 5
        assert as_json(report)


def test_errors_of_others_count_whatever_their_fields_hold():
    """A field may have one of our names and another type."""
    at = MIDNIGHT + timedelta(hours=12)
    other = line("checkout failed", at, "error", logger="shop", job=5, reason=["x"])
    review = fresh()
    review.read("a", [*day_of(), other])
    report = review.report()
    assert (report.reading.foreign, report.reading.broken) == (1, 0)
    (group,) = report.day.errors
    assert (group.event, group.cause) == ("log", "checkout failed")


def test_lines_before_a_damage_are_counted():
    """As they are read."""
    review = fresh()
    packed = gzip.compress(b"\n".join(day_of() * 1000) + b"\n")
    with pytest.raises(Damaged):
        review.read("a", lines(stream(packed + b"more")))
    found = review.report().reading
    assert found.lines == found.events > 0


def test_odd_reports_are_passed_over():
    """A report over years, backwards, or with a table that is none."""
    at = MIDNIGHT + timedelta(hours=12)
    odd = [
        line("worker_report", at, since="2020-01-01T00:00:00Z", commands={"poll": 9}),
        line("worker_report", at, since="soon", commands={"poll": 9}),
        line("worker_report", at, since=None, commands={"poll": 9}),
        line("worker_report", at, since=at.isoformat(), commands=7),
    ]
    review = fresh()
    review.read("a", [*day_of(), *odd])
    assert review.report().day.commands.total == 402
