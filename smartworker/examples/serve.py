"""The web process of an example: `python -m smartworker.examples.serve MODULE:APP`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from smartworker import logs
from smartworker.errors import SmartworkerError
from smartworker.settings import Settings
from smartworker.web.serve import serve


def load(name: str) -> Any:
    """The application of this name, `module:attribute`, as ASGI."""
    module, _, attribute = name.partition(":")
    app = getattr(import_module(module), attribute or "app")
    if hasattr(app, "wsgi_app"):  # Flask
        from a2wsgi import WSGIMiddleware

        return WSGIMiddleware(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve an application on a port of the loopback interface."""
    parser = argparse.ArgumentParser(prog="python -m smartworker.examples.serve")
    parser.add_argument("app", metavar="MODULE:APP")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        known = (*settings.cron_tokens, settings.admin_token or "")
        logs.configure(settings.log_format, known)
        serve(load(options.app), options.host, options.port)
    except SmartworkerError as error:
        print(f"serve: {error}", file=sys.stderr)  # noqa: T201 - the last word
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
