"""A process of one release that does what a test says: one expression on each line."""

import json
import sys
from dataclasses import asdict

import shop
from celery import chord, group
from celery.result import AsyncResult
from click.testing import CliRunner

import smartworker
from smartworker.cli.main import main
from smartworker.store import processes
from smartworker.worker.link import LazyLink

link = LazyLink(shop.app)


def command(*words):
    """What a command of this release prints for programs."""
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows():
    """What this release reads of all processes, by their ids."""
    here = link.get()
    return {row.id: asdict(row) for row in processes.read(here.client, here.prefix)}


def got(task_id):
    """The result of a task, as soon as it is there."""
    return AsyncResult(task_id, app=shop.app).get(timeout=20)


SCOPE = {
    **vars(shop),
    "SHOP": ("-A", "shop"),
    "chord": chord,
    "command": command,
    "got": got,
    "group": group,
    "rows": rows,
    "smartworker": smartworker,
}

for line in sys.stdin:
    answer = eval(line, SCOPE)  # noqa: S307 - the test's own words
    print(json.dumps(answer), flush=True)  # noqa: T201 - read by the test
