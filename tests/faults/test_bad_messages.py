"""F63: bad messages in the queue, and the good ones behind them."""

import base64
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.faults.conftest import Figures
from tests.faults.stage import QUEUE, Stage
from tests.processes import wait_until

POOLS = ("prefork", "threads", "solo")
TASK = "tests.faults.faulty.note"


def message(body: Any = None, **parts: Any) -> bytes:
    """A message of a Celery task, with some of its parts replaced."""
    if body is None:
        body = json.dumps([["bad"], {}, {}]).encode()
    task_id = str(uuid4())
    whole = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": TASK, "id": task_id, "lang": "py", "retries": 0},
        "properties": {
            "correlation_id": task_id,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": task_id,
            "priority": 0,
        },
    }
    for name, value in parts.items():
        whole[name.replace("_", "-")] = value
    return json.dumps(whole).encode()


BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"not json", "unreadable"),
    "an empty object": (b"{}", "unreadable"),
    "an empty list": (b"[]", "unreadable"),
    "nested 10,000 deep": (b"[" * 10_000 + b"]" * 10_000, "unreadable"),
    "10 MB": (b'"' + b"x" * 10_000_000 + b'"', "unreadable"),
    "the wrong encoding": ("żółć".encode("utf-16"), "unreadable"),
    "a NUL byte": (b"\0", "unreadable"),
    "NUL bytes in the body": (message(b"\0\0\0"), "undecodable"),
    "a body that is not JSON": (message(b"{"), "undecodable"),
    "a body nested 10,000 deep": (message(b"[" * 10_000), "undecodable"),
    "a body that is no triple": (message(b"[]"), "invalid"),
    "a body that is a number": (message(b"5"), "invalid"),
    "an unknown content type": (message(content_type="text/klingon"), "invalid"),
    "pickle": (
        message(b"\x80\x04K\x01.", content_type="application/x-python-serialize"),
        "invalid",
    ),
    "no task at all": (message(headers={}), "invalid"),
    "an eta that is none": (
        message(headers={"task": TASK, "id": "an-id", "eta": "tomorrow"}),
        "invalid",
    ),
    "no id": (message(headers={"task": TASK}), "invalid"),
}


@pytest.mark.parametrize("pool", POOLS)
def test_f63_bad_messages(stage: Stage, figures: Figures, pool: str) -> None:
    """Each is a dead letter exactly once; the good ones behind them run."""
    worker = stage.start("-P", pool, "-c", "2")
    for number, (raw, _) in enumerate(BAD.values()):
        stage.client.lpush(QUEUE, raw)
        stage.publish("note", [number])
    stage.done(range(len(BAD)))
    wait_until(lambda: len(stage.dead()) >= len(BAD), 20, "all bad ones dead")
    stage.settled()
    letters = {letter.raw: letter.facts.reason for letter in stage.dead()}
    found = {name: letters.get(raw, "nowhere") for name, (raw, _) in BAD.items()}
    assert found == {name: reason for name, (_, reason) in BAD.items()}
    assert len(stage.dead()) == len(BAD)
    assert worker.process.poll() is None
    assert len(worker.events("message_dead")) == len(BAD)
    assert worker.stop() == 0
    figures(bad=len(BAD), dead=len(stage.dead()), good=len(stage.record.ends()))
