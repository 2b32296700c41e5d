"""Scores of labels equal those of SimpleITK and scipy, whatever the blocks, and memory is bounded by the block."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from label_volumes import blobs, write
from teralign.errors import InputError
from teralign.evaluation import LabelScores, LabelVolumes, OnThreads, Still, Warped, score_labels
from teralign.evaluation.surfaces import SurfaceFile, hausdorff95, nearest_distances, surface_of
from teralign.grids import Region
from teralign.transforms import Affine, Stack
from teralign.volumes import open_volume


def scores(folder, fixed, aligned, *, before=None, spacing=(1.0, 1.0, 1.0), **how) -> LabelScores:
    """The scores of arrays on one grid."""
    f, a = (Still(write(folder / f"{name}.zarr", v, spacing)) for name, v in (("f", fixed), ("a", aligned)))
    b = None if before is None else Still(write(folder / "b.zarr", before, spacing))
    return score_labels(LabelVolumes(f, a, b, a if b is None else b), **how)


def hd95(fixed, aligned, spacing):
    """The larger 95th percentile of distances between surfaces, by scipy's erosion and distance transform."""
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (fixed, aligned)]
    there, back = (ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces)
    return max(np.percentile(back[surfaces[0]], 95), np.percentile(there[surfaces[1]], 95))


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(*[st.integers(5, 30)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 3.0)] * 3),
    block=st.sampled_from([(16, 16, 16), (7, 5, 9), (64, 64, 64)]),
    threads=st.integers(1, 3),
)
def test_dice_and_hd95_equal_simpleitk_and_scipy(tmp_path_factory, seed, shape, spacing, block, threads):
    fixed, aligned = blobs(seed, shape, 5), np.roll(blobs(seed, shape, 5), (1, -1, 2), (0, 1, 2))
    folder = tmp_path_factory.mktemp("labels")
    found = scores(folder, fixed, aligned, spacing=spacing, block=block, over=OnThreads(threads))
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(sitk.GetImageFromArray(array) for array in (fixed, aligned)))
    common = sorted((set(np.unique(fixed)) & set(np.unique(aligned))) - {0})
    assert [score.label for score in found.per_label] == common
    for score in found.per_label:
        masks = fixed == score.label, aligned == score.label
        assert score.dice == pytest.approx(measures.GetDiceCoefficient(score.label), abs=1e-12)
        assert (score.fixed_voxels, score.aligned_voxels) == tuple(mask.sum() for mask in masks)
        assert score.hd95_um == pytest.approx(hd95(*masks, found_spacing(folder)), rel=1e-9)
    assert found.dice == pytest.approx(np.mean([score.dice for score in found.per_label]))


def found_spacing(folder):
    """The voxel size of the volumes, as the file has it."""
    return open_volume(folder / "f.zarr").grid.spacing


