"""Preload of each Dask worker process: the worker never outlives the process that started it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster.leash import die_with_parent

if TYPE_CHECKING:
    from distributed import Worker


def dask_setup(worker: Worker) -> None:
    """Set the worker process up; Dask calls this."""
    die_with_parent()
    prefer_as_victim()


def prefer_as_victim() -> None:
    """Make the kernel, when memory runs out, end this worker, which can be replaced, before its scheduler."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
