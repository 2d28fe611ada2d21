"""`smartworker web`: the HTTP half of a deployment, alone or beside a worker."""

import os

import click

from smartworker.cli.run import READY_MADE
from smartworker.errors import SettingsError


@click.command(
    short_help="Serve the triggers, the jobs and the status of tasks.",
    options_metavar="[OPTIONS]",
    epilog="""\b
Examples:
  smartworker web
  PORT=9000 smartworker web -A shop --host 127.0.0.1
  smartworker web -A shop --with-worker
  smartworker web -A shop --with-worker -- -c 1 -Q orders,mail

Exit statuses: 0 stopped by Ctrl-C, 143 by SIGTERM, 1 failed, 2 wrong usage, 78 a
setting or a declaration is wrong. With a worker: 0 stopped by either, else that of the
half that ended by itself, and 1 if that was killed or ended with 0.
""",
)
@click.option(
    "-A",
    "--app",
    "app_name",
    default=READY_MADE,
    metavar="MODULE:APP",
    help="Your Celery app, whose jobs are served; without it the ready-made one.",
)
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 - Render and containers reach us from outside
    show_default=True,
    help="The address to listen on.",
)
@click.option(
    "--with-worker",
    is_flag=True,
    help="Run a worker beside it, for plans with one process: two pool processes "
    "(-c 2), about 210 MB in all. Both start and stop together.",
)
@click.option(
    "--no-doctor", is_flag=True, help="Do not look for what puts tasks at risk."
)
@click.argument(
    "worker_options",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[-- OPTIONS OF celery worker]",
)
def web(
    app_name: str,
    host: str,
    *,
    with_worker: bool,
    no_doctor: bool,
    worker_options: tuple[str, ...],
) -> None:
    """Serve the triggers, the jobs and the task status on $PORT (8000).

    The jobs are those of `smartworker.setup(app, jobs=...)`. Of the ready-made app they
    come from the tasks modules: the module `jobs` beside each module of
    SMARTWORKER_TASKS (or it itself) has a function `declare(jobs)`.

    With --with-worker a worker runs beside it, with the options behind `--`. SIGTERM
    stops both, each in the time that it needs; when one ends by itself, so does the
    other, and the exit status says so.
    """
    if with_worker:
        from smartworker.cli.pair import decide_pair
        from smartworker.cli.together import together

        together(
            lambda scratch: decide_pair(
                os.environ,
                scratch,
                app=app_name,
                host=host,
                options=worker_options,
                looks=not no_doctor,
            )
        )
    elif worker_options:
        raise click.UsageError(
            f"'{worker_options[0]}' is for a worker, which comes with --with-worker."
        )
    else:
        serve_alone(app_name, host, looks=not no_doctor)


def serve_alone(app_name: str, host: str, *, looks: bool) -> None:
    """Serve until a signal comes. Raises SettingsError for what cannot work."""
    from smartworker import logs
    from smartworker.cli.connection import load
    from smartworker.cli.first_look import look_aside
    from smartworker.cli.tokens import check_callers
    from smartworker.worker.journal import secrets

    app = load(app_name)
    if not app.conf.broker_url:
        raise SettingsError(
            "REDIS_URL is not set: the web process could not queue anything. "
            "`smartworker dev` brings a server along."
        )
    try:
        from smartworker.web.app import create_app
        from smartworker.web.serve import serve
    except ImportError as error:
        raise SettingsError(
            f"The web process needs {error.name}: install smartworker[web]."
        ) from error
    check_callers(app)
    settings = app.smartworker
    logs.configure(settings.log_format, secrets(app))
    served = create_app(app)
    if looks:
        look_aside(app, os.environ, kind="web")
    serve(served, host, settings.port)
