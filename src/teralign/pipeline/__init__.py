"""The pairs of a pipeline run: samplesheets and parameters read, every volume looked up before anything runs."""

from teralign.pipeline.pairs import read_pairs
from teralign.pipeline.resolved import Image, Pair, StagedTable, StagedVolume

__all__ = ["Image", "Pair", "StagedTable", "StagedVolume", "read_pairs"]
