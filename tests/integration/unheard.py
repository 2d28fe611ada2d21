"""A project whose worker is told to stop before a pool process says that it began."""

import os
import signal
import time

from billiard.pool import Worker as Process
from celery import Celery

import smartworker
from smartworker.worker.program import Worker

app = smartworker.setup(Celery("unheard"))


def given(receive):
    """A process that has a job has its parent stopped, and goes on somewhat later."""

    def make(self, connection):
        wait_for_job = receive(self, connection)

        def wait(*args):
            found = wait_for_job(*args)
            if found:
                os.kill(os.getppid(), signal.SIGTERM)
                time.sleep(0.5)
            return found

        return wait

    return make


def not_given(process_task):
    """The pool has a job, and no process yet."""

    def process(self, request):
        process_task(self, request)
        os.kill(os.getpid(), signal.SIGTERM)

    return process


if os.environ["STOPPED_WHEN"] == "given":
    Process._make_protected_receive = given(Process._make_protected_receive)
else:
    Worker._process_task = not_given(Worker._process_task)


@app.task(shared=False)
def give():
    """Leaves a result."""
    return "done"
