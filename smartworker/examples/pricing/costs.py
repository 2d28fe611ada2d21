"""What the pricing application costs in Redis commands, before it happens."""

from datetime import datetime, timedelta

from smartworker.budget import (
    HOLD_COMMANDS,
    TASK_COMMANDS,
    TRIGGER_COMMANDS,
    simulate,
)
from smartworker.cron.registry import Jobs
from smartworker.examples.pricing.jobs import declare
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.worker.overview import declared


def row(settings: Settings, now: datetime) -> tuple[str, int, int, int, int]:
    """(application, idle day, per trigger, per task, jobs a month).

    `per task` is a recompute that somebody asked for, with its result and the lease
    of its message; each second that it takes is one command more, for its progress.
    """
    jobs = Jobs()
    declare(jobs)
    policy = Policy(settings.windows, settings.quiet_poll)
    start = now.replace(minute=0, second=0, microsecond=0)
    idle = simulate(policy, start, start + timedelta(days=1))
    month = sum(each.month_commands or 0 for each in declared(jobs, settings, now))
    per_task = len(TASK_COMMANDS) + len(HOLD_COMMANDS)
    return "pricing", idle.commands, len(TRIGGER_COMMANDS), per_task, month
