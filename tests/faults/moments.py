"""Moments at which to kill a process: one each 50 ms, wherever it is then."""

import time

#: Seconds between two of them.
STEP = 0.05
#: So many are two seconds: all of a start or a stop.
POINTS = 40
#: Nobody dies of being rescued often where dozens of workers are killed.
PATIENT = {"SMARTWORKER_MAX_DELIVERIES": "1000"}


def wait_for_point(begun: float, point: int) -> None:
    """Until so many steps after `begun` on the monotonic clock."""
    time.sleep(max(begun + point * STEP - time.monotonic(), 0))
