"""Images on the fixed grid: what is given comes back as the same kind, with the same voxels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from small_rounds import GRID, SPACING

import teralign as ta
from teralign.errors import InputError


@pytest.fixture(scope="module")
def bent(rounds, found):
    """A registration with a field, so that blocks need different parts."""
    nodes = GRID.nodes((8, 8, 8))
    values = np.random.default_rng(0).normal(0, 3, (*nodes.shape, 3)).astype(np.float32)
    field = ta.DisplacementField(values, nodes)
    return ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=[], initial_transform=[found, field])


@pytest.mark.parametrize("order", [0, 1, 3])
def test_dask_gives_the_voxels_of_numpy_block_by_block(rounds, bent, order, monkeypatch):
    monkeypatch.setattr("teralign.api.warping._BLOCK", (16, 24, 48))
    expected = bent.warp(rounds.moving, order=order)
    lazy = bent.warp(da.from_array(rounds.moving, chunks=(13, 17, 44)), order=order)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0] == (16, 16, 8)
    np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_array_equal(lazy[5:9, 30:31].compute(), expected[5:9, 30:31])


def test_a_block_reads_what_it_needs_only(rounds, found, monkeypatch):
    monkeypatch.setattr("teralign.api.warping._BLOCK", (8, 48, 44))
    seen = []

    def read(block, block_info):
        seen.append(block_info[0]["chunk-location"][0])
        return block

    moving = da.map_blocks(read, da.from_array(rounds.moving, chunks=(5, 48, 44)), dtype=rounds.moving.dtype)
    seen.clear()  # dask tries the function on nothing
    found.warp(moving)[:8].compute(scheduler="synchronous")
    assert set(seen) < set(range(8))


def test_channels_come_first_and_stay(rounds, bent):
    both = np.stack([rounds.moving, rounds.moving[::-1]])
    warped = bent.warp(both)
    assert warped.shape == (2, *GRID.shape)
    np.testing.assert_array_equal(warped[0], bent.warp(rounds.moving))
    lazy = bent.warp(da.from_array(both, chunks=(1, 20, 20, 20)))
    np.testing.assert_array_equal(lazy.compute(), warped)


def test_data_arrays_lie_where_their_coordinates_say(rounds, bent):
    side = ta.Side(rounds.files[1].uri, spacing=SPACING)
    image = ta.open(side.uri, spacing=SPACING)
    warped = bent.warp(image)
    assert isinstance(warped, xr.DataArray)
    assert isinstance(warped.data, da.Array)
    np.testing.assert_array_equal(warped.values, bent.warp(rounds.moving))
    np.testing.assert_allclose(warped.z, GRID.origin[0] + np.arange(40) * SPACING[0])
    assert warped.z.attrs["units"] == "µm"
    cropped = bent.warp(image[4:36])
    inside = bent.warp(np.where(np.arange(40)[:, None, None] >= 4, rounds.moving, 0)) == warped
    assert (cropped == warped).mean() > 0.7
    assert inside.any()
    eager = bent.warp(image.compute())
    assert isinstance(eager.data, np.ndarray)
    np.testing.assert_array_equal(eager.values, warped.values)


def test_another_sampling_of_the_moving_image_has_the_same_faces(found):
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij")
    ramp = (100 * z + 10 * y + x).astype(np.float32)
    half = ramp.reshape(20, 2, 24, 2, 22, 2).mean(axis=(1, 3, 5))
    full, coarse = found.warp(ramp), found.warp(half)
    inside = (slice(8, -8),) * 3
    np.testing.assert_allclose(coarse[inside], full[inside], rtol=1e-4)


def test_like_gives_another_grid(rounds, found):
    finer = ta.Grid((80, 96, 88), (1.25, 1.0, 1.0), (-0.625, -0.5, -0.5))
    warped = found.warp(rounds.moving, like=finer)
    assert warped.shape == finer.shape
    image = ta.open(rounds.files[0].uri, spacing=SPACING)[:10]
    np.testing.assert_array_equal(found.warp(rounds.moving, like=image), found.warp(rounds.moving)[:10])


def test_wrong_images_and_orders_get_a_sentence(rounds, found):
    for image, options, sentence in (
        (rounds.moving, {"order": 2}, "order must be 0"),
        (rounds.moving[0], {}, "has the axes"),
        ([1, 2], {}, "must be an array"),
        (xr.DataArray(rounds.moving), {}, "needs the dimensions z, y and x"),
        (rounds.moving, {"like": rounds.fixed}, "has to give positions"),
    ):
        with pytest.raises(InputError, match=sentence):
            found.warp(image, **options)
