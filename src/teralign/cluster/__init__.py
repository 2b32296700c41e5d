"""Start, find, join and stop a Dask scheduler and its workers."""

from teralign.cluster.capacity import Capacity
from teralign.cluster.compute import Compute
from teralign.cluster.machine import (
    ENDED_AT,
    GB,
    WorkerSize,
    available_cores,
    available_memory,
    fit_workers,
    worker_threads,
)

__all__ = [
    "ENDED_AT",
    "GB",
    "Capacity",
    "Compute",
    "WorkerSize",
    "available_cores",
    "available_memory",
    "fit_workers",
    "worker_threads",
]
