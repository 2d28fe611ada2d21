"""Which day it is where the shops are."""

from datetime import date, datetime

import pytz

ZONE = "America/New_York"


def today_at(now: datetime) -> date:
    """The date on the wall of the shops."""
    return now.astimezone(pytz.timezone(ZONE)).date()
