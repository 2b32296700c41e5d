"""Volumes made unit by unit: planned, written by tasks on Dask or in this process, with a pyramid and a manifest."""

from teralign.filling.arrays import write_array
from teralign.filling.destinations import Destination, DestinationOptions, NewVolume, choose_destination
from teralign.filling.filling import (
    Filled,
    Filling,
    Part,
    VoxelSource,
    fill_volume,
    make_levels,
    stored_files,
)
from teralign.filling.plan import WRITING, fill, plan_fill

__all__ = [
    "WRITING",
    "Destination",
    "DestinationOptions",
    "Filled",
    "Filling",
    "NewVolume",
    "Part",
    "VoxelSource",
    "choose_destination",
    "fill",
    "fill_volume",
    "make_levels",
    "plan_fill",
    "stored_files",
    "write_array",
]
