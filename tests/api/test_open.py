"""`teralign.open`: volumes of any format as lazy DataArrays with positions in µm."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from small_rounds import placed

import teralign as ta
from teralign.errors import InputError
from volume_files import space_axes, write_n5, write_ome_zarr

SHAPE = (2, 2, 20, 32, 36)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """An OME-Zarr of two timepoints and two named channels, with two levels, and its voxels."""
    path = tmp_path_factory.mktemp("stored") / "image.zarr"
    array = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.uint16)
    half = array.reshape(2, 2, 10, 2, 16, 2, 18, 2).mean(axis=(3, 5, 7)).astype(np.uint16)
    transforms = {
        "s0": placed([1, 1, 2.0, 1.0, 1.0], [0, 0, 5.0, 0.0, -3.0]),
        "s1": placed([1, 1, 4.0, 2.0, 2.0], [0, 0, 6.0, 0.5, -2.5]),
    }
    channels = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    write_ome_zarr(path, {"s0": array, "s1": half}, space_axes("tczyx"), transforms, omero=channels)
    return path, array, half


def test_all_of_a_volume_with_its_positions(stored):
    path, array, _ = stored
    image = ta.open(path)
    assert image.dims == ("t", "c", "z", "y", "x")
    assert isinstance(image.data, da.Array)
    np.testing.assert_array_equal(image.values, array)
    np.testing.assert_array_equal(image.z, 5 + 2 * np.arange(20))
    assert image.x.attrs["units"] == "µm"
    assert image.c.values.tolist() == ["DAPI", "GFP"]
    assert image.attrs["spacing"] == (2.0, 1.0, 1.0)
    assert image.attrs["origin"] == (5.0, 0.0, -3.0)
    assert image.name == "image"


def test_parts_read_what_is_asked_for(stored):
    path, array, _ = stored
    image = ta.open(path, channel="GFP", timepoint=1)
    assert image.dims == ("z", "y", "x")
    np.testing.assert_array_equal(image.values, array[1, 1])
    np.testing.assert_array_equal(image[3:9, ::2, -1].values, array[1, 1, 3:9, ::2, -1])
    np.testing.assert_array_equal(image[:, [4, 1]].values, array[1, 1][:, [4, 1]])
    np.testing.assert_array_equal(image[::-1].values, array[1, 1, ::-1])
    assert image.sel(z=slice(7, 11)).shape[0] == 3
    assert str(image.c.values) == "GFP"


def test_levels_by_number_and_name(stored):
    path, _, half = stored
    for level in (1, "s1"):
        image = ta.open(path, level=level, channel=0, timepoint=0)
        np.testing.assert_array_equal(image.values, half[0, 0])
        assert image.attrs["spacing"] == (4.0, 2.0, 2.0)
        assert float(image.z[0]) == 6.0


def test_chunks_are_whole_chunks_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("teralign.api.opening._CHUNK_BYTES", 1 << 13)
    array = np.zeros((40, 40, 40), np.uint16)
    path = write_n5(tmp_path / "image.n5", array, chunk=8)
    image = ta.open(path, spacing=1.0)
    assert image.data.npartitions > 1
    assert all(n % size == 0 for sizes, size in zip(image.data.chunks, (8, 8, 8), strict=True) for n in sizes[:-1])


def test_what_does_not_exist_gets_a_sentence(stored, tmp_path):
    path, *_ = stored
    for options, sentence in (
        ({"channel": "gfp"}, "no channel 'gfp': it holds DAPI, GFP"),
        ({"channel": 2}, "channels 0 to 1"),
        ({"timepoint": 5}, "timepoints 0 to 1"),
        ({"level": 4}, "levels 0 to 1"),
        ({"spacing": 0}, "positive"),
    ):
        with pytest.raises(InputError, match=sentence):
            ta.open(path, **options)
    with pytest.raises(InputError):
        ta.open(tmp_path / "missing.zarr")
    with pytest.raises(InputError, match="path or URI"):
        ta.open(np.zeros((3, 3, 3)))