def test_the_largest_distance_of_surfaces_is_that_of_simpleitk(tmp_path):
    """SimpleITK has no 95th percentile, so its Hausdorff distance is compared with all distances of our surfaces."""
    fixed, aligned = (blobs(seed, (20, 24, 28), 1) for seed in (1, 2))
    spacing = (2.0, 0.5, 1.0)
    images = [sitk.GetImageFromArray(array) for array in (fixed, aligned)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    whole = Region.whole(fixed.shape)
    with SurfaceFile(tmp_path) as one, SurfaceFile(tmp_path) as other:
        for file, labels in ((one, fixed), (other, aligned)):
            file.add(surface_of(labels.astype(np.int64), whole, whole))
            file.finish()
        largest = max(
            nearest_distances(one, other, 3, spacing).max(), nearest_distances(other, one, 3, spacing).max()
        )
    assert largest == pytest.approx(measure.GetHausdorffDistance(), rel=1e-6)


def test_search_trees_of_parts_give_the_same_distances(tmp_path, monkeypatch):
    fixed, aligned = (blobs(seed, (24, 24, 24), 2) for seed in (3, 4))
    whole = Region.whole(fixed.shape)
    with SurfaceFile(tmp_path) as one, SurfaceFile(tmp_path) as other:
        for file, labels in ((one, fixed), (other, aligned)):
            for core in whole.split((8, 8, 8)):
                halo = core.grow((1, 1, 1)).intersect(whole)
                file.add(surface_of(labels.astype(np.int64)[halo.slices], halo, core))
            file.finish()
        once = hausdorff95(one, other, [3], spacing=(1.0, 1.0, 1.0))
        monkeypatch.setattr(SurfaceFile.points, "__kwdefaults__", {"at_most": 10})
        assert len(list(one.points(3, (1.0, 1.0, 1.0)))) > 1
        assert hausdorff95(one, other, [3], spacing=(1.0, 1.0, 1.0)) == once


def test_dice30_is_of_the_labels_that_were_worst_at_the_start(tmp_path):
    fixed = np.zeros((4, 10, 40), np.uint8)
    before, after = fixed.copy(), fixed.copy()
    for label in range(1, 11):
        fixed[1:3, 1:9, 4 * label - 4 : 4 * label - 1] = label
        before[1:3, 1 : 9 - label // 2, 4 * label - 4 : 4 * label - 1] = label
        after[1:3, 1:9, 4 * label - 4 : 4 * label - 1] = label if label != 9 else 0
    found = scores(tmp_path, fixed, after, before=before)
    worst = sorted(found.per_label, key=lambda score: score.dice_before)[:3]
    assert {score.label for score in worst} == {8, 9, 10}
    assert found.dice30 == pytest.approx(np.mean([score.dice for score in worst])) == pytest.approx(2 / 3)
    assert found.lost == 1
    [lost] = [score for score in found.per_label if score.label == 9]
    assert (lost.dice, lost.hd95_um) == (0.0, pytest.approx(math.hypot(4, 10, 40)))


def test_labels_are_warped_while_they_are_read(tmp_path):
    fixed = blobs(5, (24, 26, 28), 6)
    moving = np.roll(fixed, (2, 3, -1), (0, 1, 2))
    f, m = (
        write(tmp_path / f"{name}.zarr", array, (1.0, 0.5, 0.25)) for name, array in (("f", fixed), ("m", moving))
    )
    shift = Stack((Affine.from_parts(np.eye(3), (2.0, 1.5, -0.25)),))
    states = [Warped(m, transform, f.grid) for transform in (shift, Stack())]
    found = score_labels(LabelVolumes(Still(f), states[0], states[1], Still(m)), block=(16, 16, 16))
    inner = fixed.copy()
    inner[-2:], inner[:, -3:], inner[:, :, :1] = 0, 0, 0
    for score in found.per_label:
        whole = 2 * (inner == score.label).sum() / ((inner == score.label).sum() + (fixed == score.label).sum())
        still = (
            2
            * ((fixed == score.label) & (moving == score.label)).sum()
            / ((fixed == score.label).sum() + (moving == score.label).sum())
        )
        assert (score.dice, score.dice_before) == (pytest.approx(whole), pytest.approx(still))


@pytest.mark.parametrize(
    ("fixed", "aligned", "sentence"),
    [
        (np.ones((4, 4, 4), np.uint8), np.full((4, 4, 4), 2, np.uint8), "no label in common"),
        (np.ones((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), "is 0 everywhere"),
        (np.full((4, 4, 4), 1.5, np.float32), np.ones((4, 4, 4), np.float32), "no whole numbers"),
    ],
)
def test_volumes_that_cannot_be_compared_are_refused(tmp_path, fixed, aligned, sentence):
    with pytest.raises(InputError, match=sentence):
        scores(tmp_path, fixed, aligned)


def test_memory_is_bounded_by_the_block(tmp_path):
    """A volume of eight times the voxels, with as many more labels, takes hardly more memory."""
    cell = np.zeros((32, 32, 32), np.uint32)
    at = np.moveaxis(np.indices(cell.shape), 0, -1)
    cell[np.linalg.norm(at - 16, axis=-1) < 10] = 1
    peaks = []
    for times in (1, 2):
        shape = 64 * times
        number = np.arange(1, (shape // 32) ** 3 + 1, dtype=np.uint32).reshape((shape // 32,) * 3)
        labels = np.tile(cell, (shape // 32,) * 3) * np.kron(number, np.ones_like(cell))
        folder = tmp_path / str(times)
        volume = Still(write(folder / "f.zarr", labels))
        del labels
        score_labels(LabelVolumes(volume, volume, None, volume), block=(32, 32, 32), folder=tmp_path)
        tracemalloc.start()
        score_labels(LabelVolumes(volume, volume, None, volume), block=(32, 32, 32), folder=tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
