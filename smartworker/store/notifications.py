"""Keyspace notifications: asking the server to ring by itself."""

from dataclasses import dataclass
from typing import Any

from smartworker.store.client import ResponseError
from smartworker.store.meter import because

SETTING = "notify-keyspace-events"
#: K: by key; l: lists (pushes and pops); $: strings (results); g: del, which tells
#: that a list ran empty.
NEEDED = "Kl$g"


@dataclass(frozen=True)
class Flags:
    """The server's notification flags before and after we looked."""

    before: str
    after: str


def enable(client: Any) -> Flags:
    """Add the flags we need to what is there; never removes any.

    At most 2 commands, neither billed. Raises ResponseError where the server does
    not let us.
    """
    with because("doorbell"):
        before = str(_text(client.config_get(SETTING).get(SETTING, "")))
        lacking = missing(before)
        if not lacking:
            return Flags(before, before)
        after = before + lacking
        client.config_set(SETTING, after)
    return Flags(before, after)


def rings(client: Any) -> bool:
    """Whether the server rings for pushes; makes it do so where it may."""
    try:
        enable(client)
    except ResponseError:
        return False
    return True


def missing(flags: str) -> str:
    """The flags that we need and that are not there."""
    return "".join(flag for flag in NEEDED if not _has(flags, flag))


def _has(flags: str, flag: str) -> bool:
    # A stands for all classes of events, but not for K, which says where they go.
    return flag in flags or ("A" in flags and flag != "K")


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
