"""The rows of all processes: one hash, read and written with one command each."""

from datetime import datetime
from typing import Any

from smartworker.rows import FOLDED, Row, fold, month_before, month_of, read_rows
from smartworker.store import keys
from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

FOLD = script("fold")
#: The causes of what a row costs: written for the sum, or because somebody looks.
CAUSE = "row"
LOOK_CAUSE = "look"
#: Rows of processes that are gone, before they are folded into one.
MOST_GONE = 20
#: Rows folded by one call; Lua unpacks no more than some thousand values.
MOST_AT_ONCE = 500


def write(client: Any, row: Row, prefix: str = "", cause: str = CAUSE) -> None:
    """Write a process's own row. 1 command. Raises what redis-py raises."""
    with because(cause):
        client.hset(prefix + keys.PROCESSES, row.id, row.as_json())


def read(client: Any, prefix: str = "", cause: str = CAUSE) -> list[Row]:
    """All rows, oldest start first. 1 command. Raises what redis-py raises."""
    return read_rows(_read(client, prefix, cause))


def fold_gone(
    client: Any, now: datetime, prefix: str = "", raw: dict[str, bytes] | None = None
) -> int:
    """Put the sums of processes that are gone into one row, if they are many.

    Rows whose month is older than the last one are dropped with them. How many were
    folded: 0 where there are few, or another process was faster. 1 command, unless
    `raw` has the rows; 4 more when there are more than 20. Raises what redis-py raises.
    """
    found = raw if raw is not None else read_raw(client, prefix)
    by_id = {row.id: row for row in read_rows(found) if row.id in found}
    gone = [row for row in by_id.values() if row.is_gone(now) and not row.is_folded]
    if len(gone) <= MOST_GONE:
        return 0
    gone = gone[:MOST_AT_ONCE]
    month = month_of(now)
    kept = {month, month_before(month)}
    words: list[bytes | str] = []
    for kind in sorted({row.kind for row in gone}):
        known = by_id.get(FOLDED + kind)
        parts = [row for row in (known, *gone) if row is not None and row.month in kept]
        words += [FOLDED + kind, found.get(FOLDED + kind, b"")]
        words += [fold(parts, kind, now).as_json()]
    for row in gone:
        words += [row.id, found[row.id], ""]
    with because(CAUSE):
        done, deleted, written = client.eval(FOLD, 1, prefix + keys.PROCESSES, *words)
        inner = ["hmget"] + ["hdel"] * deleted + ["hset"] * written
        ledger.book(inner)
    return len(gone) if done else 0


def read_raw(client: Any, prefix: str = "", cause: str = CAUSE) -> dict[str, bytes]:
    """All rows as they stand there, by the id of the process. 1 command."""
    found = _read(client, prefix, cause)
    return {_text(name): value for name, value in found.items()}


def _read(client: Any, prefix: str, cause: str) -> dict[Any, Any]:
    with because(cause):
        return dict(client.hgetall(prefix + keys.PROCESSES))


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
