"""What `smartworker doctor` collects: from the app, the platform and the rows."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from smartworker.budget import MONTH
from smartworker.cli.tokens import anybody
from smartworker.clock import Clock
from smartworker.doctor import (
    AppFacts,
    Endpoint,
    Finding,
    HostFacts,
    SpendingFacts,
    examine,
)
from smartworker.errors import SettingsError
from smartworker.policy import lease_for
from smartworker.rows import Row, messages_of, month_of, month_start
from smartworker.settings import SCHEMES, Settings
from smartworker.store import processes
from smartworker.store.client import ResponseError
from smartworker.store.dead import DeadLetters
from smartworker.store.inspection import inspect, skew
from smartworker.store.traffic import CAUSE, watch
from smartworker.windows import to_utc
from smartworker.worker.link import Link

#: Less than a day of a month says little about the rest of it.
SHORTEST_MEASURE = timedelta(days=1)


def findings_of(
    link: Link, clock: Clock, seconds: float, environment: Mapping[str, str]
) -> list[Finding]:
    """All there is to say about an app and its broker. 6 commands.

    It looks for `seconds` at what others send meanwhile; none: it does not.
    """
    client, now = link.client, clock.now()
    server = replace(inspect(client), skew=skew(client, clock))
    rows = rows_of(client, link.prefix)
    alive = [row for row in rows if row.kind == "worker" and not row.is_gone(now)]
    quiet = sum(row.doorbell == "off" for row in alive)
    return examine(
        server,
        facts_of(link.app),
        waiting(DeadLetters(client, link.prefix)),
        spending_of(link.app, rows, alive, now),
        watch(client, clock, seconds, link.prefix, quiet),
        host_of(environment, link.app.smartworker),
    )


def waiting(letters: DeadLetters) -> int | None:
    """How many dead letters there are; None where the server does not say."""
    try:
        return letters.count()
    except ResponseError:
        return None


def rows_of(client: Any, prefix: str) -> list[Row]:
    """What all processes have recorded; nothing where it is refused. 1 command."""
    try:
        return processes.read(client, prefix, CAUSE)
    except ResponseError:
        return []


def facts_of(app: Any, *, loading: bool = True) -> AppFacts:
    """What the configuration of an app says, where it matters here.

    Its tasks are imported first, if `loading`: they may declare jobs, and entries for
    Beat.
    """
    from smartworker.worker.configuration import usual_time_limits
    from smartworker.worker.declared import jobs_of

    unreadable = unreadable_tasks(app) if loading else None
    conf, settings = app.conf, app.smartworker
    limit = conf.task_time_limit or usual_time_limits(conf)[0]
    accepted = {*conf.accept_content, *(conf.result_accept_content or ())}
    expires = conf.result_expires
    if isinstance(expires, int | float):
        expires = timedelta(seconds=expires) if expires else None
    backend = urlsplit(str(conf.result_backend or "")).scheme
    return AppFacts(
        endpoints=tuple(endpoints(app)),
        doorbell=str(conf.broker_transport_options.get("doorbell", "auto")),
        lease=shortest_lease(settings),
        time_limit=timedelta(seconds=limit) if limit else None,
        acks_late=bool(conf.task_acks_late),
        reject_on_worker_lost=bool(conf.task_reject_on_worker_lost),
        accept_content=frozenset(map(str, accepted)),
        visibility_timeout="visibility_timeout" in conf.broker_transport_options,
        result_expires=expires,
        results_in_redis=backend in SCHEMES,
        beat_entries=tuple(map(str, conf.beat_schedule or {})),
        jobs=len(list(jobs_of(app))),
        jobs_open=anybody(settings),
        admin=settings.admin_token is not None,
        dashboard=settings.dashboard,
        trusts_proxies=bool(settings.trusted_proxies),
        renamed=tuple((each.former, each.name) for each in settings.renamed),
        unreadable=unreadable,
    )


def unreadable_tasks(app: Any) -> str | None:
    """Why the tasks cannot be imported; None where they are, and the app is ready."""
    from smartworker.cli.budget import load_tasks

    try:
        load_tasks(app, app.main)
    except SettingsError as error:
        return str(error)
    app.finalize()
    return None


def spending_of(
    app: Any, rows: list[Row], alive: list[Row], now: datetime
) -> SpendingFacts:
    """What was measured this month, and what the plan costs."""
    month = month_of(now)
    mine = [row for row in rows if row.month == month]
    published = None
    if mine:
        first = min(datetime.fromisoformat(row.started) for row in mine)
        since = to_utc(now) - max(first, month_start(month))
        done = messages_of(mine, month).get("published", 0)
        published = round(done * (MONTH / max(since, SHORTEST_MEASURE)))
    return SpendingFacts(
        published=published,
        foreseen=_foreseen(app, now, max(len(alive), 1)),
        budget=app.smartworker.monthly_budget,
        hearing=sum(row.doorbell == "keyspace" for row in alive),
    )


def _foreseen(app: Any, now: datetime, workers: int) -> int | None:
    """What 30 days cost, polls and jobs; None where the tasks cannot be imported."""
    return None if unreadable_tasks(app) else foreseen(app, now, workers)


def foreseen(app: Any, now: datetime, workers: int = 1) -> int:
    """What 30 days cost, polls and jobs; asks nobody."""
    from smartworker.cli.budget import budget_of
    from smartworker.worker.declared import jobs_of
    from smartworker.worker.overview import declared

    settings = app.smartworker
    rows = declared(jobs_of(app), settings, now, workers=workers, app=app)
    return budget_of(settings, rows, now, workers=workers).commands


def host_of(environment: Mapping[str, str], settings: Settings) -> HostFacts:
    """What the platform says of itself; Render is the one that is known here."""
    if environment.get("RENDER", "").lower() != "true":
        return HostFacts()
    kind = environment.get("RENDER_SERVICE_TYPE") or None
    return HostFacts(
        platform="render",
        kind=kind,
        port=bool(environment.get("PORT")),
        public=kind == "web" or bool(environment.get("RENDER_EXTERNAL_HOSTNAME")),
        health=bool(settings.metrics_port or settings.state_dir),
    )


def endpoints(app: Any) -> Iterator[Endpoint]:
    """The Redis servers that the app talks to, each once."""
    seen, conf = set(), app.conf
    for name, setting, tls in (
        ("broker", conf.broker_url, conf.broker_use_ssl),
        ("result backend", conf.result_backend, conf.redis_backend_use_ssl),
    ):
        several = isinstance(setting, list | tuple)
        for url in setting if several else str(setting or "").split(";"):
            parts = urlsplit(url)
            # With options for TLS both scheme words mean TLS.
            where = "rediss" if tls else parts.scheme, parts.hostname or ""
            if parts.scheme in SCHEMES and where not in seen:
                seen.add(where)
                yield Endpoint(name, *where, verified=app.smartworker.tls_verify)


def shortest_lease(settings: Settings) -> timedelta:
    """The lease that a worker has when it is shortest."""
    polls = [settings.quiet_poll, *(span.poll for span in settings.windows.spans)]
    return settings.lease or min(map(lease_for, polls))
