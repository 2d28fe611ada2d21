"""Durations as people write them: `30s`, `5m`, `1h30m`."""

import re
from datetime import timedelta

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?", re.ASCII)
_PART = re.compile(r"(\d+)([dhms])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The duration that `text` means; units d, h, m, s, largest first.

    Raises ValueError for anything else, a bare number and zero included.
    """
    text = text.strip().lower()
    if not text or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m, 1h30m or 2d")
    try:
        total = timedelta(
            seconds=sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        )
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None
    if not total:
        raise ValueError(f"{text!r} is no time at all")
    return total


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as `duration`.

    Whole seconds; a shorter rest is dropped.
    """
    rest = int(duration.total_seconds())
    parts = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
