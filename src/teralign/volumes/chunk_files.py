"""The files in which an array keeps its voxels: one for each chunk or, where there are shards, for each shard.

Everything here is in the order of the array's own axes, as tensorstore has them: (t, c, z, y, x), (x, y, z), ….
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teralign.addresses import Place
from teralign.volumes.arrays import open_array
from teralign.volumes.chunk_names import Index, KeyEncoding
from teralign.volumes.json_values import Metadata

_PIECE = 1 << 20


@dataclass(frozen=True)
class ChunkFiles:
    """The files of the array in the folder `path`: a lattice of them, each of `file_shape` voxels."""

    path: Place
    shape: Index
    file_shape: Index
    chunk_shape: Index
    codecs: tuple[str, ...]
    _encoding: KeyEncoding
    _offset: Index | None

    @classmethod
    def of(cls, driver: str, path: Place, scale: str = "") -> ChunkFiles:
        """The files of an array of tensorstore's `driver`. Raises InputError when it cannot be opened."""
        array = open_array(driver, path, scale)
        spec = array.spec().to_json()
        metadata = spec["scale_metadata" if scale else "metadata"]
        layout = array.chunk_layout
        shape = tuple(int(n) for n in array.shape)
        whole, inner = (
            tuple(side or n for side, n in zip(chunk.shape or (None,) * array.ndim, shape, strict=True))
            for chunk in (layout.write_chunk, layout.read_chunk)
        )
        offset = tuple(metadata["voxel_offset"]) if scale else None
        encoding = KeyEncoding.of(driver, metadata)
        return cls(path / scale, shape, whole, inner, _codecs(driver, metadata), encoding, offset)

    @property
    def counts(self) -> Index:
        """The number of possible files along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.file_shape, strict=True))

    def file(self, index: Index) -> Place:
        """Return the file at a place of the lattice; it may be missing."""
        return self.path / (self._encoding.key(index) if self._offset is None else "_".join(self._sides(index)))

    def _sides(self, index: Index) -> Iterator[str]:
        """Yield the part of a file's name for each axis: the voxels x, y, z of a scale."""
        for i, size, n, offset in zip(index, self.file_shape, self.shape, self._offset or (), strict=False):
            yield f"{offset + i * size}-{offset + min((i + 1) * size, n)}"

    def chunks(self, index: Index) -> Iterator[tuple[slice, ...]]:
        """Yield the index in the array of each chunk of a file."""
        sides = [
            [(a, min(a + inner, n)) for a in range(i * size, min((i + 1) * size, n), inner)]
            for i, size, inner, n in zip(index, self.file_shape, self.chunk_shape, self.shape, strict=True)
        ]
        for chunk in itertools.product(*sides):
            yield tuple(slice(a, b) for a, b in chunk)


def checksum(path: Place) -> tuple[int, int] | None:
    """Return the size of a file in bytes and its CRC-32, None when there is no such file.

    Raises OSError when that cannot be determined.
    """
    size = crc = 0
    try:
        for piece in _pieces(path):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    except FileNotFoundError:
        return None
    return size, crc


def _pieces(path: Place) -> Iterator[bytes]:
    """Yield the content of a file, in pieces if it lies on a disk."""
    if not isinstance(path, Path):
        yield path.read_bytes()
        return
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _codecs(driver: str, metadata: Metadata) -> tuple[str, ...]:
    """Return the names of the codecs of a chunk, from the voxels to the disk."""
    if driver == "n5":
        return (metadata["compression"]["type"],)
    if driver == "neuroglancer_precomputed":
        return (metadata["encoding"],)
    if driver == "zarr":
        steps = [*(metadata.get("filters") or ()), metadata.get("compressor")]
        return tuple(_zarr2_name(step) for step in steps if step is not None)
    return tuple(_zarr3_names(metadata["codecs"]))


def _zarr2_name(step: Metadata) -> str:
    return "-".join(str(step[key]) for key in ("id", "cname") if key in step)


def _zarr3_names(codecs: list[Metadata]) -> Iterator[str]:
    for codec in codecs:
        settings = codec.get("configuration", {})
        if codec["name"] == "sharding_indexed":
            yield from _zarr3_names(settings["codecs"])
        else:
            yield "-".join([codec["name"], *([settings["cname"]] if "cname" in settings else [])])
