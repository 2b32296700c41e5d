"""Names, colours, windows and times of channels, and units, from one volume into the next."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.convert_volume import convert_volume
from teralign.transforms import Affine
from teralign.volumes import DisplaySettings, open_volume
from volume_files import noise, space_axes, write_ome_zarr

GRID = Grid((6, 10, 12), (2.0, 0.5, 0.25))
NAMES = ("DAPI", "GFP 488")
WINDOWS = ((0.0, 65535.0, 100.0, 4000.0), (0.0, 4095.0, 7.5, 900.0))
ARRAY = noise((3, 2, *GRID.shape), "uint16")


def ome_zarr(folder, version):
    """An image whose axes are in nanometres and milliseconds."""
    axes = [a | {"unit": "nanometer"} if a["type"] == "space" else a for a in space_axes("tczyx")]
    axes[0]["unit"] = "millisecond"
    steps = [{"type": "scale", "scale": [2500.0, 1.0, *(1000 * s for s in GRID.spacing)]}]
    edges = ("min", "max", "start", "end")
    channels = [
        {"label": name, "color": colour, "window": dict(zip(edges, window, strict=True))}
        for name, colour, window in zip(NAMES, ("0000ff", "00FF7F"), WINDOWS, strict=True)
    ]
    omero = {"channels": channels}
    return write_ome_zarr(folder / "a.zarr", {"s0": ARRAY}, axes, {"s0": steps}, omero=omero, version=version)


def ome_tiff(folder, _):
    """The same, but for windows, which OME-XML has no place for."""
    sizes = {f"PhysicalSize{axis}": 1000 * size for axis, size in zip("ZYX", GRID.spacing, strict=True)}
    sizes |= {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    time = {"TimeIncrement": 2500, "TimeIncrementUnit": "ms"}
    colours = [int.from_bytes(bytes.fromhex(c + "ff"), "big", signed=True) for c in ("0000ff", "00FF7F")]
    metadata = {"axes": "TCZYX", **sizes, **time, "Channel": {"Name": list(NAMES), "Color": colours}}
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, ARRAY, metadata=metadata, photometric="minisblack")
    return path


SOURCES = {"0.4": ome_zarr, "0.5": ome_zarr, "0.6": ome_zarr, "ome-tiff": ome_tiff}


def display(form, *, windows=True):
    shown = WINDOWS if windows and form != "ome-tiff" else (None, None)
    return tuple(DisplaySettings(colour, window) for colour, window in zip(("0000FF", "00FF7F"), shown, strict=True))


def with_windows(display):
    """The windows of an OME-Zarr that we write: those of the input, or from 0.1 to 99.9 % of the voxels."""
    return tuple(
        DisplaySettings(settings.colour, settings.window or (0.0, 65535.0, *shown(ARRAY[:, channel])))
        for channel, settings in enumerate(display)
    )


def shown(voxels):
    return tuple(float(np.rint(edge)) for edge in np.percentile(voxels, (0.1, 99.9)))


@pytest.mark.parametrize("form", SOURCES)
def test_they_are_read(form, tmp_path):
    found = open_volume(SOURCES[form](tmp_path, form))
    np.testing.assert_allclose(found.grid.spacing, GRID.spacing, rtol=1e-15)
    assert (found.channel_names, found.time_step) == (NAMES, 2.5)
    assert found.display == display(form)


@pytest.mark.parametrize("form", SOURCES)
def test_they_go_through_a_conversion_and_a_warp(form, tmp_path, scheduler):
    path = SOURCES[form](tmp_path, form)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
    convert_volume(str(path), str(tmp_path / "b.zarr"), ome_zarr="0.4", compute=Compute(scheduler))
    moving = str(tmp_path / "b.zarr")
    output = str(tmp_path / "c.zarr")
    apply_transform(
        str(path), moving, transforms=[tmp_path / "affine.mat"], output=output, compute=Compute(scheduler)
    )
    for written in (moving, output):
        found = open_volume(written)
        assert (found.channel_names, found.time_step) == (NAMES, 2.5)
        assert found.display == with_windows(display(form))
        np.testing.assert_array_equal(found.read(channel=1, timepoint=2), ARRAY[2, 1])


def test_a_channel_keeps_its_own_and_other_values_get_another_window(tmp_path, scheduler):
    path = ome_zarr(tmp_path, "0.5")
    options = {"channel": 1, "timepoint": 0, "compute": Compute(scheduler)}
    convert_volume(str(path), str(tmp_path / "b.zarr"), dtype="uint8", **options)
    found = open_volume(tmp_path / "b.zarr")
    window = (0.0, 255.0, *shown(np.clip(ARRAY[0, 1], 0, 255)))
    assert (found.channel_names, found.display) == (NAMES[1:], (DisplaySettings("00FF7F", window),))


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [("minute", 2.0, 120.0), (None, 1.0, None), (None, 5.0, 5.0), ("second", 1.0, 1.0), ("frame", 2.0, None)],
)
def test_a_time_of_no_unit_is_seconds_unless_it_is_1(unit, scale, expected, tmp_path):
    axes = space_axes("tczyx")
    axes[0] |= {"unit": unit} if unit else {}
    steps = [{"type": "scale", "scale": [scale, 1.0, *GRID.spacing]}]
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": ARRAY}, axes, {"s0": steps})
    assert open_volume(path).time_step == expected


def test_what_omero_says_wrongly_is_left_out(tmp_path):
    channels = [{"label": "a", "color": "red", "window": {"min": 0}}, {"label": "b", "window": "wide"}]
    steps = [{"type": "scale", "scale": [1.0, 1.0, *GRID.spacing]}]
    path = write_ome_zarr(
        tmp_path / "a.zarr", {"s0": ARRAY}, space_axes("tczyx"), {"s0": steps}, omero={"channels": channels}
    )
    assert open_volume(path).display == (DisplaySettings(), DisplaySettings())
