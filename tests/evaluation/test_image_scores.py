"""Similarity block by block equals that of whole images, whatever the blocks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from label_volumes import write
from teralign.evaluation import OnThreads, Still, Warped, score_images, similarity
from teralign.evaluation.percentiles import Percentiles, count_leading, count_rest
from teralign.registration.metrics import mutual_information
from teralign.transforms import Affine, Stack, warp


def textures(seed, shape, dtype):
    random = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(random.random(shape), 2.0)
    noisy = base + 0.02 * random.random(shape)
    found = [(a - a.min()) / np.ptp(a) for a in (base, noisy)]
    scale = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return [(a * scale).astype(dtype) for a in found]


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(*[st.integers(20, 50)] * 3),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    block=st.sampled_from([(16, 16, 16), (32, 16, 48), (64, 64, 64)]),
)
def test_blocks_give_the_figures_of_whole_images(tmp_path_factory, seed, shape, dtype, block):
    folder = tmp_path_factory.mktemp("images")
    fixed, aligned = textures(seed, shape, dtype)
    pair = [Still(write(folder / f"{i}.zarr", array)) for i, array in enumerate((fixed, aligned))]
    found = score_images(*pair, shape, block=block, over=OnThreads(2))
    f, a = fixed.astype(np.float32), aligned.astype(np.float32)
    wanted = similarity(f, a, np.ones(shape, bool))
    for key in ("ncc", "lncc_mean", "lncc_p10", "foreground_covered"):
        assert (getattr(found, key) or 0) == pytest.approx(getattr(wanted, key) or 0, rel=1e-5)
    assert found.lncc_blocks == wanted.lncc_blocks
    smooth = ndimage.gaussian_filter(f, 1.0)
    both = smooth > np.percentile(smooth, 75)
    assert found.ncc == pytest.approx(np.corrcoef(f[both], a[both])[0, 1], rel=1e-5)
    assert found.voxels == both.sum()
    assert found.mutual_information == pytest.approx(mutual_information(f[both], a[both]), rel=1e-4)


def test_a_moving_image_is_warped_while_it_is_read(tmp_path):
    fixed, moving = textures(1, (40, 48, 44), np.uint16)
    f, m = (write(tmp_path / f"{name}.zarr", array) for name, array in (("f", fixed), ("m", moving)))
    stack = Stack((Affine.from_parts(np.eye(3) * 1.02, (3.3, -2.0, 1.7)),))
    found = score_images(Still(f), Warped(m, stack, f.grid), f.grid.shape, block=(16, 32, 16))
    arguments = {"grid": f.grid, "region": f.grid.region, "transform": stack}
    aligned = warp(moving, m.grid, **arguments).astype(np.float32)
    covered = np.isfinite(warp(moving.astype(np.float32), m.grid, fill=np.nan, **arguments))
    wanted = similarity(fixed.astype(np.float32), aligned, covered)
    assert 0.5 < wanted.foreground_covered < 1
    for key in ("ncc", "lncc_mean", "lncc_p10", "foreground_covered"):
        assert getattr(found, key) == pytest.approx(getattr(wanted, key), rel=1e-5)


def test_a_flat_image_has_no_similarity(tmp_path):
    fixed, _ = textures(2, (32, 32, 32), np.uint8)
    f, flat = write(tmp_path / "f.zarr", fixed), write(tmp_path / "flat.zarr", np.full_like(fixed, 7))
    found = score_images(Still(f), Still(flat), f.grid.shape)
    assert (found.ncc, found.mutual_information) == (None, None)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    st.lists(st.floats(0, 100), min_size=1, max_size=3),
)
def test_percentiles_of_parts_are_exact(values, percents):
    array = np.array(values, np.float32)
    wanted = Percentiles(percents)
    parts = np.array_split(array, 3)
    for part in parts:
        wanted.add_leading(count_leading(part))
    wanted.end_first_pass()
    for part in parts:
        wanted.add_rest(count_rest(part, wanted.near))
    assert wanted.values() == pytest.approx(np.percentile(array.astype(np.float64), percents), rel=1e-12, abs=1e-30)


def test_memory_is_bounded_by_the_block(tmp_path):
    peaks = []
    for times in (1, 2):
        shape = (32 * times,) * 3
        pair = [
            Still(write(tmp_path / f"{times}{i}.zarr", array))
            for i, array in enumerate(textures(3, shape, np.uint16))
        ]
        score_images(*pair, shape, block=(16, 16, 16))
        tracemalloc.start()
        score_images(*pair, shape, block=(16, 16, 16))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
