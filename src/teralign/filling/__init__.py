"""Volumes made unit by unit: planned, written by tasks on Dask or in this process, with a pyramid and a manifest."""

from teralign.filling.fill import Part, VoxelSource, building, fill_volume, make_levels, stored_files
from teralign.filling.plan import WRITING, PlannedSource, fill_or_plan, plan_fill

__all__ = [
    "WRITING",
    "Part",
    "PlannedSource",
    "VoxelSource",
    "building",
    "fill_or_plan",
    "fill_volume",
    "make_levels",
    "plan_fill",
    "stored_files",
]
