"""The pairs of a pipeline run: samplesheets and parameters read, every volume looked up before anything runs."""

from teralign.pipeline.pairs import read_pairs
from teralign.pipeline.resolved import Image, Pair, PointTable, StagedVolume

__all__ = ["Image", "Pair", "PointTable", "StagedVolume", "read_pairs"]
