"""Start, find, join and stop a Dask scheduler and its workers."""

from teralign.cluster.client import connect
from teralign.cluster.crew import Crew, find_crew
from teralign.cluster.machine import WorkerSize, available_cores, available_memory, fit_workers, worker_threads

__all__ = [
    "Crew",
    "WorkerSize",
    "available_cores",
    "available_memory",
    "connect",
    "find_crew",
    "fit_workers",
    "worker_threads",
]
