"""The number of a scheduler's own workers, as its clients learn it.

The process that runs a scheduler starts each of its own workers again when it dies. Such a worker is on its way even
while the scheduler lists none, unlike a worker elsewhere, which may have left for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client, Scheduler

_METADATA: list[Key] = ["teralign", "own-workers"]
_METADATA_SECONDS = 10.0


def announce_own_workers(scheduler: Scheduler, count: int) -> None:
    """Let clients of a scheduler know how many workers its process runs."""
    scheduler.set_metadata(keys=_METADATA, value=count)


def count_own_workers(client: Client) -> int:
    """Return how many workers the process of the client's scheduler runs; 0 for a scheduler that is not ours."""
    scheduler = client.scheduler
    if scheduler is None:
        return 0
    try:
        return int(client.sync(scheduler.get_metadata, keys=_METADATA, default=0, callback_timeout=_METADATA_SECONDS))
    except (OSError, TimeoutError):
        return 0
