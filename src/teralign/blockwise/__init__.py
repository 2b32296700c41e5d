"""Plan, run and resume any function over the blocks of a grid on Dask, independent of registration."""

from teralign.blockwise.plan import Block, BlockPlan, block_index, block_name, plan_blocks
from teralign.blockwise.records import BlockRecord, BlockState
from teralign.blockwise.run import RunSummary, run_blocks
from teralign.blockwise.units import WriteUnit, WriteUnits
from teralign.blockwise.workspace import Workspace

__all__ = [
    "Block",
    "BlockPlan",
    "BlockRecord",
    "BlockState",
    "RunSummary",
    "Workspace",
    "WriteUnit",
    "WriteUnits",
    "block_index",
    "block_name",
    "plan_blocks",
    "run_blocks",
]
