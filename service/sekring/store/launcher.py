"""Becomes the server: `python -I -S launcher.py PARENT_PID COMMAND [ARGUMENT...]`.

A program of its own, replaced by the server, instead of a function run between fork and exec: in a
process with threads that one may deadlock. Needs nothing but the standard library.
"""

import ctypes
import os
import signal
import sys
from typing import Final

#: `PR_SET_PDEATHSIG` of Linux' prctl(2); what it sets outlives the exec.
SET_PARENT_DEATH_SIGNAL: Final = 1


def main(arguments: list[str]) -> None:
    """Ask the kernel to end us with our parent, then run the command in our place."""
    parent_pid, *command = arguments
    if sys.platform == "linux":
        # SIGTERM, not SIGKILL: the server still writes its append-only file to the disk.
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent_pid):
            return  # the parent was gone before we asked
    os.execv(command[0], command)  # noqa: S606  # the whole purpose; no shell takes part


if __name__ == "__main__":
    main(sys.argv[1:])
