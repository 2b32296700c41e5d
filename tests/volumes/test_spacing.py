"""One rule for the voxel size in every format, and the units that metadata give it in."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.grids import Grid
from teralign.volumes import open_volume
from teralign.volumes.description import Description
from teralign.volumes.spacing import place_voxels
from teralign.volumes.units import micrometres, seconds, unknown_unit
from volume_files import SPACING, noise, space_axes, write_n5, write_ome_zarr, write_precomputed

SHAPE = (4, 6, 10)
NAN = float("nan")


def described(spacing, origin=(0.0, 0.0, 0.0), note=""):
    return Description(None, SHAPE, np.dtype("uint8"), SHAPE, spacing, origin, spacing_note=note)


@pytest.mark.parametrize(
    ("spacing", "note", "said"),
    [
        (None, "", "v does not say how large its voxels are; give --spacing X,Y,Z in µm."),
        (
            (None, None, None),
            "its unit 'pixel' is not a known length",
            "v does not say how large its voxels are (its unit 'pixel' is not a known length); "
            "give --spacing X,Y,Z in µm.",
        ),
        (
            (None, 0.5, 0.25),
            "",
            "v does not say how large its voxels are along z (they are 0.25 µm along x and 0.5 µm along y); "
            "give --spacing 0.25,0.5,Z in µm.",
        ),
        (
            (0.0, 0.5, 0.25),
            "",
            "v says that its voxels are 0 µm along z (they are 0.25 µm along x and 0.5 µm along y); "
            "give --spacing 0.25,0.5,Z in µm.",
        ),
        (
            (NAN, -1.0, None),
            "",
            "v says that its voxels are -1 µm along y and nan µm along z and does not say how large they are "
            "along x; give --spacing X,Y,Z in µm.",
        ),
    ],
)
def test_a_size_that_is_missing_or_impossible_is_asked_for_axis_by_axis(spacing, note, said):
    with pytest.raises(InputError) as error:
        place_voxels("v", described(spacing, note=note), None, "--spacing")
    assert str(error.value) == said
    assert place_voxels("v", described(spacing), SPACING, "--spacing") == Grid(SHAPE, SPACING)


def test_an_origin_moves_with_the_spacing_that_replaces_the_stated_one():
    grid = place_voxels("v", described((2.0, None, 0.0), (3.0, 4.0, 5.0)), (4.0, 0.5, 2.0), "--spacing")
    assert grid.origin == (6.0, 2.0, 10.0)
    assert place_voxels("v", described(SPACING, (1.0, NAN, 2.0)), None, "--spacing").origin == (1.0, 0.0, 2.0)


def stored_n5(tmp_path, attributes):
    """An N5 dataset whose attributes get these, which the writer might refuse; NaN as text."""
    path = write_n5(tmp_path / "a.n5" / "raw", noise(SHAPE, "uint8"))
    stored = json.loads((path / "attributes.json").read_text())
    (path / "attributes.json").write_text(json.dumps(stored | attributes).replace("NaN", '"nan"'))
    return path


def n5(tmp_path, sizes):
    return stored_n5(tmp_path, {"pixelResolution": sizes})


def paintera(tmp_path, sizes):
    return stored_n5(tmp_path, {"resolution": sizes, "offset": [0, 0, 0]})


def cosem(tmp_path, sizes):
    axes = {"axes": ["x", "y", "z"], "scale": sizes, "translate": [0, 0, 0], "units": ["um"] * 3}
    return stored_n5(tmp_path, {"transform": axes})


def ome_zarr(tmp_path, sizes):
    steps = {"0": [{"type": "scale", "scale": sizes[::-1]}]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"0": noise(SHAPE, "uint8")}, space_axes(), steps)
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace('"NaN"', "NaN"))  # as Python writes it
    return path


def precomputed(tmp_path, sizes):
    scale = write_precomputed(tmp_path / "a", noise(SHAPE, "uint8"))
    info = json.loads((tmp_path / "a" / "info").read_text())
    info["scales"][0]["resolution"] = [1000 * size for size in sizes]
    (tmp_path / "a" / "info").write_text(json.dumps(info))
    return scale


def hdf5(tmp_path, sizes):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=noise(SHAPE, "uint8")).attrs["element_size_um"] = sizes[::-1]
    return tmp_path / "a.h5" / "raw"


FORMATS = [n5, paintera, cosem, ome_zarr, hdf5, precomputed]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("wrong", [0.0, -2.0, NAN])
def test_no_format_takes_an_impossible_size_for_1(write, wrong, tmp_path):
    if write in (paintera, precomputed) and wrong != wrong:
        pytest.skip("tensorstore refuses it")
    uri = write(tmp_path, [0.25, 0.5, wrong])
    with pytest.raises(InputError, match=r"voxels are .* along z.*; give --spacing 0.25,0.5,Z in µm"):
        open_volume(uri)
    assert open_volume(uri, spacing=SPACING).grid == Grid(SHAPE, SPACING)


def test_a_resolution_without_units_is_taken_for_micrometres_and_said_once(tmp_path, caplog):
    path = paintera(tmp_path, [0.25, 0.5, 2.0])
    with caplog.at_level(logging.WARNING):
        assert open_volume(path).grid.spacing == SPACING
        open_volume(path)
    assert caplog.text.count("gives its voxel size without a unit; it is taken for µm") == 1


def test_a_unit_that_is_not_known_is_named(tmp_path):
    path = stored_n5(tmp_path, {"resolution": [1, 1, 1], "units": ["pixel", "pixel", "pixel"]})
    with pytest.raises(InputError, match=r"its voxels are \(its unit 'pixel' is not a known length\); give"):
        open_volume(path)


@pytest.mark.parametrize(
    "unit",
    [
        "um", "UM", "µm", "μm", "micron", "microns", "micron(s)", "Micrometer", "micrometres", "\\u00B5m", "\\u03BCm",
        "Âµm", "Î¼m", "Ã‚Âµm", "?m", "\ufffdm", "¿m", " µm ", "\xa0µm", '"um"', "um\0", "&micro;m", "\\xb5m",
    ],
)  # fmt: skip
def test_micrometres_by_any_name(unit):
    assert micrometres(unit) == 1.0


@pytest.mark.parametrize(
    ("unit", "size"),
    [("nm", 1e-3), ("mm", 1e3), ("Mm", None), ("inches", 25400), ("m", 1e6), ("", None), ("px", None)],
)
def test_other_lengths(unit, size):
    assert micrometres(unit) == size


def test_units_of_time_and_remarks():
    assert (seconds("µs"), seconds("Âµs"), seconds("sec"), seconds("frame")) == (1e-6, 1e-6, 1.0, None)
    assert unknown_unit("um", " ", "") == ""
    assert unknown_unit("px", "um", "voxel") == "its unit 'px' or 'voxel' is not a known length"


@pytest.mark.parametrize(("size", "warned"), [(0.004, True), (0.005, False), (1000.0, False), (25400.0, True)])
def test_voxels_that_no_microscope_makes_are_named_once(size, warned, tmp_path, caplog):
    path = n5(tmp_path, [0.5, 0.5, size])
    with caplog.at_level(logging.WARNING):
        open_volume(path)
        open_volume(path)
    assert caplog.text.count(f"raw has voxels of 0.5 x 0.5 x {size:g} µm (x, y, z), which is beyond") == warned
