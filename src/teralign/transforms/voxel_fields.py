"""Displacement fields of the RnR-ExM challenge: datasets (z, y, x, 3) in HDF5, of (dz, dy, dx) in voxels, float32.

    mouse_test.h5/pair5     the field of a pair, a vector at each voxel of the fixed volume, compressed by gzip

The voxel i of the fixed volume corresponds to i + d of the moving one, so that both must have voxels of one size. A
field has neither spacing nor origin: those of the fixed volume give it a place.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from teralign.errors import DataError, InputError
from teralign.files import writing_by_name
from teralign.grids import Grid, Region, Triple
from teralign.transforms.field import DisplacementField
from teralign.transforms.stored import CHUNK_SHAPE, StoredField
from teralign.volumes.h5_nodes import H5Node, check_chunks, find_node, import_h5py

_SUFFIXES = (".h5", ".hdf5")
_LOCK = threading.Lock()  # h5py reads in one thread at a time anyway


def split_file(path: Path) -> tuple[Path, str] | None:
    """Return the HDF5 file and the dataset in it that a path names; None for a path that is no such file's."""
    for file in (path, *path.parents):
        if file.suffix in _SUFFIXES and not file.is_dir():
            inside = path.relative_to(file).as_posix()
            return file, "" if inside == "." else inside
    return None


def has_field(file: Path, dataset: str) -> bool:
    """Return whether an HDF5 file has a dataset. Raises InputError for a file that is no HDF5."""
    if not file.exists():
        return False
    with _opened(file) as nodes:
        return find_node(nodes, dataset) is not None


class VoxelField(StoredField):
    """A field in voxels of the fixed volume, read from HDF5 by region; its displacements are given in µm."""

    @classmethod
    def of(cls, path: str | Path, fixed: Grid) -> VoxelField:
        """Open the field at FILE.h5/DATASET over the voxels `fixed`.

        Raises InputError when there is none, or it has another number of voxels.
        """
        found = split_file(Path(path))
        if found is None or not found[0].exists():
            raise InputError(f"there is no transform {path}.")
        file, dataset = found
        with _opened(file) as nodes:
            node: H5Node = find_node(nodes, dataset)
            if not hasattr(node, "shape"):
                names = ", ".join(nodes)
                raise InputError(f"{file} has no field {dataset!r}; name one of {names} after the file.")
            shape = node.shape
        if shape != (*fixed.shape, 3):
            raise InputError(
                f"the field {path} has the shape {shape}, but the fixed volume needs {(*fixed.shape, 3)}: a vector "
                "(dz, dy, dx) in voxels at each of its voxels."
            )
        return cls(file, fixed, file, 3, "hdf5", dataset)

    def read(self, region: Region | None = None) -> DisplacementField:
        """Read the nodes of `region`, by default all. Raises DataError when they cannot be read or are not finite."""
        region = region or self.grid.region
        with _LOCK, _opened(self.path) as nodes:
            try:
                node = find_node(nodes, self.image)
                index = (*region.slices, slice(None))
                check_chunks(node, index, self.path)
                voxels = np.asarray(node[index], np.float64)
            except (OSError, KeyError, RuntimeError, ValueError) as error:
                raise DataError(
                    f"the field {self.path} cannot be read in {region.start} to {region.stop}."
                ) from error
        if not np.isfinite(voxels).all():
            raise DataError(f"the field {self.path} is not finite in {region.start} to {region.stop} (zyx).")
        return DisplacementField((voxels * self.grid.spacing).astype(np.float32), self.grid, region)

    def digest(self) -> str:
        """Return a fingerprint of the file: its path, size and time, and the dataset."""
        state = self.path.stat()
        text = repr((str(self.path.resolve()), self.image, self.grid, state.st_size, state.st_mtime_ns))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class VoxelFieldWriter:
    """A field that is being written by whole chunks into a dataset."""

    dataset: H5Node
    grid: Grid
    chunk_shape: Triple

    def write(self, region: Region, values: ArrayLike) -> None:
        """Store the (z, y, x, 3) displacements in µm of a region, in voxels. Raises DataError when that fails."""
        try:
            self.dataset[region.slices] = (np.asarray(values) / self.grid.spacing).astype(np.float32)
        except (OSError, RuntimeError) as error:
            raise DataError(f"the field cannot be written in {region.start} to {region.stop}: {error}.") from error


@contextlib.contextmanager
def adding_field(file: Path, dataset: str, grid: Grid) -> Iterator[VoxelFieldWriter]:
    """Give a writer of a dataset in an HDF5 file, which may have others: they stay, and one of this name is replaced.

    The file is changed when the block succeeds, else not at all: it is copied before. Raises DataError when the disk
    refuses.
    """
    chunk = tuple(min(c, n) for c, n in zip(CHUNK_SHAPE, grid.shape, strict=True))
    with writing_by_name(file) as copy:
        if file.exists():
            shutil.copy2(file, copy)
        with import_h5py(file).File(copy, "a") as nodes:
            if dataset in nodes:
                del nodes[dataset]
            node = nodes.create_dataset(
                dataset, (*grid.shape, 3), np.float32, chunks=(*chunk, 3), compression="gzip", compression_opts=1
            )
            yield VoxelFieldWriter(node, grid, CHUNK_SHAPE)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[H5Node]:
    try:
        nodes = import_h5py(file).File(file, "r", locking="best-effort")
    except OSError as error:
        raise InputError(f"{file} is not an HDF5 file that can be read: {error}.") from error
    with nodes:
        yield nodes
