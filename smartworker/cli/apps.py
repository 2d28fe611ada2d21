"""Finding a Celery app by its name on a command line."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smartworker.errors import SettingsError, SmartworkerError


def find(name: str) -> Any:
    """The Celery app of this name, whoever made it.

    Modules are looked for in the current directory, too, now and later. Raises
    SettingsError, and what smartworker itself raised while the app was imported.
    """
    from celery.app.utils import find_app
    from celery.exceptions import ImproperlyConfigured

    # Celery's own look ends with the import, and jobs are declared after it.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return find_app(name)
    except (ImportError, AttributeError, ImproperlyConfigured) as error:
        raise SettingsError(
            f"There is no Celery app at {name!r}: {_reason(name, error)}."
        ) from error
    except ValueError as error:
        # kombu puts one of its own around each ValueError, and a JobError is one.
        cause = error.__context__
        if isinstance(cause, SmartworkerError):
            raise cause from None
        raise


def check_tasks() -> None:
    """Refuse a module of SMARTWORKER_TASKS that is not there, without importing it."""
    from smartworker.app import settings

    for module in settings.tasks:
        try:
            missing = None if find_spec(module) else module
        except ModuleNotFoundError as error:
            missing = error.name
        if missing is not None:
            raise SettingsError(
                f"SMARTWORKER_TASKS names {module!r}, and there is no {missing!r}."
            )


def _reason(name: str, error: Exception) -> str:
    what = str(error).partition("\n")[0].rstrip(".")
    module, mark, attribute = name.partition(":")
    # Celery takes the whole name for a module when the attribute is not there.
    if mark and what == f"No module named {name!r}":
        what = f"the module {module!r} has no {attribute!r}"
    elif not what.startswith(f"module {module!r} has no") and getattr(
        error, "name", None
    ) not in (module, module.partition(".")[0]):
        return what  # the module is there, and something that it needs is not
    return f"{what}; write -A MODULE or -A MODULE:APP, such as -A shop:app"
