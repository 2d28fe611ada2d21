"""What all processes know of the cron jobs: one hash, and news of its changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from typing import Any

from smartworker.store import keys
from smartworker.store.meter import because
from smartworker.windows import to_utc

SECRET = "secret"  # noqa: S105 - the name of a field
PAUSED = "paused:"
SINCE = "since:"
TIMES = "times:"


@dataclass(frozen=True)
class JobState:
    """The hash as it was read."""

    secret: bytes = field(repr=False)
    #: job -> when it was paused, ISO 8601
    paused: dict[str, str]
    #: job -> since when somebody may count on it, ISO 8601
    since: dict[str, str]
    #: job -> its times as they were declared then
    times: dict[str, str]

    def known_since(self, job: str) -> datetime | None:
        """Since when somebody may count on a job; None if nobody has noted it."""
        try:
            return to_utc(datetime.fromisoformat(self.since[job]))
        except (KeyError, ValueError):
            return None


def load(client: Any, prefix: str = "", known: bytes | None = None) -> JobState:
    """What is known now. 1 command; 3 the first time of all.

    `known` is the secret that this process has used: a server that has forgotten its
    own gets that one, so that the ids of all processes stay the same.
    """
    with because("cron"):
        fields = _fields(client, prefix)
        if SECRET not in fields:
            secret = known.decode() if known else token_hex(32)
            client.hsetnx(prefix + keys.JOBS, SECRET, secret)
            fields = _fields(client, prefix)
    return JobState(
        secret=fields[SECRET].encode(),
        paused=_part(fields, PAUSED),
        since=_part(fields, SINCE),
        times=_part(fields, TIMES),
    )


def pause(client: Any, job: str, when: str, prefix: str = "") -> None:
    """Stop a job's triggers in all processes. 2 commands."""
    with because("cron"):
        client.hset(prefix + keys.JOBS, PAUSED + job, when)
    _tell(client, job, when, prefix)


def resume(client: Any, job: str, when: str, prefix: str = "") -> None:
    """Let a job's triggers through again, in all processes. 3 commands.

    `when`: now, in ISO 8601; no slot before it is taken for missed.
    """
    with because("cron"):
        client.hset(prefix + keys.JOBS, SINCE + job, when)
        client.hdel(prefix + keys.JOBS, PAUSED + job)
    _tell(client, job, None, prefix)


def first_seen(
    client: Any, times: Mapping[str, str], when: str, prefix: str = ""
) -> None:
    """Note jobs that no worker has known before, with their times. 1 command."""
    fields = {SINCE + job: when for job in times}
    fields |= {TIMES + job: text for job, text in times.items()}
    with because("cron"):
        client.hset(prefix + keys.JOBS, mapping=fields)


def read_news(data: bytes | str) -> tuple[str, str | None]:
    """(job, when it was paused or None for resumed). Raises ValueError otherwise."""
    news = json.loads(data)
    if not isinstance(news, dict) or not isinstance(news.get("job"), str):
        raise ValueError("these are no news of a job")
    return news["job"], news.get("paused")


def _tell(client: Any, job: str, paused: str | None, prefix: str) -> None:
    with because("cron"):
        news = json.dumps({"job": job, "paused": paused})
        client.publish(prefix + keys.JOB_NEWS, news)


def _fields(client: Any, prefix: str) -> dict[str, str]:
    found = client.hgetall(prefix + keys.JOBS)
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _part(fields: dict[str, str], start: str) -> dict[str, str]:
    return {
        name.removeprefix(start): value
        for name, value in fields.items()
        if name.startswith(start)
    }
