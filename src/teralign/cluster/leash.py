"""Run a command that the kernel ends together with the process that started it.

    python leash.py PID COMMAND …

PID is the starting process. This script imports no other module of ours, since the command soon replaces it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent ends, for whatever reason; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    die_with_parent()
    if sys.platform == "linux" and os.getppid() != parent:
        sys.exit(1)  # the parent ended before it could be watched
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
