"""Displacement fields on disk, as OME-Zarr 0.6 has them.

    transform.zarr/                               a scene, see `scenes`
      coordinateTransformations/displacements/    a multiscale image of one level, axes c, z, y, x
        s0/                                       float32 (3, z, y, x), chunked, with a checksum for each chunk

Component i is the displacement along the i-th spatial axis, in µm. Scale and translation of the level give the grid
of the nodes. Unwritten nodes are NaN, an error.

Fields with the vector axis last, and groups that are an image of vectors without a scene, are read too; `bigstream`
opens bare arrays.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorstore
from numpy.typing import ArrayLike, NDArray

from teralign import ome
from teralign.addresses import reason
from teralign.errors import DataError, InputError
from teralign.files import file_store
from teralign.grids import Floats, Grid, Region, Triple
from teralign.transforms.field import DisplacementField
from teralign.transforms.tiles import inverse_in_tiles, map_in_tiles, nodes_around
from teralign.volumes.arrays import check_chunk_size
from teralign.volumes.blosc import BloscChunks

TensorStore: TypeAlias = Any  # tensorstore has no types
CHUNK_SHAPE: Triple = (64, 64, 64)
_METADATA = {
    "zarr3": ome.GROUP_FILE,
    "zarr": ".zarray",
    "n5": "attributes.json",
}  # by tensorstore's name of the format
FIELD_CACHE_BYTES = 96 << 20  # two rows of chunks of a field for a volume of 2000 voxels


@functools.cache
def field_context() -> TensorStore:
    """Return the context that all fields of this process share: neighbouring regions find their chunks decoded."""
    return tensorstore.Context(
        {
            "data_copy_concurrency": {"limit": 1},
            "file_io_concurrency": {"limit": 4},
            "cache_pool": {"total_bytes_limit": FIELD_CACHE_BYTES},
        }
    )


class StoredNodes(NamedTuple):
    """The array of a field, its axes in any order, and its chunks that need a look before they are read."""

    array: TensorStore
    blosc: BloscChunks | None


def open_nodes(driver: str, array: Path, name: Path, region: Region) -> StoredNodes:
    """Open the array of the field `name`. Raises DataError when that fails, InputError for unreadable chunks."""
    with store_errors(f"the field {name} cannot be read", region):
        spec = {"driver": driver, "kvstore": file_store(array)}
        store = tensorstore.open(spec, open=True, read=True, context=field_context()).result()
    check_chunk_size(store, name)
    return StoredNodes(store, BloscChunks.of(store, name))


def read_nodes(nodes: StoredNodes, index: tuple[slice, ...], name: Path, region: Region) -> NDArray[Any]:
    """Read the part `index` of the array of the field `name`. Raises DataError when it cannot be read."""
    with store_errors(f"the field {name} cannot be read", region):
        view = nodes.array[index]
        if nodes.blosc is not None:
            nodes.blosc.check(view)
        values: NDArray[Any] = view.read(order="C").result()
    return values


@dataclass(frozen=True)
class StoredField:
    """A displacement field on disk; its nodes are read when they are needed. Picklable."""

    path: Path
    grid: Grid
    array_path: Path
    vector_axis: int  # of the stored array, its axes in the order of C
    driver: str = "zarr3"
    image: str = ""  # the group of the array in a file of several

    @classmethod
    def open(cls, path: str | Path, image: str = ome.field_image()) -> StoredField:
        """Open a field: the vectors of `image` in the file `path`. Raises InputError when there are none."""
        path = Path(path)
        layout = ome.read_field_layout(path, image)
        return cls(path, layout.grid, layout.array, layout.vector_axis, image=image)

    @property
    def affine(self) -> None:
        """None: a field is no affine."""
        return None

    @property
    def loaded(self) -> None:
        """None: the field is on disk."""
        return None

    def load(self, low: ArrayLike, high: ArrayLike) -> DisplacementField:
        """Return the field for points of the box from `low` to `high` (µm), reading only the nodes that they need.

        Raises DataError when nodes are missing or cannot be read.
        """
        return self.read(nodes_around(self.grid, low, high))

    def read(self, region: Region | None = None) -> DisplacementField:
        """Read the nodes of `region`, by default all. Raises DataError when they are missing or cannot be read."""
        region = region or self.grid.region
        values = read_nodes(self._store, region.slices, self.path, region)
        if not np.isfinite(values).all():
            raise DataError(
                f"the field {self.path} has missing nodes in {region.start} to {region.stop} (zyx): it is "
                "unfinished; make it again."
            )
        return DisplacementField(values, self.grid, region)

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm; the field is read around them, tile by tile."""
        return map_in_tiles(self, points, threads=threads)

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points whose images are `points` (n, 3), and a mask (n,) of those found to 1e-6 of a spacing."""
        given = np.asarray(points, dtype=np.float64)
        return inverse_in_tiles(self, given, given, threads=threads)

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of a box (µm)."""
        return self.load(low, high).bounds(low, high)

    def digest(self) -> str:
        """Return a cheap fingerprint of the stored field: its path, its metadata, and their times."""
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for file in (self.path / _METADATA[self.driver], self.array_path / _METADATA[self.driver]):
            digest.update(file.read_bytes())
            digest.update(str(file.stat().st_mtime_ns).encode())
        return digest.hexdigest()

    @functools.cached_property
    def _store(self) -> StoredNodes:
        """The array, with axes in the order (z, y, x, c)."""
        nodes = open_nodes(self.driver, self.array_path, self.path, self.grid.region)
        store = nodes.array.transpose([3, 2, 1, 0]) if self.driver == "n5" else nodes.array
        spatial = [axis for axis in range(4) if axis != self.vector_axis]
        return nodes._replace(array=store.transpose([*spatial, self.vector_axis]))

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the open array, which cannot be sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_store"}


