"""Run a command that the kernel ends together with the process that started it.

    python leash.py PID COMMAND …

PID is that process. A script that loads nothing, and is soon replaced by the command.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)  # it ended before it was asked for
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
