"""The pairs of a pipeline run: samplesheets and parameters read, every volume looked up before anything runs."""

from teralign.pipeline.pairs import read_pairs
from teralign.pipeline.resolved import Pair, StagedTable, StagedVolume, WarpedImage

__all__ = ["Pair", "StagedTable", "StagedVolume", "WarpedImage", "read_pairs"]
