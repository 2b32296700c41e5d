"""Every command reads zipped OME-Zarr, and plans with it: images, scales, and labels inside."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from teralign.alignment import Side
from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.tasks.convert_volume import convert_volume, plan_convert_volume
from teralign.tasks.global_align import global_align, plan_global_align
from teralign.tasks.inspect_volume import inspect_volume
from teralign.tasks.local_align import plan_local_align
from teralign.tasks.report_alignment import report_alignment
from teralign.transforms import Affine
from teralign.volumes import create_volume, open_volume

GRID = Grid((24, 48, 56), (2.0, 1.0, 1.0))
SHIFT = np.array([0.0, 3.0, 2.0])  # µm, from fixed to moving


def blobs(shift: np.ndarray) -> np.ndarray:
    """Gaussian blobs (z, y, x), moved by µm."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.arange(n) * s for n, s in zip(GRID.shape, GRID.spacing, strict=True)), indexing="ij")
    centres = rng.uniform((8, 8, 8), (40, 40, 48), (40, 3)) + shift
    field = sum(np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 8) for a, b, c in centres)
    return (100 + 2000 * field).astype(np.uint16)


def zipped(folder: Path, name: str, version: str, array: np.ndarray) -> Path:
    """An image with two scales and a label image, in an archive."""
    plain = folder / f"plain-{name.split('.')[0]}.zarr"
    source = folder / "labels.zarr"
    shutil.rmtree(source, ignore_errors=True)
    for path, voxels, label in ((plain, array, False), (source, (array > 500).astype(np.uint16), True)):
        writer = create_volume(path, grid=GRID, dtype="uint16", levels=2, label=label, ome_zarr=version)
        files = list(writer.write(GRID.region, np.ascontiguousarray(voxels)))
        writer.finish(files + list(writer.build_level_region(1, writer.levels[1].region)))
    convert_volume(source, into=plain / "labels" / "cells", label=True, compute=Compute(workers=1))
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path in sorted(plain.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(plain))
    return folder / name


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_command_reads_zipped_images_and_their_labels(version, tmp_path, scheduler):
    fixed = zipped(tmp_path, "fixed.zarr.zip", version, blobs(np.zeros(3)))
    moving = zipped(tmp_path, "moving.ozx", version, blobs(SHIFT))
    compute = Compute(scheduler)
    found = inspect_volume(fixed, check=True, values=True)
    assert (found.labels, found.check.faults) == (("labels/cells",), [])
    assert inspect_volume(fixed / "labels/cells").dtype == "uint16"

    assert plan_convert_volume(moving, tmp_path / "a.zarr").blocks
    convert_volume(moving / "s1", tmp_path / "a.zarr", compute=compute)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(), open_volume(moving / "s1").read())

    folders = [tmp_path / f"plain-{name}.zarr" for name in ("fixed", "moving")]
    for name, (one, other) in {"zipped": (fixed, moving), "plain": folders}.items():
        sides = Side(str(one), mask=str(one / "labels" / "cells")), Side(str(other))
        output = tmp_path / f"{name}.mat"
        assert plan_global_align(*sides, output=output, steps=["rigid"]).blocks
        global_align(*sides, output=output, steps=["rigid"])
        assert plan_local_align(*sides, output=tmp_path / "t.zarr", steps=["deform"]).blocks
    assert (tmp_path / "zipped.mat").read_bytes() == (tmp_path / "plain.mat").read_bytes()

    affine = tmp_path / "affine.mat"
    Affine.from_parts(np.eye(3), SHIFT).save(affine)
    report_alignment(fixed, moving, transforms=[affine], output=tmp_path / "report")
    options = {"transforms": [affine], "interpolation": "nearest"}
    labels = moving / "labels/cells"
    assert plan_apply_transform(fixed, labels, output=tmp_path / "b.zarr", **options).blocks
    apply_transform(fixed, labels, output=tmp_path / "b.zarr", compute=compute, **options)
    same = open_volume(tmp_path / "b.zarr").read() == open_volume(fixed / "labels/cells").read()
    assert same[4:-4, 8:-8, 8:-8].mean() > 0.97
