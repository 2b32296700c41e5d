"""Volumes on disk: open, create, read and write regions by URI, whatever the format; pyramids."""

from teralign.volumes.additions import Addition
from teralign.volumes.arrays import StoredArray, create_array
from teralign.volumes.audit import Finding, audit_volume
from teralign.volumes.container_index import find_images, write_index
from teralign.volumes.description import DisplaySettings, Pixels, PyramidLayout, Voxels
from teralign.volumes.extension import Extension
from teralign.volumes.indices import check_channel, check_timepoint
from teralign.volumes.levels import coarser_levels, scale_ratio, stored_levels
from teralign.volumes.manifest import StoredFile
from teralign.volumes.one_file import is_one_file, pieces, write_file
from teralign.volumes.orientation import Direction, Directions, agree, compare_orientations
from teralign.volumes.outputs import (
    DEFAULT_CHUNKING,
    Chunking,
    LayoutOptions,
    batch_shape,
    check_output,
    locate_output,
    plan_output,
    plan_volume,
    with_directions,
)
from teralign.volumes.overview import Overview, OverviewSize, read_overview
from teralign.volumes.pyramid import plan_levels
from teralign.volumes.slots import Slot, unfinished_slots
from teralign.volumes.storage import Storage, storage
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume, check_inside, label_images, open_level, open_tile, open_volume
from teralign.volumes.windows import window_of
from teralign.volumes.writer import VolumeWriter, create_planned, create_volume

__all__ = [
    "DEFAULT_CHUNKING",
    "Addition",
    "Chunking",
    "Direction",
    "Directions",
    "DisplaySettings",
    "Extension",
    "Finding",
    "LayoutOptions",
    "Overview",
    "OverviewSize",
    "Pixels",
    "PyramidLayout",
    "Slot",
    "Storage",
    "StoredArray",
    "StoredFile",
    "Volume",
    "VolumeWriter",
    "Voxels",
    "agree",
    "audit_volume",
    "batch_shape",
    "check_channel",
    "check_inside",
    "check_output",
    "check_timepoint",
    "coarser_levels",
    "compare_orientations",
    "create_array",
    "create_planned",
    "create_volume",
    "find_images",
    "is_one_file",
    "label_images",
    "locate_output",
    "open_level",
    "open_tile",
    "open_volume",
    "pieces",
    "plan_levels",
    "plan_output",
    "plan_volume",
    "read_overview",
    "scale_ratio",
    "split_uri",
    "storage",
    "stored_levels",
    "unfinished_slots",
    "window_of",
    "with_directions",
    "write_file",
    "write_index",
]
