"""Why the workers of a block died, as far as it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client
    from distributed.scheduler import KilledWorker


def reason_of(client: Client, killed: KilledWorker) -> str:
    """Return why the workers of a block died, as far as the last one's nanny has reported it."""
    worker = killed.last_worker
    try:
        restarts = client.get_events("worker-restart-memory")
    except (OSError, TimeoutError):
        restarts = ()
    taken = [event["rss"] for _, event in restarts if event["worker"] == worker.address]
    if taken and worker.memory_limit:
        return (
            f"it took {taken[-1] / 1e9:.2f} GB of memory, but a worker has {worker.memory_limit / 1e9:.2f} GB; "
            "give larger workers (--worker-mem-gb), or make blocks smaller"
        )
    return (
        f"each of the {killed.allowed_failures + 1} workers that ran it died: a crash, or killed, as for memory that "
        "the job or the machine did not have (--worker-mem-gb)"
    )
