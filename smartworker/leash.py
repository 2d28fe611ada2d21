"""Processes that end when their parent ends, however it ends."""

import os
import sys
from collections.abc import Sequence

# prctl(PR_SET_PDEATHSIG, SIGKILL), then a look whether the parent died before it.
# The child does this itself, before exec: code between fork and exec is not safe in
# a process with threads. The kernel watches the thread that forked, so start such
# children from the main thread.
_TIE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def leashed(command: Sequence[str]) -> list[str]:
    """The command, tied to this process: when this one is killed, so is that one.

    Linux only; elsewhere the command comes back as it is.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-ISc", _TIE, str(os.getpid()), *command]


def die_with_parent() -> None:
    """Tie the calling process to its parent. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)
