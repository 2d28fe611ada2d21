"""What the row of a worker costs: how often it is written and read, on a clock.

The rule is the clerk's (`smartworker.worker.clerk`), which takes its numbers from here.
"""

from datetime import timedelta
from math import ceil

from smartworker.rows import SILENT_FOR

#: Billed commands that may be unrecorded. Below 100 by what is sent while they are
#: written, so that a process that is killed takes fewer than 100 with it.
MOST_FRESH = 90
#: Rows that were read so long ago are read again with the next write.
READ_AGE = timedelta(hours=12)
#: After so long without a write others may soon take this process for dead.
WRITE_AGE = SILENT_FOR / 2
#: When a worker gets ready, and when a window opens or closes: all rows are read, and
#: the own one is written.
EDGE_COMMANDS = ("HGETALL", "HSET")


def between_edges(length: timedelta, commands: float) -> int:
    """What the row costs one worker in a time without an edge, which begins with one.

    It sends so many other billed `commands`, at even distances.
    """
    if not commands:
        return _of_silence(length)
    # The write itself is the first of the next 90.
    gap = length * ((MOST_FRESH - 1) / commands)
    if gap > WRITE_AGE:
        return _of_silence(length)
    writes = int(commands / (MOST_FRESH - 1))
    return writes + writes // (READ_AGE // gap + 1)


def _of_silence(length: timedelta) -> int:
    """Read and written because nothing else was, for more than a day each time."""
    return len(EDGE_COMMANDS) * max(ceil(length / WRITE_AGE) - 1, 0)
