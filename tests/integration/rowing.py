"""A user's project whose jobs may not overlap; its tasks end when they are told to."""

import os

import redis
from celery import Celery
from celery.exceptions import Reject

import smartworker
from smartworker.cron.registry import Jobs

#: How long a task waits for its sign at the most.
PATIENCE = 20


def declare() -> Jobs:
    """Runs of `free` overlap, of `skip` are dropped, of `queue` wait."""
    jobs = Jobs()
    for overlap in ("allow", "skip", "queue"):
        jobs.declare(
            overlap, "rowing.row", overlap=overlap, parameters={"mark": str, "how": str}
        )
    for name in ("called", "forgotten") if os.environ.get("MINUTELY") else ():
        jobs.declare(
            name,
            "rowing.other",
            schedule="* * * * *",
            zone="UTC",
            grace="1s",
            catch_up="once",
        )
    for name in ("twice", "twice") if os.environ.get("BROKEN") else ():
        jobs.declare(name, "rowing.other")
    return jobs


app = smartworker.setup(Celery("rowing"), jobs=declare)


def server():
    """The server, for what no worker of a user would do."""
    return redis.Redis.from_url(os.environ["REDIS_URL"])


@app.task(shared=False, bind=True, max_retries=1)
def row(self, mark="", how="done"):
    """Says that it begins, waits for a sign, and ends in the way that it is told."""
    with server() as client:
        client.rpush("rowed", f"{mark} begins")
        found = client.blpop(f"sign:{mark}", PATIENCE)
        client.rpush("rowed", f"{mark} ends")
    if found is None:
        raise TimeoutError(mark)
    if how == "fail":
        raise ValueError(mark)
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0)
    if how == "back":
        raise Reject(requeue=True)
    if how == "die once" and not self.request.delivery_info["redelivered"]:
        os._exit(1)
    return mark


@app.task(shared=False)
def other():
    """Has nothing to do with it."""
    return "other"
