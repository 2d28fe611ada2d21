"""The records of slots: whether there is one, and writing one as the first."""

from collections.abc import Sequence
from typing import Any

from smartworker.store.meter import because


def absent(client: Any, record_keys: Sequence[str]) -> set[str]:
    """Those of these records that do not exist. 1 command; 1 more each if one is."""
    if not record_keys:
        return set()
    with because("cron"):
        if int(client.exists(*record_keys)) == len(record_keys):
            return set()
        if len(record_keys) == 1:
            return set(record_keys)
        return {key for key in record_keys if not client.exists(key)}


def write_first(client: Any, key: str, text: str, seconds: int) -> bool:
    """Write a record unless there is one; whether it was written. 1 command."""
    with because("cron"):
        return bool(client.set(key, text, nx=True, ex=seconds))
