"""Masks by labels, by files of another sampling, and found in the image; and the blocks that they leave out."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import phantoms
from teralign.alignment import BlockOptions, Side, open_source
from teralign.alignment.coarse_source import CoarseSource
from teralign.alignment.masks import Mask, open_mask, read_mask
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.tasks.build_pyramid import build_pyramid
from teralign.tasks.local_align import local_align
from teralign.transforms import Stack, load_stack
from teralign.volumes import OverviewSize, create_volume, open_volume

GRID = phantoms.cube(64, 2.5)
LARGE = 2**63 + 1


def write(path: Path, array: np.ndarray, grid: Grid) -> str:
    writer = create_volume(path, grid=grid, dtype=array.dtype, levels=1)
    for region in grid.region.split(writer.write_shape):
        writer.write(region, np.ascontiguousarray(array[region.slices]))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that shows tissue at low x, and labels of half the sampling: 1 at low z, 7 at low y, LARGE at x."""
    folder = tmp_path_factory.mktemp("masks")
    signal = phantoms.Scene.cells(160.0, seed=1).draw(GRID, noise=0).array - 80.0
    signal[:, :, 24:] = 0
    noise = 20 * np.random.default_rng(0).standard_normal(GRID.shape)
    write(folder / "image.zarr", np.clip(200 + signal + noise, 0, None).astype(np.uint16), GRID)
    labels = np.zeros((32, 32, 32), np.uint64)
    labels[:8], labels[8:, :8], labels[8:, 8:, :8] = 1, 7, LARGE
    write(folder / "labels.zarr", labels, GRID.downsample((2, 2, 2)))
    return folder


def mask_of(folder: Path, mask: str, *labels: int) -> np.ndarray:
    name = mask if mask == "auto" else str(folder / mask)
    found = open_source("fixed", Side(str(folder / "image.zarr"), mask=name, mask_labels=labels or None)).read().mask
    assert found is not None
    return found


def test_labels_say_what_counts(folder):
    expected = np.zeros(GRID.shape, bool)
    expected[:16] = True
    np.testing.assert_array_equal(mask_of(folder, "labels.zarr", 1), expected)
    expected[:, :16] = True
    np.testing.assert_array_equal(mask_of(folder, "labels.zarr", 7, 1), expected)
    assert mask_of(folder, "labels.zarr", LARGE)[:, :, :16].any()
    expected[:, :, :16] = True
    np.testing.assert_array_equal(mask_of(folder, "labels.zarr"), expected)


def test_large_labels_are_told_apart(folder):
    with pytest.raises(InputError, match="labelled 9223372036854775808"):
        mask_of(folder, "labels.zarr", LARGE - 1)


@pytest.mark.parametrize(
    ("mask", "labels", "sentence"),
    [
        ("labels.zarr", [2, 300, -1], r"--fixed-mask .*labels\.zarr: no voxel of the mask is labelled 2 or 300"),
        ("auto", [1], r"--fixed-mask auto has no labels"),
        (None, [1], r"--fixed-mask-labels needs --fixed-mask"),
    ],
)
def test_labels_that_are_not_there_are_said_to_be(folder, mask, labels, sentence):
    name = str(folder / mask) if mask == "labels.zarr" else mask
    with pytest.raises(InputError, match=sentence):
        open_source("fixed", Side(str(folder / "image.zarr"), mask=name, mask_labels=labels))


def test_a_mask_of_nothing_is_an_error(folder, tmp_path):
    empty = write(tmp_path / "empty.zarr", np.zeros((4, 4, 4), np.uint8), phantoms.cube(4, 40.0))
    with pytest.raises(InputError, match=r"no voxel of the mask is above 0, so all of .*image\.zarr is masked out"):
        mask_of(folder, empty)


def test_auto_finds_the_tissue_and_some_microns_around_it(folder):
    found = mask_of(folder, "auto")
    assert found[:, :, :24].all()
    assert found[:, :, 24:30].all()
    assert not found[:, :, 36:].any()


def tissue(path: str, size: OverviewSize) -> Mask:
    return open_mask("fixed", "auto", None, open_volume(path), channel=0, timepoint=0, overview=size)


def test_auto_counts_up_to_the_last_voxels(tmp_path):
    """Means over groups leave out the voxels that fill no group, and tissue goes on there."""
    scene = phantoms.Scene.cells(160.0, seed=1)
    image = scene.draw(Grid((65, 65, 67), (2.5, 2.5, 2.5)), noise=0.02)
    path = write(tmp_path / "image.zarr", image.array, image.grid)
    mask = tissue(path, OverviewSize(kept=22**3))
    assert read_mask(mask, image.grid, image.grid.region).all()


def test_auto_is_the_same_again_and_another_for_other_voxels(folder, tmp_path):
    source = open_source("fixed", Side(str(folder / "image.zarr"), mask="auto"))
    again = pickle.loads(pickle.dumps(open_source("fixed", Side(str(folder / "image.zarr"), mask="auto"))))
    assert again.digest() == source.digest()
    np.testing.assert_array_equal(again.read().mask, source.read().mask)

    volume = open_volume(folder / "image.zarr")
    other = write(tmp_path / "image.zarr", np.ascontiguousarray(volume.read()[:, :, ::-1]), volume.grid)
    assert open_source("fixed", Side(other, mask="auto")).mask.digest() != source.mask.digest()
    labels = [
        open_source("fixed", Side(other, mask=str(folder / "labels.zarr"), mask_labels=[v])).digest() for v in (1, 7)
    ]
    assert labels[0] != labels[1]


