"""Files of whole maps: a stack of affines and fields as a scene of OME-Zarr 0.6, from fixed to moving points.

    transform.zarr/                               the scene: one transformation, mostly from "fixed" to "moving"
      coordinateTransformations/displacements/    the vectors of the field that is applied first
      coordinateTransformations/displacements2/   those of the next field, if there is one

The transformation is a sequence, in order of application; of a single part, the part itself; of none, the identity.
With a known inverse it is a bijection of both. A file of `invert-transform` leads from "moving" to "fixed".
The scene is written last: a folder without it is unfinished.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from numpy.typing import ArrayLike

from teralign import ome
from teralign.errors import InputError
from teralign.files import writing_folder
from teralign.grids import Grid, Region, Triple
from teralign.ome import transformations
from teralign.ome.transformations import Transformation, VectorField
from teralign.transforms.coordinate_maps import load_coordinate_map
from teralign.transforms.field import DisplacementField
from teralign.transforms.stack import Stack
from teralign.transforms.stored import CHUNK_SHAPE, FieldWriter, StoredField, create_field
from teralign.transforms.stored_interpolated import StoredInterpolatedField
from teralign.transforms.transform import Transform

Ends: TypeAlias = tuple[str, str]
"""The names of the volumes between which a map leads."""
FIXED_TO_MOVING: Ends = ("fixed", "moving")
MOVING_TO_FIXED: Ends = ("moving", "fixed")


def load_map(path: Path) -> Stack:
    """Return the map in a folder, which is a scene or an image of vectors.

    Raises InputError for other folders, and for transformations that are not supported.
    """
    return load_coordinate_map(path).stack()


def map_ends(paths: Sequence[str | Path]) -> Ends:
    """Return the volumes between which a list of files leads: back to the fixed one if all that name them say so."""
    scenes = [ome.read_scene(path) for path in map(Path, paths) if _is_group(path)]
    named = {(link.input.name, link.output.name) for scene in scenes if scene is not None for link in scene.links}
    return MOVING_TO_FIXED if named == {MOVING_TO_FIXED} else FIXED_TO_MOVING


def save_map(path: str | Path, stack: Stack, *, ends: Ends = FIXED_TO_MOVING, overwrite: bool = False) -> Stack:
    """Write a stack of affines and fields as one file; fields are copied into it. Return the map of that file.

    Raises InputError when `path` exists and `overwrite` is off, DataError when the disk refuses.
    """
    with writing_folder(Path(path), overwrite=overwrite) as unfinished:
        finish_map(unfinished, stack, ends=ends)
    return load_map(Path(path))


def finish_map(
    path: Path,
    stack: Stack,
    *,
    inverse: Stack | None = None,
    ends: Ends = FIXED_TO_MOVING,
    images: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Make a folder with fields that have been written the file of the map `stack`, and of its inverse if known.

    Fields that lie elsewhere are copied into it. `images` has the paths of images in the folder, by the names of
    their coordinate systems; an image that is no end of the map lies in the system of the first end. Raises DataError
    when the disk refuses.
    """
    own = {part.image for part in stack.transforms if isinstance(part, StoredField) and part.path == path}
    names = (name for number in itertools.count() if (name := ome.field_image(number)) not in own)
    whole = _written(path, stack, names)
    if inverse is not None:
        whole = transformations.Bijection(whole, _written(path, inverse, names))
    source, target = ends
    first, last = (ome.SystemReference(name, images.get(name)) for name in ends)
    links = [ome.Link(whole, first, last, f"{source} to {target}")]
    for name in sorted(images.keys() - set(ends)):
        beside = ome.SystemReference(name, images[name])
        links.append(ome.Link(transformations.Identity(), beside, first, f"{name} to {source}"))
    systems = tuple(ome.System(name, ome.SPACE) for name in ends if name not in images)
    ome.write_scene(path, ome.OmeScene(tuple(links), systems))


def _written(path: Path, stack: Stack, names: Iterator[str]) -> Transformation:
    """Return a stack as a transformation of the file `path`; fields of others are copied there, under `names`."""
    parts: list[Transformation] = []
    for part in reversed(stack.transforms):
        if part.affine is not None:
            rows = tuple(tuple(row) for row in part.affine.matrix[:3].tolist())
            parts.append(transformations.NumberMatrix("affine", rows))
            continue
        inside = isinstance(part, StoredField) and part.path == path
        if isinstance(part, StoredField) and inside:
            parts.append(transformations.VectorField("displacements", part.image))
        else:
            parts.append(_copied(part, path, next(names)))
    return _whole(parts)


@contextlib.contextmanager
def building_field(
    path: str | Path,
    grid: Grid,
    chunk_shape: Triple = CHUNK_SHAPE,
    *,
    inverse: Stack | None = None,
    ends: Ends = FIXED_TO_MOVING,
    overwrite: bool = False,
) -> Iterator[FieldWriter]:
    """Give a writer of a field, which appears under its name when the block succeeds, else not at all.

    With the `inverse` of the field its file holds both. Raises InputError when `path` exists and `overwrite` is off,
    DataError when the disk refuses.
    """
    with writing_folder(Path(path), overwrite=overwrite) as unfinished:
        writer = create_field(unfinished, grid, chunk_shape)
        yield writer
        finish_map(writer.path, Stack((writer.field,)), inverse=inverse, ends=ends)


def save_field(
    path: str | Path, field: DisplacementField, *, chunk_shape: Triple = CHUNK_SHAPE, overwrite: bool = False
) -> StoredField:
    """Write a whole field that is in memory, as `building_field` does."""
    with building_field(path, field.grid, chunk_shape, overwrite=overwrite) as writer:
        writer.write(field.region, field.values)
    return StoredField.open(path)


def _whole(parts: list[Transformation]) -> Transformation:
    if len(parts) == 1:
        return parts[0]
    return transformations.Sequence(tuple(parts)) if parts else transformations.Identity()


def _is_group(path: Path) -> bool:
    """Return whether a folder is a group of Zarr v3, not an array."""
    return (path / ome.GROUP_FILE).exists() and json.loads((path / ome.GROUP_FILE).read_text())[
        "node_type"
    ] == "group"


def _copied(field: Transform, path: Path, image: str) -> VectorField:
    """Copy a field chunk by chunk to `image`, and return it as a transformation.

    Raises ValueError for what is neither affine nor field on disk or of displacements, InputError for a field of
    coordinates along some axes only.
    """
    if isinstance(field, StoredInterpolatedField):
        kind = field.kind
        if any(kind.absolute) and not all(kind.absolute):
            raise InputError(
                f"the field {field.vectors.path} gives coordinates of some axes only, which {path} cannot hold; make "
                "displacements of it by compose-transforms."
            )
        name = "coordinates" if all(kind.absolute) else "displacements"
        vectors = VectorField(name, image, kind.interpolation.value)
    elif isinstance(field, DisplacementField | StoredField):
        vectors = VectorField("displacements", image)
    else:
        raise ValueError(f"a {type(field).__name__} is no field that can be stored")
    writer = create_field(path, field.grid, image=image, kind=vectors.kind, resume=True)
    for region in field.grid.region.split(writer.chunk_shape):
        writer.write(region, _nodes(field, region))
    return vectors


def _nodes(field: DisplacementField | StoredField | StoredInterpolatedField, region: Region) -> ArrayLike:
    """Return the vectors (z, y, x, 3) in µm of a region of nodes."""
    if isinstance(field, StoredInterpolatedField):
        return field.vectors.read(region)
    return field.read(region).values if isinstance(field, StoredField) else field.values[region.slices]
