"""celery-redis-plus: its own transport under the same Celery app."""

import celery_redis_plus  # noqa: F401  (makes the scheme valkey:// known)
from celery_tasks import URL, app, many, noop, sleep, stamp, state

app.conf.broker_url = URL.replace("redis", "valkey", 1)

__all__ = ["app", "many", "noop", "sleep", "stamp", "state"]
