"""Distances between the surfaces of labels, HD95, with bounded memory.

The surface of a label are the centres of its voxels that have a face neighbour of another value, or lie at a face of
the volume: what an erosion by the cross of seven voxels removes, with nothing set beyond the volume. HD95 is the
larger of two 95th percentiles (linear between ranks): of the distances in µm from each surface voxel of the fixed
label to the nearest one of the aligned label, and back.

The surfaces are written block by block to temporary files, and read label by label. In memory are one block, the
index of the files (24 bytes for each label of each block), the distances of one label a thread (8 bytes for each
voxel of its surface), and search trees of at most 2²¹ voxels.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from teralign.evaluation.overlap import Labels
from teralign.grids import Floats, FloatTriple, Region

_TREE = 1 << 21  # points of a search tree
_ROW = np.dtype((np.int32, 3))
Surface = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""The labels (n,) of a block, how many surface voxels each has, and their indices (m, 3), label by label."""


def surface_of(labels: Labels, halo: Region, core: Region) -> Surface:
    """Return the surface voxels in `core`, of labels on the region `halo`: the core and its neighbours in the volume.

    Where `halo` ends with `core` is a face of the volume.
    """
    inner = core.relative_to(halo).slices
    shift = [int(part.start == 0) for part in inner]
    ends = [int(part.stop == n) for part, n in zip(inner, labels.shape, strict=True)]
    padded = np.pad(labels, list(zip(shift, ends, strict=True)))
    own = labels[inner]
    at_surface = np.zeros(own.shape, bool)
    for axis in range(3):
        for step in (-1, 1):
            moved = [slice(part.start + s, part.stop + s) for part, s in zip(inner, shift, strict=True)]
            moved[axis] = slice(moved[axis].start + step, moved[axis].stop + step)
            at_surface |= padded[tuple(moved)] != own
    at_surface &= own != 0
    places = np.argwhere(at_surface)
    names = own[at_surface]
    order = np.argsort(names, kind="stable")
    found, counts = np.unique(names, return_counts=True)
    return found, counts, (places[order] + np.array(core.start)).astype(np.int32)


class SurfaceFile:
    """Surface voxels in a temporary file, added block by block and read label by label; a context that removes it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by the context
        self._pieces: list[NDArray[np.int64]] = []
        self._rows = 0
        self._index: NDArray[np.int64] = np.empty((0, 3), np.int64)
        self._lock = threading.Lock()

    def __enter__(self) -> SurfaceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, surface: Surface) -> None:
        """Append the surfaces of a block."""
        labels, counts, places = surface
        if not len(labels):
            return
        starts = self._rows + np.cumsum(counts) - counts
        self._pieces.append(np.stack([labels, starts, counts], axis=1))
        self._file.write(places.tobytes())
        self._rows += len(places)

    def finish(self) -> None:
        """Make the file ready to be read."""
        self._file.flush()
        if self._pieces:
            index = np.concatenate(self._pieces)
            self._index = index[np.argsort(index[:, 0], kind="stable")]
            self._pieces = []

    def size(self, label: int) -> int:
        """Return the number of surface voxels of a label."""
        return int(self._entries(label)[:, 2].sum())

    def points(self, label: int, spacing: FloatTriple, *, at_most: int = _TREE) -> Iterator[Floats]:
        """Yield the surface of a label in parts (n, 3) of about `at_most` points, in µm from the first voxel."""
        parts: list[NDArray[np.int32]] = []
        for _, start, count in self._entries(label).tolist():
            parts.append(self._read(start, count))
            if sum(map(len, parts)) >= at_most:
                yield np.concatenate(parts) * np.asarray(spacing)
                parts = []
        if parts:
            yield np.concatenate(parts) * np.asarray(spacing)

    def _entries(self, label: int) -> NDArray[np.int64]:
        first, last = np.searchsorted(self._index[:, 0], [label, label + 1])
        return self._index[first:last]

    def _read(self, start: int, count: int) -> NDArray[np.int32]:
        with self._lock:
            self._file.seek(start * _ROW.itemsize)
            content = self._file.read(count * _ROW.itemsize)
        return np.frombuffer(content, np.int32).reshape(-1, 3)


def hausdorff95(
    fixed: SurfaceFile, aligned: SurfaceFile, labels: Iterable[int], *, spacing: FloatTriple, threads: int = 1
) -> dict[int, float]:
    """Return HD95 in µm of each label, which both volumes must have; `spacing` (z, y, x) is that of their voxels."""

    def measured(label: int) -> tuple[int, float]:
        there, back = (
            nearest_distances(fixed, aligned, label, spacing),
            nearest_distances(aligned, fixed, label, spacing),
        )
        return label, float(max(np.percentile(there, 95), np.percentile(back, 95)))

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return dict(pool.map(measured, labels))


def nearest_distances(source: SurfaceFile, target: SurfaceFile, label: int, spacing: FloatTriple) -> Floats:
    """Return the distance of each surface voxel of a label in `source` from the nearest one in `target`."""
    distances = np.full(source.size(label), np.inf)
    for points in target.points(label, spacing):
        tree = cKDTree(points)
        done = 0
        for some in source.points(label, spacing):
            here = distances[done : done + len(some)]
            found, _ = tree.query(some, distance_upper_bound=np.nextafter(here.max(), np.inf))
            np.minimum(here, found, out=here)
            done += len(some)
    return distances
