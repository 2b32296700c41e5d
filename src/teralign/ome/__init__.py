"""OME-Zarr metadata as values: images of versions 0.1 to 0.6, and the scenes, transformations and fields of 0.6."""

from teralign.ome.displacements import (
    FIELD_LEVEL,
    SPACE,
    FieldLayout,
    field_image,
    read_field_layout,
    write_field_image,
)
from teralign.ome.model import Axis, Channel, Level, Multiscale, Step
from teralign.ome.reading import path_inside, read_multiscale
from teralign.ome.scene import Link, OmeScene, System, SystemReference, read_scene, write_scene
from teralign.ome.writing import (
    GROUP_FILE,
    image_attributes,
    label_list,
    with_label,
    with_label_source,
    with_levels,
    with_series,
    with_windows,
    write_group,
)

__all__ = [
    "FIELD_LEVEL",
    "GROUP_FILE",
    "SPACE",
    "Axis",
    "Channel",
    "FieldLayout",
    "Level",
    "Link",
    "Multiscale",
    "OmeScene",
    "Step",
    "System",
    "SystemReference",
    "field_image",
    "image_attributes",
    "label_list",
    "path_inside",
    "read_field_layout",
    "read_multiscale",
    "read_scene",
    "with_label",
    "with_label_source",
    "with_levels",
    "with_series",
    "with_windows",
    "write_field_image",
    "write_group",
    "write_scene",
]
