"""Cores, memory, GPU, open files and the network of this machine, within the limits of a container or batch job."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Iterator

import psutil

from teralign.cluster.machine import GB, available_cores, available_memory, fit_workers
from teralign.doctor.observation import Observation, Standing
from teralign.doctor.running import output_of
from teralign.progress import counted

_LEAST_MEMORY = 2 * GB
_COMFORTABLE_MEMORY = 8 * GB
_LEAST_FILES = 1024


def machine_checks() -> Iterator[Observation]:
    """Yield the checks of cores, memory, GPU, open files and the network."""
    yield _cores()
    yield _memory()
    yield _gpu()
    yield _open_files()
    yield _loopback()


def _cores() -> Observation:
    usable, all_cores = available_cores(), os.cpu_count() or 1
    found = f"{counted(usable, 'core')} of {all_cores}"
    if usable < all_cores:
        found += ", as this container, batch job or affinity allows"
    return Observation("cores", Standing.OK, found)


def _memory() -> Observation:
    free, total = available_memory(), psutil.virtual_memory().total
    workers, size = fit_workers()
    found = f"{free / GB:.1f} GB free of {total / GB:.1f} GB; commands start {counted(workers, 'worker')} ({size})"
    if free < _LEAST_MEMORY:
        advice = "end other programs, or ask the scheduler or container for more; 8 GB is a good start."
        return Observation("memory", Standing.NOTE, found, advice=advice)
    if free < _COMFORTABLE_MEMORY:
        return Observation(
            "memory", Standing.NOTE, found, advice="use smaller blocks (--block-size 96) if a command asks for more."
        )
    return Observation("memory", Standing.OK, found)


def _gpu() -> Observation:
    if shutil.which("nvidia-smi"):
        names = output_of(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
        if names:
            return Observation(
                "GPU", Standing.OK, f"{', '.join(names.splitlines())}; Teralign computes on cores and ignores it"
            )
    return Observation("GPU", Standing.OK, "none; Teralign computes on cores and needs none")


def _open_files() -> Observation:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = "no limit" if soft == resource.RLIM_INFINITY else f"up to {soft}"
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FILES:
        wanted = min(hard, 4096) if hard > 0 else 4096
        advice = f"run ulimit -n {wanted} first: a scheduler holds a file for each connection."
        return Observation("open files", Standing.NOTE, words, advice=advice)
    return Observation("open files", Standing.OK, words)


def _loopback() -> Observation:
    try:
        with socket.socket() as listening, socket.socket() as calling:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            calling.settimeout(3)
            calling.connect(listening.getsockname())
    except OSError as error:
        advice = "allow connections to 127.0.0.1: commands talk to their workers there."
        return Observation(
            "network", Standing.MISSING, f"127.0.0.1 cannot be reached: {error.strerror or error}", advice=advice
        )
    return Observation("network", Standing.OK, f"127.0.0.1 can be reached; this machine is {socket.gethostname()}")
