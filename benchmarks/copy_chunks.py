"""Read a volume and write it as our commands would, by tensorstore alone: what the disk and the codecs cost.

    python -m benchmarks.copy_chunks FIXED MOVING OUTPUT [--workers 2]

The output has the grid, chunks and codecs of `apply-transform --output OUTPUT`, or of `convert-volume MOVING OUTPUT`
where both are one volume. Each chunk of the moving volume is read once, each write unit of every level is written
once, by processes of one thread; coarser levels are every second voxel of the level before.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from teralign.grids import Region, as_triple
from teralign.volumes import create_volume, open_volume

_ONE_THREAD = {"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}}


def copy(fixed: Path, moving: Path, output: Path, workers: int) -> None:
    """Copy level after level. `moving` is an N5 dataset, `output` an OME-Zarr to make."""
    volume = open_volume(fixed)
    writer = create_volume(output, grid=volume.grid, dtype=volume.dtype)
    names = [scale["path"] for scale in _multiscale(output)["datasets"]]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for level, (grid, name) in enumerate(zip(writer.levels, names, strict=True)):
            source = output / names[level - 1] if level else moving
            units = list(grid.region.split(writer.write_shape))
            pool.map(functools.partial(_copy_unit, source, output / name, 2 if level else 1), units, chunksize=1)


def _multiscale(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    return found


def _copy_unit(source: Path, target: Path, step: int, unit: Region) -> None:
    """Every step-th voxel of the source, where it has any; beyond it zeros are written."""
    read, written = _open(source), _open(target)
    wanted = Region(as_triple(step * n for n in unit.start), as_triple(step * n for n in unit.stop))
    there = wanted.intersect(Region.whole(read.shape[-3:]))
    voxels = np.zeros(unit.shape, written.dtype.numpy_dtype)
    found = read[(..., *there.slices)].read().result()
    found = found.reshape(found.shape[-3:])[::step, ::step, ::step]
    voxels[tuple(slice(0, n) for n in found.shape)] = found
    written[(..., *unit.slices)].write(np.broadcast_to(voxels, (*written.shape[:-3], *unit.shape))).result()


@functools.cache
def _open(path: Path) -> Any:  # noqa: ANN401 - tensorstore has no types
    """An array with its last three axes z, y, x."""
    n5 = (path / "attributes.json").exists()
    spec = {"driver": "n5" if n5 else "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    store = tensorstore.open(spec, context=tensorstore.Context(_ONE_THREAD)).result()
    return store.T if n5 else store


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    copy(options.fixed, options.moving, options.output, options.workers)


if __name__ == "__main__":
    main()
