"""Stock Celery; `BENCH_POLLING_INTERVAL` is the seconds of one BRPOP."""

import os

from celery_tasks import app, many, noop, sleep, stamp, state

if "BENCH_POLLING_INTERVAL" in os.environ:
    interval = float(os.environ["BENCH_POLLING_INTERVAL"])
    app.conf.broker_transport_options = {"polling_interval": interval}

__all__ = ["app", "many", "noop", "sleep", "stamp", "state"]
