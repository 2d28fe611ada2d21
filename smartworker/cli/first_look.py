"""The doctor's look at the start of a process: it costs no billed command.

It says what it finds, and stops nobody: what cannot work is refused elsewhere.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smartworker.cli.doctor_facts import facts_of, foreseen, host_of
from smartworker.clock import Clock, system_clock
from smartworker.doctor import Finding, SpendingFacts, eviction, examine
from smartworker.logs import get_logger
from smartworker.store.inspection import inspect, look
from smartworker.worker.link import open_link

log = get_logger(__name__)

THREAD = "smartworker-first-look"


def look_aside(
    app: Any, environment: Mapping[str, str], *, kind: str
) -> threading.Thread:
    """Look in a thread, and log what was found; gives the thread.

    `kind`: "worker" or "web". Nobody waits for it, and an error in it is a log line.
    """
    thread = threading.Thread(
        target=look_and_tell,
        args=(app, environment),
        kwargs={"kind": kind},
        name=THREAD,
        daemon=True,
    )
    thread.start()
    return thread


def look_and_tell(
    app: Any, environment: Mapping[str, str], *, kind: str, clock: Clock = system_clock
) -> None:
    """Log each warning and everything critical, the worst first."""
    try:
        found = first_findings(app, environment, clock, kind=kind)
    except Exception as error:  # whatever it is, the process has its own work to do
        log.warning("doctor_failed", error=f"{type(error).__name__}: {error}")
        return
    for each in found:
        tell(each)


def tell(finding: Finding) -> None:
    """Log it, if it is more than an information."""
    subject, risk, advice = finding.subject, finding.message, finding.advice
    if finding.severity == "critical":
        log.critical("doctor_alarmed", subject=subject, risk=risk, advice=advice)
    elif finding.severity == "warning":
        log.warning("doctor_warned", subject=subject, risk=risk, advice=advice)


def first_findings(
    app: Any, environment: Mapping[str, str], clock: Clock, *, kind: str
) -> list[Finding]:
    """What can be found without a billed command, but what the process says itself.

    Sends INFO and CONFIG GET, and imports no task. Raises what redis-py raises.
    """
    host = host_of(environment, app.smartworker)
    # What `create_app` and the worker's program log by themselves.
    facts = replace(facts_of(app, loading=False), renamed=())
    said = None
    link = open_link(app)
    try:
        server = inspect(link.client)
        if kind == "worker":
            said = eviction(look(link.client))
            verified = [replace(each, verified=True) for each in facts.endpoints]
            facts = replace(facts, endpoints=tuple(verified))
            # The tokens are the web process's.
            host = replace(host, kind=host.kind or kind)
    finally:
        link.close()
    settings = app.smartworker
    spending = SpendingFacts(
        foreseen=foreseen(app, clock.now()), budget=settings.monthly_budget
    )
    found = examine(server, facts, None, spending, host=host)
    return [each for each in found if each != said or each.severity != "critical"]
