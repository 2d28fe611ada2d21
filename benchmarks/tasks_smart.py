"""The measured task on smartworker."""

from tasks_stock import app, stamp

import smartworker

smartworker.setup(app)

__all__ = ["app", "stamp"]
