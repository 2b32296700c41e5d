"""Blocks computed by Dask workers, each with a record and a file of its result, so that a pass can be continued."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from teralign.blockwise import BlockRecord, Workspace, WriteUnit, WriteUnits, run_blocks
from teralign.files import write_atomically
from teralign.grids import Region

if TYPE_CHECKING:
    from distributed import Client

R = TypeVar("R")
_SUFFIX = ".pickle"


@dataclass(frozen=True)
class OnWorkers:
    """Blocks are computed by the workers of `client`, which write their results into `workspace`."""

    client: Client
    workspace: Workspace
    threads: int = 1

    def __call__(self, function: Callable[[Region], R], blocks: WriteUnits, stage: str) -> Iterator[R]:
        """Yield the function of each block's voxels, in the order of the blocks, once all are computed.

        Raises DataError or AlignmentError when a block fails, ClusterError when the cluster is lost.
        """
        keeper = _Keeper(function, self.workspace, stage)
        run_blocks(keeper, blocks, client=self.client, workspace=self.workspace, stage=stage)
        for block in blocks:
            path = self.workspace.payload(stage, block.name, _SUFFIX)
            yield cast("R", pickle.loads(path.read_bytes()))


@dataclass(frozen=True)
class _Keeper(Generic[R]):
    """Keeps the result of any block in a file; picklable by cloudpickle."""

    function: Callable[[Region], R]
    workspace: Workspace
    stage: str

    def __call__(self, block: WriteUnit) -> BlockRecord:
        found = pickle.dumps(self.function(block.core), protocol=pickle.HIGHEST_PROTOCOL)
        write_atomically(self.workspace.payload(self.stage, block.name, _SUFFIX), found)
        return BlockRecord()