@dataclass(frozen=True)
class FieldWriter:
    """A field that is being written; several processes may write whole chunks at the same time. Picklable."""

    path: Path
    image: str
    grid: Grid
    chunk_shape: Triple

    def write(self, region: Region, values: ArrayLike) -> None:
        """Store the (z, y, x, 3) displacements in µm of the nodes `region`.

        Regions of concurrent writers must not share a chunk: cut them with `grid.region.split(chunk_shape)`. Raises
        DataError when the disk refuses, ValueError for displacements that are NaN or infinite.
        """
        vectors = np.moveaxis(np.asarray(values, dtype=np.float32), -1, 0)
        if not np.isfinite(vectors).all():
            raise ValueError(f"displacements of nodes {region.start} to {region.stop} are NaN or infinite")
        with store_errors(f"the field {self.path} cannot be written", region):
            self._store[(slice(None), *region.slices)].write(vectors).result()

    @property
    def field(self) -> StoredField:
        """The field, as far as it has been written."""
        return StoredField.open(self.path, self.image)

    @functools.cached_property
    def _store(self) -> TensorStore:
        with store_errors(f"the field {self.path} cannot be written", self.grid.region):
            return tensorstore.open(
                _spec(self.path / self.image / ome.FIELD_LEVEL), open=True, write=True, context=field_context()
            ).result()

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the open array, which cannot be sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_store"}


def create_field(
    path: str | Path,
    grid: Grid,
    chunk_shape: Triple = CHUNK_SHAPE,
    *,
    image: str = ome.field_image(),
    kind: str = "displacements",
    resume: bool = False,
) -> FieldWriter:
    """Create a field on the nodes of `grid` as `image` in the file `path`, which `scenes.finish_map` completes.

    `kind` is the type of its transformation: its vectors are displacements or coordinates.
    With `resume`, an unfinished field of the same grid and chunks is continued. Raises InputError when `path` holds
    anything else, or cannot be written.
    """
    path = Path(path)
    chunk_shape = _fitting(chunk_shape, grid)
    if path.exists() and not resume:
        raise InputError(f"{path} exists already; choose another name, or remove it.")
    try:
        ome.write_field_image(path, image, grid, kind)
        array = _creation(path / image / ome.FIELD_LEVEL, grid, chunk_shape)
        tensorstore.open(array, create=True, open=True, context=field_context()).result()
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"the field {path} cannot be created: {reason(error)}.") from error
    return FieldWriter(path, image, grid, chunk_shape)


def _fitting(chunk_shape: Triple, grid: Grid) -> Triple:
    z, y, x = (min(c, n) for c, n in zip(chunk_shape, grid.shape, strict=True))
    return z, y, x


def _spec(path: Path) -> dict[str, object]:
    return {"driver": "zarr3", "kvstore": file_store(path)}


def _creation(path: Path, grid: Grid, chunk_shape: Triple) -> dict[str, object]:
    """Return the specification of tensorstore for a new array of vectors, in Zarr v3 with checksums."""
    return {
        **_spec(path),
        "metadata": {
            "shape": [3, *grid.shape],
            "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, *chunk_shape]}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {
                    "name": "blosc",
                    "configuration": {
                        "cname": "zstd",
                        "clevel": 3,
                        "shuffle": "shuffle",
                        "typesize": 4,
                        "blocksize": 0,
                    },
                },
                {"name": "crc32c"},
            ],
            "fill_value": "NaN",
            "dimension_names": ["c", "z", "y", "x"],
        },
    }


@contextlib.contextmanager
def store_errors(what: str, region: Region) -> Iterator[None]:
    """Raise DataError, which says `what` failed in which nodes, where tensorstore fails."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        raise DataError(f"{what} in {region.start} to {region.stop} (zyx): {reason(error)}.") from error
