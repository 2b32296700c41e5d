"""Stopping the cluster of a directory."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from teralign.cluster import rendezvous, settings
from teralign.cluster.rendezvous import SchedulerInfo, answers
from teralign.errors import ClusterError

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


def stop_cluster(directory: Path, *, wait: float = 30.0) -> None:
    """Tell scheduler, workers and command of `directory` to end, and return when the scheduler has ended.

    Raises ClusterError when there is no scheduler, or when it still runs after `wait` seconds.
    """
    settings.quieten(logging.CRITICAL)
    found = rendezvous.read(directory)
    if found is None:
        raise ClusterError(f"There is nothing to stop in {directory}: it has no {rendezvous.SCHEDULER_FILE}.")
    rendezvous.end(directory)
    asyncio.run(_until_gone(directory, found, wait))


async def _until_gone(directory: Path, found: SchedulerInfo, wait: float) -> None:
    end = time.monotonic() + wait
    while await answers(found):
        if time.monotonic() > end:
            raise ClusterError(
                f"The scheduler at {found.address} was asked to stop, but still runs after {wait:g} s: "
                f"end process {found.pid} on {found.host}."
            )
        await asyncio.sleep(_POLL_SECONDS)
    log.info("The scheduler at %s has ended", found.address)
    if rendezvous.read(directory) == found:  # it was killed before it could remove its file
        rendezvous.withdraw(directory)
