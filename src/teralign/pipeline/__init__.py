"""The pairs of a pipeline run: samplesheets and parameters read, every volume looked up before anything runs."""

from teralign.pipeline.pairs import read_pairs
from teralign.pipeline.resolved import Pair, StagedTable, StagedVolume, WarpedImage
from teralign.pipeline.tile_rounds import TileRound, read_stitched_pairs, read_tile_rounds

__all__ = [
    "Pair",
    "StagedTable",
    "StagedVolume",
    "TileRound",
    "WarpedImage",
    "read_pairs",
    "read_stitched_pairs",
    "read_tile_rounds",
]
