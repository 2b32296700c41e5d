"""The storage of a volume: its files, chunks and codecs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.grids import Triple
from teralign.volumes.arrays import spatial
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.manifest import FILE, Manifest
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume


@dataclass(frozen=True)
class Storage:
    """The files of a volume and the layout of its voxels in them; shapes are (z, y, x) voxels.

    `shard_shape` is None where each chunk is a file of its own, `codecs` is empty if the format has none.
    For a volume at an address, files and their size (bytes) are those of its manifests, None without these: addresses
    are not listed.
    """

    chunk_shape: Triple
    shard_shape: Triple | None
    codecs: tuple[str, ...]
    manifest: bool
    files: int | None
    size: int | None


def storage(volume: Volume) -> Storage:
    """Return the storage of a volume, all its channels and timepoints; on a disk every file is looked up, none read.

    Raises DataError for an address whose manifest is damaged.
    """
    stored = volume.stored
    if stored is None:
        return Storage(volume.chunk_shape, None, (), False, *_total(_sizes_of_any(volume)))
    arrays = [ChunkFiles.of(stored.driver, path, stored.scale) for path in stored.paths]
    chunk, unit = (spatial(shape, stored.axes) for shape in (arrays[0].chunk_shape, arrays[0].file_shape))
    if stored.folders:
        manifest = all((path / FILE).exists() for path in stored.folders)
        counted = _total(_sizes(stored.folders))
    else:
        listed = _listed(arrays)
        manifest, counted = listed is not None, _total(listed)
    return Storage(chunk, unit if unit != chunk else None, arrays[0].codecs, manifest, *counted)


def _sizes_of_any(volume: Volume) -> Iterable[int] | None:
    """Return the sizes of the files of a volume that is no chunked array, None at an address."""
    container, dataset = split_uri(volume.uri)
    if not isinstance(container, Path):
        return None
    if (container / dataset).is_dir():
        return _sizes([container / dataset])
    return [path.stat().st_size for path in volume.files if isinstance(path, Path)]


def _listed(arrays: Sequence[ChunkFiles]) -> list[int] | None:
    """Return the sizes of the files in the manifests of the arrays, None if an array has no manifest."""
    sizes: list[int] = []
    for files in arrays:
        manifest = Manifest.load(files.path, files.counts)
        if manifest is None:
            return None
        sizes += manifest.sizes[manifest.sizes > 0].tolist()
    return sizes


def _total(sizes: Iterable[int] | None) -> tuple[int, int] | tuple[None, None]:
    """Return the number of files, and the sum of their sizes."""
    if sizes is None:
        return None, None
    known = list(sizes)
    return len(known), sum(known)


def _sizes(folders: Sequence[Path]) -> Iterator[int]:
    for folder in folders:
        for inside, _, names in os.walk(folder):
            yield from (os.stat(os.path.join(inside, name)).st_size for name in names)  # noqa: PTH116, PTH118
