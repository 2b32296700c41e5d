"""How Dask is set up for us: finite timeouts, memory that is kept to, and no chatter.

What a user sets in a Dask configuration file or in DASK_* variables goes before these settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping

import dask
import distributed  # noqa: F401 - its defaults must be there before ours take their place

from teralign.cluster.machine import ENDED_AT, THREADS_VARIABLE, WorkerSize

SETTINGS = {
    "distributed": {
        "scheduler": {
            # as often as a block that raises is tried; the run tries suspects again, alone
            "allowed-failures": 2,
            # a worker whose connection breaks is gone at once; this is for one that hangs with its connection open,
            # and a library that holds Python's lock through a long block must not look like one
            "worker-ttl": "15 minutes",
            # a run gives up sooner, with a message; this is for whoever else uses the scheduler
            "no-workers-timeout": "10 minutes",
            "worker-saturation": 1.0,
        },
        "worker": {
            "preload": ["teralign.cluster.preload"],
            "profile": {"enabled": False},
            # Nothing that could be spilled or waited for is in Dask's hands: a worker that needs more than its share
            # is ended, and its block tried again.
            "memory": {"target": False, "spill": False, "pause": False, "terminate": ENDED_AT},
        },
        "comm": {"timeouts": {"connect": "15s", "tcp": "30s"}},
        "admin": {
            "tick": {"limit": "1h"},
            # what Dask keeps to look back at: thousands of messages and samples, by default
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
        # Dask has freed memory given back at once; a block would fetch it again page by page, a third of its time
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        # the arenas of other threads are pieces of 64 MB, which a block's arrays fill badly and keep
        "MALLOC_ARENA_MAX": "1",
        "DASK_LOGGING__DISTRIBUTED": "critical",
        THREADS_VARIABLE: threads,
    }


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables for a while: child processes get them before they load a library."""
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
    """Keep Dask's own log to what matters; CRITICAL when closing, where it reports every connection that ends."""
    loud = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    for name in ("distributed", "tornado", "asyncio", *loud):
        logging.getLogger(name).setLevel(level)
    # says that a worker was ended because it took too much memory
    logging.getLogger("distributed.nanny.memory").setLevel(min(level, logging.WARNING))
