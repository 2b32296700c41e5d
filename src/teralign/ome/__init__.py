"""OME-Zarr metadata: images of versions 0.1 to 0.6 and displacement fields of 0.6, read into values and written."""

from teralign.ome.displacements import (
    FIELD_ARRAY,
    FieldLayout,
    read_field_layout,
    write_field_image,
    write_field_scene,
)
from teralign.ome.model import Axis, Channel, Level, Multiscale, Step
from teralign.ome.reading import read_multiscale
from teralign.ome.writing import GROUP_FILE, image_attributes, with_levels, with_windows, write_group

__all__ = [
    "FIELD_ARRAY",
    "GROUP_FILE",
    "Axis",
    "Channel",
    "FieldLayout",
    "Level",
    "Multiscale",
    "Step",
    "image_attributes",
    "read_field_layout",
    "read_multiscale",
    "with_levels",
    "with_windows",
    "write_field_image",
    "write_field_scene",
    "write_group",
]
