"""What the environment says about this example."""

import os
from dataclasses import dataclass
from datetime import timedelta

from smartworker.errors import SettingsError

DEFAULT_DATABASE = "sqlite:///sync.sqlite3"


@dataclass(frozen=True)
class Options:
    """The settings of the example, checked.

    `hold` is how long a change rests when all retries have failed, unless the hourly
    refresh comes first; `stale` is after how long without a sign its message counts as
    lost.
    """

    database_url: str
    roster_url: str | None
    first_retry: float
    hold: timedelta
    stale: timedelta

    @classmethod
    def from_environment(cls) -> "Options":
        """Raises SettingsError for a number that is none."""
        url = os.environ.get("DATABASE_URL", "").strip()
        return cls(
            database_url=url or DEFAULT_DATABASE,
            roster_url=os.environ.get("SYNC_ROSTER_URL", "").strip() or None,
            first_retry=_seconds("SYNC_FIRST_RETRY_SECONDS", 2.0),
            hold=timedelta(seconds=_seconds("SYNC_HOLD_SECONDS", 300.0)),
            stale=timedelta(seconds=_seconds("SYNC_STALE_SECONDS", 1800.0)),
        )

    @property
    def roster(self) -> str:
        """The roster service's address. Raises SettingsError where it is not set."""
        if self.roster_url is None:
            raise SettingsError(
                "SYNC_ROSTER_URL is not set: write the roster service's address, such "
                "as http://127.0.0.1:8200."
            )
        return self.roster_url


def _seconds(name: str, usual: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        seconds = float(text) if text else usual
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10**8:
        raise SettingsError(f"{name} is {text!r}: write seconds, such as 2.5.")
    return seconds
