"""Transforms: maps from fixed to moving points (zyx, µm), applied to points and images, inverted, bounded, stored."""

from teralign.transforms.affine import Affine
from teralign.transforms.directions import along_axes, in_world, world_affine
from teralign.transforms.field import FIELD_STRIDE, NODE_BYTES, DisplacementField
from teralign.transforms.files import load_stack, load_transform
from teralign.transforms.point_tables import PointTable, check_point_table, read_point_table
from teralign.transforms.sampling import (
    Folding,
    Residual,
    as_field,
    cell_determinants,
    deviation,
    folding,
    inverse_field,
    jacobian_determinants,
    node_positions,
    representation_error,
    round_trip,
    volume_change,
)
from teralign.transforms.scenes import (
    FIXED_TO_MOVING,
    Ends,
    building_field,
    finish_map,
    map_ends,
    save_field,
    save_map,
)
from teralign.transforms.stack import Stack
from teralign.transforms.stored import (
    CHUNK_SHAPE,
    FIELD_CACHE_BYTES,
    FieldWriter,
    StoredField,
    create_field,
)
from teralign.transforms.transform import Transform
from teralign.transforms.warp import cast, needed_region, warp
from teralign.transforms.warped_volume import CACHE_BYTES, Needed, Resampler, WarpedVolume

__all__ = [
    "CACHE_BYTES",
    "CHUNK_SHAPE",
    "FIELD_CACHE_BYTES",
    "FIELD_STRIDE",
    "FIXED_TO_MOVING",
    "NODE_BYTES",
    "Affine",
    "DisplacementField",
    "Ends",
    "FieldWriter",
    "Folding",
    "Needed",
    "PointTable",
    "Resampler",
    "Residual",
    "Stack",
    "StoredField",
    "Transform",
    "WarpedVolume",
    "along_axes",
    "as_field",
    "building_field",
    "cast",
    "cell_determinants",
    "check_point_table",
    "create_field",
    "deviation",
    "finish_map",
    "folding",
    "in_world",
    "inverse_field",
    "jacobian_determinants",
    "load_stack",
    "load_transform",
    "map_ends",
    "needed_region",
    "node_positions",
    "read_point_table",
    "representation_error",
    "round_trip",
    "save_field",
    "save_map",
    "volume_change",
    "warp",
    "world_affine",
]
