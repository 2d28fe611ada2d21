"""A user's project whose runs are followed: logs, Sentry and OpenTelemetry.

What the tracing libraries would send stands in the files that the environment names.
"""

import json
import logging
import os
from pathlib import Path

import structlog
from celery import Celery, chain
from celery.signals import worker_init, worker_process_init

import smartworker
from smartworker.cron.registry import Jobs

jobs = Jobs()
jobs.declare("book", "traced.book", sentry_monitor="book-lanes")
jobs.declare("bad", "traced.bad", sentry_monitor="bad-job", schedule="0 21 * * *")
jobs.declare("killed", "traced.killed")
jobs.declare("plain", "traced.plain")
jobs.declare("nested", "traced.nested")

app = smartworker.setup(Celery("traced"), jobs=jobs)


def say(where):
    """A line of each kind that a user writes."""
    structlog.get_logger().info("lane is free", where=where)
    logging.getLogger("pool").info("water is warm at %s", where)


@app.task(bind=True, shared=False, max_retries=2)
def book(self):
    """Fails once, then books, and queues what follows."""
    say(f"try {self.request.retries}")
    if not self.request.retries:
        raise self.retry(countdown=0, exc=OSError("not yet"))
    chain(
        tell.si("a"), tell.si("b"), app.signature("traced.tell", ("c",), immutable=True)
    ).delay()
    tell.delay("d")


@app.task(shared=False)
def tell(what):
    """Something that a run has queued."""
    say(what)


@app.task(shared=False)
def bad():
    """Always fails."""
    say("bad")
    raise ValueError("no lane")


@app.task(shared=False, reject_on_worker_lost=False)
def killed():
    """Its process is killed."""
    say("killed")
    os._exit(9)


@app.task(bind=True, shared=False)
def plain(self):
    """Says what stands in its message."""
    return self.request.headers


@app.task(shared=False)
def nested():
    """Queues a task that works inside a span of its own."""
    tell.delay("nested")


def append(path, line):
    """One line, whole, whichever process writes it."""
    with Path(path).open("a") as file:
        file.write(json.dumps(line) + "\n")


def report_to_sentry(path, **options):
    """Sentry as its documentation says, with a transport that writes a file."""
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.transport import Transport

    class ToFile(Transport):
        def capture_envelope(self, envelope):
            for item in envelope.items:
                if item.type == "check_in":
                    append(path, item.payload.json)

    sentry_sdk.init(
        dsn="https://key@sentry.example/1",
        transport=ToFile,
        integrations=[CeleryIntegration(**options)],
    )


def report_spans(path):
    """OpenTelemetry as its documentation says, with an exporter that writes a file."""
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        SimpleSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class ToFile(SpanExporter):
        def export(self, spans):
            for span in spans:
                append(path, json.loads(span.to_json(indent=None)))
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    CeleryInstrumentor().instrument(tracer_provider=provider)


if path := os.environ.get("CHECK_INS"):
    monitored = os.environ.get("MONITOR", "true") == "true"
    report_to_sentry(path, monitor_beat_tasks=monitored)

if path := os.environ.get("SPANS"):

    @worker_process_init.connect(weak=False)
    def in_a_pool_process(**_):
        """The instrumentation's documentation wants it here."""
        report_spans(path)

    @worker_init.connect(weak=False)
    def in_the_main_process(sender, **_):
        """Other pools have no processes of their own."""
        if "prefork" not in sender.pool_cls.__module__:
            report_spans(path)
