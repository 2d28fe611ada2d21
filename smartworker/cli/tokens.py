"""Who may start jobs over HTTP: a web process that nobody may call is refused."""

from typing import Any

from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.worker.declared import jobs_of

RANDOM = "openssl rand -hex 32"


def anybody(settings: Settings) -> bool:
    """Whether there is a token, a secret or a key with which a job can be started."""
    return bool(
        settings.cron_tokens
        or settings.admin_token
        or settings.webhook_secrets
        or settings.qstash_current_key
    )


def check_callers(app: Any) -> None:
    """Raise SettingsError for an app with jobs that nobody could start over HTTP."""
    jobs = len(list(jobs_of(app)))
    if not jobs or anybody(app.smartworker):
        return
    declared = "1 job is" if jobs == 1 else f"{jobs} jobs are"
    raise SettingsError(
        f"{declared} declared, and nobody may start any over HTTP: set "
        f"SMARTWORKER_CRON_TOKENS (`{RANDOM}` makes a token), "
        "SMARTWORKER_ADMIN_TOKEN, SMARTWORKER_WEBHOOK_SECRETS, or "
        "QSTASH_CURRENT_SIGNING_KEY and QSTASH_NEXT_SIGNING_KEY. "
        "`smartworker dev` makes a token for trying out."
    )
