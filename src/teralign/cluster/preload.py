"""Preload of each Dask worker process: the worker never outlives the process that started it."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

_PR_SET_PDEATHSIG = 1


def dask_setup(worker: Worker) -> None:
    """Set the worker process up; Dask calls this."""
    die_with_parent()
    prefer_as_victim()


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent ends, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def prefer_as_victim() -> None:
    """Make the kernel, when memory runs out, end this worker, which can be replaced, before its scheduler."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
