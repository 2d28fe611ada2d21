"""`smartworker doctor`: what puts tasks at risk, and what to do about it."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import click

from smartworker.cli.connection import EXIT_STATUSES, app_option, opened
from smartworker.cli.shown import plain
from smartworker.doctor import (
    SEVERITIES,
    AppFacts,
    Endpoint,
    Finding,
    examine,
)
from smartworker.policy import lease_for
from smartworker.settings import SCHEMES, Settings
from smartworker.store.client import ResponseError
from smartworker.store.dead import DeadLetters
from smartworker.store.inspection import inspect

STATUSES = {"critical": 3, "warning": 1, "info": 0}


@click.command(
    short_help="Find what puts tasks at risk.",
    epilog=f"""\b
Examples:
  smartworker doctor
  smartworker doctor -A shop --json

Exit statuses: 0 nothing above info, 1 warnings, 2 wrong usage, 3 something is
critical, {EXIT_STATUSES}.
""",
)
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def doctor(app_name: str, as_json: bool) -> None:
    """Find what puts tasks at risk: in Redis, on the way to it, in the configuration.

    1 command; what the server tells of itself is not billed.
    """
    with opened(app_name, any_server=True) as broker:
        findings = examine(
            inspect(broker.client),
            facts_of(broker.app),
            waiting(DeadLetters(broker.client, broker.prefix)),
        )
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        print_findings(findings)
    sys.exit(max((STATUSES[finding.severity] for finding in findings), default=0))


def waiting(letters: DeadLetters) -> int | None:
    """How many dead letters there are; None where the server does not say."""
    try:
        return letters.count()
    except ResponseError:
        return None


def facts_of(app: Any) -> AppFacts:
    """What the configuration of an app says, where it matters here."""
    from smartworker.worker.configuration import usual_time_limits

    conf, settings = app.conf, app.smartworker
    limit = conf.task_time_limit or usual_time_limits(conf)[0]
    accepted = {*conf.accept_content, *(conf.result_accept_content or ())}
    return AppFacts(
        endpoints=tuple(endpoints(app)),
        doorbell=str(conf.broker_transport_options.get("doorbell", "auto")),
        lease=shortest_lease(settings),
        time_limit=timedelta(seconds=limit) if limit else None,
        acks_late=bool(conf.task_acks_late),
        reject_on_worker_lost=bool(conf.task_reject_on_worker_lost),
        accept_content=frozenset(map(str, accepted)),
        visibility_timeout="visibility_timeout" in conf.broker_transport_options,
    )


def endpoints(app: Any) -> Iterator[Endpoint]:
    """The Redis servers that the app talks to, each once."""
    seen = set()
    for name, setting in (
        ("broker", app.conf.broker_url),
        ("result backend", app.conf.result_backend),
    ):
        several = isinstance(setting, list | tuple)
        for url in setting if several else str(setting or "").split(";"):
            parts = urlsplit(url)
            where = parts.scheme, parts.hostname or ""
            if parts.scheme in SCHEMES and where not in seen:
                seen.add(where)
                yield Endpoint(name, *where, verified=app.smartworker.tls_verify)


def shortest_lease(settings: Settings) -> timedelta:
    """The lease that a worker has when it is shortest."""
    polls = [settings.quiet_poll, *(span.poll for span in settings.windows.spans)]
    return settings.lease or min(map(lease_for, polls))


def print_findings(findings: list[Finding]) -> None:
    """A row for each finding, and how many there are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not findings:
        click.echo("Nothing puts tasks at risk.")
        return
    rows = Table.grid(padding=(0, 2))
    for finding in findings:
        what = f"{finding.subject}: {finding.message} {finding.advice}"
        rows.add_row(Text(finding.severity), Text(plain(what)))
    Console(highlight=False, markup=False).print(rows)
    counts = Counter(finding.severity for finding in findings)
    many = "warnings" if counts["warning"] > 1 else "warning"
    words = {name: many if name == "warning" else name for name in SEVERITIES}
    parts = [f"{counts[name]} {words[name]}" for name in SEVERITIES if counts[name]]
    click.echo(f"\n{', '.join(parts)}.")