def test_auto_reads_a_coarser_scale_where_there_is_one(tmp_path):
    """It is so large that the finest scale would not be read; only the coarsest one holds tissue."""
    size = OverviewSize(kept=32**3, read=48**3)
    scene = phantoms.Scene.cells(160.0, seed=1)
    path = write(tmp_path / "image.zarr", scene.draw(GRID).array, GRID)
    with pytest.raises(InputError, match=r"--fixed-mask auto: .*image\.zarr is too large .* build-pyramid"):
        tissue(path, size)
    build_pyramid(str(tmp_path / "image.zarr"), levels=2, compute=Compute(workers=1))
    assert tissue(path, size).grid.spacing == (5.0, 5.0, 5.0)


def test_a_mask_is_asked_before_voxels_are_read(folder):
    source = open_source("fixed", Side(str(folder / "image.zarr"), mask=str(folder / "labels.zarr"), mask_labels=[1]))
    assert source.masks_out(Region((16, 0, 0), (64, 64, 64)))
    assert not source.masks_out(Region((15, 0, 0), (64, 64, 64)))
    coarse = CoarseSource.of(source, (4, 4, 4))
    assert coarse.masks_out(Region((4, 0, 0), (16, 16, 16)))
    assert not coarse.masks_out(Region((3, 0, 0), (16, 16, 16)))
    assert not open_source("fixed", Side(str(folder / "image.zarr"))).masks_out(Region((0, 0, 0), (1, 1, 1)))


@dataclass(frozen=True)
class Cut:
    """Two rounds of tissue that ends at a plane, with nothing but the camera's noise behind it, and points in it."""

    fixed: str
    moving: str
    points: np.ndarray
    truth: Stack


@pytest.fixture(scope="module")
def cut(pair, tmp_path_factory) -> Cut:
    """A corner of the pair whose tissue ends at the 32nd of 96 voxels along x."""
    folder = tmp_path_factory.mktemp("cut")
    rng = np.random.default_rng(0)
    truth = load_stack([pair.folder / "true_transform.zarr"])
    fixed, moving = open_volume(pair.fixed), open_volume(pair.moving)
    corner = Region((0, 0, 0), (48, 48, 96))
    array = fixed.read(corner)
    array[:, :, 32:] = rng.normal(105, 3, array[:, :, 32:].shape).round()
    index = np.stack(np.meshgrid(*map(np.arange, moving.grid.shape), indexing="ij"), -1).reshape(-1, 3)
    back, _ = truth.inverse_map_points(moving.grid.to_physical(index))
    behind = (back[:, 2] > 31.5 * fixed.grid.spacing[2]).reshape(moving.grid.shape)
    other = moving.read()
    other[behind] = rng.normal(90, 3, behind.sum()).round()
    points = fixed.grid.to_physical(rng.uniform((3, 3, 3), (45, 45, 31), (4000, 3)))
    lands = moving.grid.to_index(truth.map_points(points))
    seen = ((lands > 2) & (lands < np.array(moving.grid.shape) - 3)).all(axis=1)
    return Cut(
        write(folder / "fixed.zarr", array, fixed.grid.crop(corner)),
        write(folder / "moving.zarr", other, moving.grid),
        points[seen],
        truth,
    )


def test_auto_skips_blocks_and_costs_no_accuracy(pair, cut, tmp_path, scheduler):
    """Blocks of background are not read, and points in the tissue are as near the truth as without a mask."""
    errors = {}
    for name, mask in {"none": None, "auto": "auto"}.items():
        output = tmp_path / f"{name}.zarr"
        result = local_align(
            Side(cut.fixed, mask=mask),
            Side(cut.moving, mask=mask),
            output=output,
            initial_transforms=[pair.affine],
            blocks=BlockOptions((48, 48, 24)),
            compute=Compute(scheduler),
        )
        found = load_stack([output])
        away = found.map_points(cut.points) - cut.truth.map_points(cut.points)
        errors[name] = np.median(np.linalg.norm(away, axis=1))
    assert result.states["masked"] >= 1
    report = json.loads((tmp_path / "auto.blocks.json").read_text())
    skipped = [r for r in report["records"] if r["state"] == "masked"]
    assert {r["reason"] for r in skipped} == {"the fixed mask leaves nothing here"}
    assert not any("fixed_read" in r for r in skipped)
    assert errors["auto"] < 1.1 * errors["none"]
    assert errors["none"] < 0.5 * min(open_volume(cut.fixed).grid.spacing)


def test_the_moving_mask_skips_blocks_that_land_outside_of_it(pair, tmp_path, scheduler):
    volume = open_volume(pair.moving)
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[:, :, : volume.grid.shape[2] // 3] = 5
    mask = write(tmp_path / "labels.zarr", labels, volume.grid)
    result = local_align(
        pair.fixed,
        Side(pair.moving, mask=mask, mask_labels=[5]),
        output=tmp_path / "field.zarr",
        initial_transforms=[pair.affine],
        steps=["affine"],
        blocks=BlockOptions((80, 104, 24), 0.0),
        compute=Compute(scheduler),
    )
    records = json.loads((tmp_path / "field.blocks.json").read_text())["records"]
    reasons = [r["reason"] for r in records if r["state"] == "masked"]
    assert result.states["masked"] == len(reasons) >= 1
    assert set(reasons) == {"the moving mask leaves nothing where this block lies"}
