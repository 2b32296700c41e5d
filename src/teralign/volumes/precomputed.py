"""Neuroglancer precomputed: folders with a file `info`; each scale is a dataset, named by its key.

In this format voxel i begins at (voxel_offset + i) · resolution. Here a voxel's position is its
centre, counted from the centre of voxel 0 of the finest scale, as in the other formats.
https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed

tensorstore reads the chunks, in shards or one file each. Of single files it knows only the names that servers show.
On a disk cloud-volume appends .gz, .br or .zstd to the names, and neuroglancer-scripts puts chunks into folders; some
of these are copied to servers as they are. tensorstore would take such chunks for missing ones, which are zeros. So
they are handed to it through memory.

Chunks are written raw, one file each, under the names that servers and tensorstore know. A scale begins at a whole
voxel of its own (`voxel_offset`), so that an origin between voxels is moved to the nearest one.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.addresses import Place
from teralign.errors import DataError, InputError
from teralign.grids import Floats, FloatTriple, Region, Triple, as_triple, reverse_axes
from teralign.volumes.arrays import (
    StoredArray,
    create_scale,
    open_array,
    open_in_memory,
    read_view,
    spatial_chunks,
)
from teralign.volumes.description import Description, Pixels, PyramidLayout, Voxels
from teralign.volumes.files import read_json
from teralign.volumes.json_values import Metadata
from teralign.volumes.uri import nearest_name

log = logging.getLogger(__name__)

_INFO = "info"
_DRIVER = "neuroglancer_precomputed"
_AXES = "xyzc"
_NANOMETRES = 1000.0
_SIDE = r"-?\d+--?\d+"
_CHUNK = re.compile(rf"{_SIDE}_{_SIDE}_{_SIDE}(\.\w+)?")
_NESTED = "/"
_STORED = ("", ".gz", ".br", ".zstd")  # endings of the names of chunks, by their compression
_DTYPES = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32"}
_TABLES = 1 << 20  # bytes that an encoding may add to small chunks
_GZIP = 31  # to zlib: a window of 32 kB, with gzip's header
_VISIBLE = 1e-3  # voxels by which an origin may be moved without a warning


def describe(container: Place, dataset: str) -> Description:
    """Describe the scale with the key `dataset`, the finest if none is named."""
    info, scale = _find(container, dataset)
    key = str(scale["key"])
    spacing, origin = _geometry(container, scale, info["scales"][0])  # first, as tensorstore refuses these obscurely
    array = open_array(_DRIVER, container, key)
    size = dict(zip(_AXES, array.shape, strict=True))
    stored = StoredArray(_DRIVER, (container,), _AXES, key)
    return Description(
        pixels=Shards(stored) if scale.get("sharding") else _chunk_files(container, info, scale) or stored,
        shape=(size["z"], size["y"], size["x"]),
        dtype=np.dtype(array.dtype.numpy_dtype),
        chunk_shape=spatial_chunks(array, _AXES),
        spacing=spacing,
        origin=origin,
        channels=size["c"],
        files=(container / _INFO,),
        scales=tuple(str(other["key"]) for other in info["scales"] if other is not scale),
    )


def _find(container: Place, dataset: str) -> tuple[Metadata, Metadata]:
    """Return the content of `info`, and its part about a scale."""
    if isinstance(container, Path) and not container.is_dir():
        raise InputError(f"there is no {container}; check the path.")
    info = read_json(container / _INFO)
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales or not all(isinstance(s, dict) and "key" in s for s in scales):
        raise InputError(f"{container / _INFO} declares no scales; it is not that of a precomputed volume.")
    by_key = {str(scale["key"]): scale for scale in scales}
    outside = next((key for key in by_key if key.startswith("/") or ".." in key.split("/")), None)
    if outside is not None:
        raise InputError(
            f"{container / _INFO} has the scale {outside}, which does not lie in its folder; copy it there."
        )
    if dataset and dataset not in by_key:
        raise InputError(f"{container} has no scale {dataset}; {nearest_name(dataset, by_key)}.")
    return info, by_key[dataset] if dataset else scales[0]


def _geometry(container: Place, scale: Metadata, finest: Metadata) -> tuple[FloatTriple, FloatTriple]:
    """Return spacing and origin (z, y, x) of a scale in µm."""
    try:
        own, fine = (np.array(s["resolution"], dtype=float).reshape(3) for s in (scale, finest))
        offset = np.array(scale.get("voxel_offset", (0, 0, 0)), dtype=float).reshape(3)
        if np.isnan([*own, *fine, *offset]).any():
            raise ValueError("null in place of a number")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{container / _INFO} has a scale without three numbers for its resolution or voxel_offset; repair it."
        ) from error
    with np.errstate(invalid="ignore"):
        placed = (offset * own + (own - fine) / 2) / _NANOMETRES
    origin = np.where(np.isfinite(own) & (own > 0), placed, offset)  # voxels where their size is unknown
    (sx, sy, sz), (ox, oy, oz) = own / _NANOMETRES, origin
    return (float(sz), float(sy), float(sx)), (float(oz), float(oy), float(ox))


@dataclass(frozen=True)
class Shards:
    """The voxels of a scale whose chunks lie in shards, which only tensorstore can find."""

    array: StoredArray

    @property
    def places(self) -> tuple[Place, ...]:
        """The folder of the shards."""
        return self.array.places

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """The (z, y, x) voxels of `region`. Raises DataError when they cannot be read."""
        return self.array.read(region, channel, timepoint)


def _chunk_files(container: Place, info: Metadata, scale: Metadata) -> Pixels | None:
    """Return a reader of the chunks of a scale if some are not stored as tensorstore expects, else None.

    Raises InputError if their compression is unknown, or their folder is missing.
    """
    chunk = scale["chunk_sizes"][0]
    alone = json.dumps({**info, "scales": [{**scale, "chunk_sizes": [chunk]}]})
    offset = scale.get("voxel_offset", (0, 0, 0))
    first, size, step = (as_triple(reverse_axes(values)) for values in (offset, scale["size"], chunk))
    voxels = math.prod(chunk) * int(info["num_channels"])
    limit = 2 * voxels * np.dtype(str(info["data_type"])).itemsize + _TABLES
    files = CompressedChunks(container, str(scale["key"]), alone, first, size, step, limit)
    usual = _has_usual_names(container, scale) if isinstance(container, Path) else files.have_usual_names()
    return None if usual else files


def _has_usual_names(container: Path, scale: Metadata) -> bool:
    """Return whether all chunks of a scale on a disk are named as on servers. Raises as `_chunk_files` does."""
    folder = container / str(scale["key"])
    if not folder.is_dir():
        raise InputError(f"{container / _INFO} declares the scale {scale['key']}, but its folder is missing.")
    endings = set(_endings(folder))
    unknown = sorted(endings - {*_STORED, _NESTED})
    if unknown:
        raise InputError(
            f"{folder} has chunks that end in {unknown[0]}; only those without an ending, .gz, .br and .zstd are "
            "read."
        )
    return endings <= {""}


def _endings(folder: Path) -> Iterator[str]:
    """Yield the endings of the names of chunks, and `_NESTED` for chunks in folders, of which one is looked at."""
    nested = None
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _CHUNK.fullmatch(entry.name)
            if match:
                yield match[1] or ""
            elif re.fullmatch(_SIDE, entry.name):
                nested = nested or entry.path
    if nested is not None:
        yield _NESTED
        yield from itertools.islice((path.suffix for path in Path(nested).glob("*/*")), 1)


@dataclass(frozen=True)
class CompressedChunks:
    """A scale with a file for each chunk, compressed or not, in one folder or nested ones.

    `info` is that of this scale alone; `offset`, `size` and `chunk` are in voxels, (z, y, x). `limit` is the most
    bytes to which a file may expand.
    """

    container: Place
    key: str
    info: str
    offset: Triple
    size: Triple
    chunk: Triple
    limit: int

    @property
    def places(self) -> tuple[Place, ...]:
        """The folder of the chunks."""
        return (self.container / self.key,)

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """The (z, y, x) voxels of `region`: 0 where there is no chunk. Raises DataError when they cannot be read."""
        contents = {_INFO: self.info.encode()}
        for sides in self._chunks(region):
            content = self._content(sides)
            if content is not None:
                contents[f"{self.key}/{'_'.join(sides)}"] = content
        name = self.container / self.key
        return read_view(open_in_memory(_DRIVER, contents, self.key, name), _AXES, region, channel, timepoint, name)

    def have_usual_names(self) -> bool:
        """Return whether the first, the middle and the last chunk have the names that tensorstore expects.

        This check is for places where folders cannot be listed. Raises OSError when it fails.
        """
        for voxel in ((0, 0, 0), as_triple(n // 2 for n in self.size), as_triple(n - 1 for n in self.size)):
            sides = next(self._chunks(Region(voxel, as_triple(v + 1 for v in voxel))))
            if next((number for number, (place, _) in enumerate(self._places(sides)) if place.exists()), 0):
                return False
        return True

    def _chunks(self, region: Region) -> Iterator[tuple[str, ...]]:
        """Yield the parts x, y, z of the names of the chunks in a region."""
        sides = []
        for start, stop, offset, size, chunk in zip(
            region.start, region.stop, self.offset, self.size, self.chunk, strict=True
        ):
            begins = range(start // chunk * chunk, stop, chunk)
            sides.append([f"{offset + begin}-{offset + min(begin + chunk, size)}" for begin in begins])
        yield from itertools.product(*reversed(sides))

    def _places(self, sides: tuple[str, ...]) -> Iterator[tuple[Place, str]]:
        """Yield the possible places of a chunk and the endings of its name, first those that tensorstore expects."""
        for joint, ending in itertools.product("_/", _STORED):
            yield self.container / self.key / f"{joint.join(sides)}{ending}", ending

    def _content(self, sides: tuple[str, ...]) -> bytes | None:
        """Return the decompressed chunk, None if there is none."""
        for path, ending in self._places(sides):
            try:
                return _decompressed(path.read_bytes(), ending, self.limit)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, EOFError, zlib.error, RuntimeError) as error:
                raise DataError(f"{path} cannot be read: {error}.") from error
        return None


def _decompressed(content: bytes, ending: str, limit: int) -> bytes:
    """Return the content of a file whose name has this ending, decompressed.

    Raises OSError, EOFError, zlib.error or RuntimeError if it is damaged, or expands to more than `limit` bytes.
    """
    if ending == "":
        return content
    if ending == ".gz":
        return _unzipped(content, limit)
    import imagecodecs  # takes a second

    return bytes((imagecodecs.brotli_decode if ending == ".br" else imagecodecs.zstd_decode)(content, out=limit))


def _unzipped(content: bytes, limit: int) -> bytes:
    found = bytearray()
    while content:  # a file may have several members
        member = zlib.decompressobj(_GZIP)
        found += member.decompress(content, limit + 1 - len(found))
        if len(found) > limit:
            raise EOFError(f"it expands to more than the {limit} bytes that its voxels take at most")
        if not member.eof:
            raise EOFError("it was cut off")
        content = member.unused_data.lstrip(b"\0")
    return bytes(found)


def check_layout(uri: str | Path, layout: PyramidLayout) -> None:
    """Raise InputError for a layout that the format cannot hold; log it if the image has to be moved."""
    if layout.dtype.name not in _DTYPES:
        raise InputError(f"Neuroglancer precomputed cannot hold {layout.dtype.name} values; write to a .zarr.")
    if layout.timepoints > 1:
        raise InputError(
            f"Neuroglancer precomputed has no place for {layout.timepoints} timepoints; write to a .zarr."
        )
    exact = [_voxel_offset(layout, level) for level in range(len(layout.levels))]
    moved = [float(np.abs(offset - np.rint(offset)).max()) for offset in exact]
    if max(moved) > _VISIBLE:
        shifts = ", ".join(f"s{level} by {by:.2g}" for level, by in enumerate(moved) if by > _VISIBLE)
        log.warning("%s is moved to the nearest whole voxels, its scales by parts of their voxels: %s", uri, shifts)


def create(container: Path, dataset: str, layout: PyramidLayout, *, resume: bool) -> tuple[StoredArray, ...]:
    """Create the scales s0, s1, … of a volume; unsigned labels are a segmentation. There is no `dataset` in one.

    Gives the array of each scale. Raises InputError when other arrays are there, DataError when the disk refuses.
    """
    kind = "segmentation" if layout.label and layout.dtype.kind == "u" else "image"
    multiscale = {"type": kind, "data_type": layout.dtype.name, "num_channels": layout.channels}
    stored = []
    for level, grid in enumerate(layout.levels):
        key = f"s{level}"
        scale = {
            "key": key,
            "size": reverse_axes(grid.shape),
            "resolution": [_NANOMETRES * spacing for spacing in reverse_axes(grid.spacing)],
            "voxel_offset": [int(n) for n in reverse_axes(list(np.rint(_voxel_offset(layout, level))))],
            "chunk_size": reverse_axes(layout.chunk_shape),
            "encoding": "raw",
        }
        create_scale(_DRIVER, container, multiscale, scale, resume=resume)
        (container / key).mkdir(exist_ok=True)  # also where all voxels are 0, and no chunk is stored
        stored.append(StoredArray(_DRIVER, (container,), _AXES, key))
    return tuple(stored)


def _voxel_offset(layout: PyramidLayout, level: int) -> Floats:
    """Return the first voxel (z, y, x) of a level in its own voxels, counted from that of the finest level at 0."""
    finest, own = layout.levels[0], layout.levels[level]
    spacing = np.array(own.spacing)
    return np.asarray((np.array(own.origin) - (spacing - np.array(finest.spacing)) / 2) / spacing)
