"""Settings of Dask: finite timeouts, memory limits that are kept, and a quiet log.

A user's Dask configuration file and DASK_* variables take precedence over these settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping

import dask
import distributed  # noqa: F401 - its import sets the defaults that ours replace

from teralign.cluster.machine import ENDED_AT, THREADS_VARIABLE, WorkerSize

SETTINGS = {
    "distributed": {
        "scheduler": {
            # as often as a block that raises is tried; afterwards the run tries the suspects again, one by one
            "allowed-failures": 2,
            # A worker whose connection breaks is removed at once. This limit is for a worker that hangs with its
            # connection open; a library that holds Python's lock through a long block must not look like one.
            "worker-ttl": "15 minutes",
            # our own runs give up sooner, with a message; this is for other users of the scheduler
            "no-workers-timeout": "10 minutes",
            "worker-saturation": 1.0,
        },
        "worker": {
            "preload": ["teralign.cluster.preload"],
            "profile": {"enabled": False},
            # Dask holds no data that could be spilled or waited for: a worker that exceeds its limit is ended, and
            # its block is tried again.
            "memory": {"target": False, "spill": False, "pause": False, "terminate": ENDED_AT},
        },
        "comm": {"timeouts": {"connect": "15s", "tcp": "30s"}},
        "admin": {
            "tick": {"limit": "1h"},
            # Dask's history: thousands of messages and samples by default
            "low-level-log-length": 100,
            "system-monitor": {"interval": "5s", "log-length": 100, "gil": {"enabled": False}},
        },
        "diagnostics": {"nvml": False},
        "client": {"heartbeat": "5s"},
    }
}

dask.config.update_defaults(SETTINGS)


def worker_environment(size: WorkerSize) -> dict[str, str]:
    """Environment variables that keep the libraries in a worker to its cores, and Dask from reporting twice."""
    threads = str(size.cpus)
    names = ["OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA"]
    return {
        **{f"{name}_NUM_THREADS": threads for name in names},
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
        # Dask's setting returns freed memory at once; a block would fetch it again page by page, a third of its time
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        # further arenas come in pieces of 64 MB, which a block's arrays fill badly and keep
        "MALLOC_ARENA_MAX": "1",
        "DASK_LOGGING__DISTRIBUTED": "critical",
        THREADS_VARIABLE: threads,
    }


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the context: child processes get them before they load a library."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def quieten(level: int = logging.ERROR) -> None:
    """Keep Dask's log to errors; CRITICAL is for closing, when it reports every connection that ends."""
    loud = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    for name in ("distributed", "tornado", "asyncio", *loud):
        logging.getLogger(name).setLevel(level)
    # reports that a worker was ended because it took too much memory
    logging.getLogger("distributed.nanny.memory").setLevel(min(level, logging.WARNING))
