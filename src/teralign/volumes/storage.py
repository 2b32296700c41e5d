"""How a volume lies on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.grids import Triple, as_triple
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.manifest import FILE
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume


@dataclass(frozen=True)
class Storage:
    """The files of a volume and how its voxels are in them; shapes are (z, y, x) voxels.

    `shard_shape` is None where each chunk is a file of its own, `codecs` is empty where the format tells of none.
    """

    chunk_shape: Triple
    shard_shape: Triple | None
    codecs: tuple[str, ...]
    manifest: bool
    files: int
    size: int


def storage(volume: Volume) -> Storage:
    """How a volume lies on disk, all its channels and timepoints; every file is looked up, none is read."""
    stored = volume.stored
    if stored is None:
        place = Path(*split_uri(volume.uri))
        sizes = list(_sizes([place]) if place.is_dir() else (path.stat().st_size for path in volume.files))
        return Storage(volume.chunk_shape, None, (), False, len(sizes), sum(sizes))
    arrays = [ChunkFiles.of(stored.driver, path) for path in stored.paths]
    chunk, unit = (
        as_triple(shape[stored.axes.index(axis)] for axis in "zyx")
        for shape in (arrays[0].chunk_shape, arrays[0].file_shape)
    )
    sizes = list(_sizes(stored.paths))
    manifest = all((path / FILE).exists() for path in stored.paths)
    return Storage(chunk, unit if unit != chunk else None, arrays[0].codecs, manifest, len(sizes), sum(sizes))


def _sizes(folders: Sequence[Path]) -> Iterator[int]:
    for folder in folders:
        for inside, _, names in os.walk(folder):
            yield from (os.stat(os.path.join(inside, name)).st_size for name in names)  # noqa: PTH116, PTH118
