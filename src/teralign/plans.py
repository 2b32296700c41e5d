"""Plans: the blocks, bytes, memory and time of a command, before it runs.

Bytes are counted before compression. Time is the measured CPU time per voxel, divided by the cores: it is accurate if
reading and writing keep up with the cores.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from teralign.cluster import ENDED_AT, GB, Capacity
from teralign.cluster.useful_workers import tell_useful_workers
from teralign.errors import InputError
from teralign.progress import counted, readable_time

log = logging.getLogger(__name__)

WORKER_BYTES = (200 + 64) << 20
"""Memory of a worker with its libraries, and of decoded chunks of images; measured."""

START_SECONDS = 4.0
"""Time to start and to end workers: apply-transform of 256³ voxels on two."""

SAMPLED, CHECKED = 200, 16
"""Blocks that a plan looks at: to estimate the sum over all blocks, and to see whether workers are large enough."""


@dataclass(frozen=True)
class Plan:
    """The work of a command, as `--dry-run` prints it.

    `blocks` counts the blocks of each stage; `largest_block` names the one that takes the most memory, and its stage.
    """

    dry_run: bool = field(default=True, init=False)
    output: str
    blocks: Mapping[str, int]
    read_bytes: int
    write_bytes: int
    worker_memory_bytes: int
    estimated_seconds: int
    largest_block: str = ""

    def checked(self, capacity: Capacity, hint: str = "") -> Plan:
        """Log the plan, tell who starts workers how many it can use, and return it.

        `hint` names the option that makes blocks smaller, for the error; empty if there is none. Raises InputError
        when a block is too large for a worker of `capacity`.
        """
        needed = self.worker_memory_bytes
        if capacity.memory and needed > ENDED_AT * capacity.memory:
            wanted = f"{hint}, or larger workers" if hint else "larger workers"
            raise InputError(
                f"a block ({self.largest_block}) takes up to {needed / GB:.2f} GB of memory, but a worker has "
                f"{capacity.memory / GB:.2f} GB and is ended at {ENDED_AT:.0%} of that; give {wanted} "
                "(--worker-mem-gb)."
            )
        log.info(
            "%s of up to %.2f GB of memory, about %s on %s",
            counted(sum(self.blocks.values()), "block"),
            needed / GB,
            readable_time(self.estimated_seconds),
            capacity,
        )
        tell_useful_workers(self.useful_workers)
        return self

    @property
    def useful_workers(self) -> int:
        """The number of workers that the stage with the most blocks can keep busy."""
        return max(self.blocks.values(), default=0)
