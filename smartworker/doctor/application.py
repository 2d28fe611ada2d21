"""Findings about the configuration of an app."""

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address

from smartworker.doctor.facts import AppFacts, Finding, HostFacts
from smartworker.durations import format_duration

#: Serializers that run code of whoever may write to Redis, by name and content type.
UNSAFE = frozenset(
    {
        "pickle",
        "application/x-python-serialize",
        "yaml",
        "application/x-yaml",
    }
)
#: Host names that only a private network knows.
PRIVATE_ENDS = (".internal", ".local", ".localdomain", ".lan", ".svc")
#: Longer, and what nobody asks for any more fills the memory.
LONGEST_RESULTS = timedelta(days=7)


def find(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    """All of them."""
    yield from _tasks(app)
    yield from _names(app)
    yield from _content(app)
    yield from _connections(app)
    yield from _acknowledgement(app)
    yield from _time_limit(app)
    yield from _visibility(app)
    yield from _results(app)
    yield from _tokens(app, host)
    yield from _dashboard(app, host)


def _tasks(app: AppFacts) -> Iterator[Finding]:
    if app.unreadable is not None:
        yield Finding(
            "warning",
            "tasks",
            app.unreadable,
            "Mend that: a worker ends at its start, and what they cost is unknown.",
        )


def _names(app: AppFacts) -> Iterator[Finding]:
    for former, name in app.renamed:
        yield Finding(
            "warning",
            "former name",
            f"{former} is {name} now; a later release will not read the former name.",
            f"Set {name} to the same, and remove {former} once no process of the "
            "release before runs.",
        )


def _content(app: AppFacts) -> Iterator[Finding]:
    if unsafe := sorted(app.accept_content & UNSAFE):
        yield Finding(
            "critical",
            "accept_content",
            f"It has {' and '.join(unsafe)}: who writes to Redis runs code in workers.",
            "Leave json alone in accept_content and result_accept_content.",
        )


def _connections(app: AppFacts) -> Iterator[Finding]:
    for endpoint in app.endpoints:
        if endpoint.scheme == "rediss" and not endpoint.verified:
            yield Finding(
                "warning",
                endpoint.name,
                "TLS without verification: anybody on the way can pose as the server.",
                "Name its authority in SMARTWORKER_TLS_CA, and leave"
                " SMARTWORKER_TLS_VERIFY on.",
            )
        if endpoint.scheme == "redis" and looks_public(endpoint.host):
            yield Finding(
                "critical",
                endpoint.name,
                f"Password and tasks travel to {endpoint.host} in the clear.",
                "Write rediss:// in its URL, or use the private network's host name.",
            )


def looks_public(host: str) -> bool:
    """Whether a host is one that the way to leads over the internet."""
    try:
        return ip_address(host).is_global
    except ValueError:
        name = host.lower().rstrip(".")
        return "." in name and not name.endswith(PRIVATE_ENDS)


def _acknowledgement(app: AppFacts) -> Iterator[Finding]:
    if not app.acks_late:
        yield Finding(
            "info",
            "task_acks_late",
            "It is off: a task that runs when its worker dies is not run again.",
            "Leave it on, unless running twice is worse than not at all.",
        )
    elif not app.reject_on_worker_lost:
        yield Finding(
            "warning",
            "task_reject_on_worker_lost",
            "It is off: a task whose pool process is killed is not run again.",
            "Switch it on; SMARTWORKER_MAX_DELIVERIES ends a loop.",
        )


def _time_limit(app: AppFacts) -> Iterator[Finding]:
    if app.time_limit is not None and app.time_limit > app.lease:
        limit, lease = format_duration(app.time_limit), format_duration(app.lease)
        yield Finding(
            "info",
            "task_time_limit",
            f"A task may run for {limit}, longer than its lease of {lease}.",
            "Nothing to do: a living worker renews its leases.",
        )


def _visibility(app: AppFacts) -> Iterator[Finding]:
    if app.visibility_timeout:
        yield Finding(
            "info",
            "visibility_timeout",
            "Leases take its place; it only tells when a stock worker is given up.",
            "Take it out of broker_transport_options once no stock worker runs.",
        )


def _results(app: AppFacts) -> Iterator[Finding]:
    if not app.results_in_redis:
        return
    kept = app.result_expires
    if kept is None:
        yield Finding(
            "warning",
            "result_expires",
            "It is off: results stay for good, and fill the memory of Redis.",
            "Set it to some hours, or ignore_result=True where nobody asks.",
        )
    elif kept > LONGEST_RESULTS:
        yield Finding(
            "info",
            "result_expires",
            f"Results stay in Redis for {format_duration(kept)}.",
            "Set it to some hours, unless somebody asks for them that late.",
        )


def _tokens(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    # The tokens are the web service's; a worker or a cron job of Render needs none.
    if not app.jobs or host.kind in ("worker", "cron"):
        return
    jobs = "1 job is" if app.jobs == 1 else f"{app.jobs} jobs are"
    if not app.jobs_open:
        yield Finding(
            "warning",
            "tokens",
            f"{jobs} declared, and no token or signature is set here: a web service"
            " like this starts none over HTTP.",
            "Set SMARTWORKER_CRON_TOKENS in the web service; `openssl rand -hex 32`"
            " makes one.",
        )
    elif not app.admin:
        yield Finding(
            "info",
            "admin token",
            "There is none: a token that opens all jobs pauses and resumes them too.",
            "Set SMARTWORKER_ADMIN_TOKEN, so that cron services can start jobs alone.",
        )


def _dashboard(app: AppFacts, host: HostFacts) -> Iterator[Finding]:
    if app.dashboard == "open" and host.public:
        yield Finding(
            "warning",
            "dashboard",
            "Anybody on the internet may read it: tasks, their log lines, the budget.",
            "Set SMARTWORKER_DASHBOARD to guarded or private.",
        )
