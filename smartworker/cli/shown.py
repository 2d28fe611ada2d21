"""How values that anybody may have written look in a terminal."""

from datetime import timedelta

from smartworker.durations import format_duration

#: kombu puts it between a queue's name and a priority step.
STEP_MARK = "\x06\x16"

_DAY, _HOUR, _MINUTE, _SECOND = (
    timedelta(**{unit: 1}) for unit in ("days", "hours", "minutes", "seconds")
)


def plain(value: object) -> str:
    """A text in which nothing steers the terminal: one line, all else escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(value)
    )


def plain_lines(raw: bytes) -> str:
    """Bytes as text; line ends stay, and what is no text is escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    return "\n".join(plain(line.replace("\t", "    ")) for line in text.split("\n"))


def queue_name(queue_key: str) -> str:
    """A queue key: its name, and its priority step if it is not the first."""
    name, mark, step = queue_key.partition(STEP_MARK)
    return plain(f"{name} (step {step})" if mark else name)


def about(duration: timedelta) -> str:
    """A duration by its largest unit alone: `2d`, `3h`."""
    for unit in (_DAY, _HOUR, _MINUTE):
        if duration >= unit:
            return format_duration(duration // unit * unit)
    return format_duration(max(duration, timedelta()))
