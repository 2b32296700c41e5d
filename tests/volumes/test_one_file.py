"""TIFF and NRRD that we write, as their readers see them."""

from __future__ import annotations

import contextlib
import resource

import numpy as np
import pytest
import SimpleITK
import tifffile

from teralign.errors import DataError, InputError
from teralign.grids import Grid
from teralign.volumes import (
    Chunking,
    DisplaySettings,
    create_planned,
    open_volume,
    plan_volume,
    tiff_file,
    write_file,
)
from volume_files import noise

GRID = Grid((9, 22, 35), (0.42, 0.23, 0.23), (1.5, -3.0, 0.0))
DISPLAY = (DisplaySettings("0000FF"), DisplaySettings("FF8000"), DisplaySettings())
NAMES = ("DAPI", "α-tubulin", "2")
TIFF_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
NRRD_TYPES = (*TIFF_TYPES, "uint64", "int64")
# ITK reads no float64 from TIFF, and before SimpleITK 2.5.7 wrong 32-bit integers.
NEW_ITK = tuple(int(part) for part in SimpleITK.__version__.split(".")[:3]) >= (2, 5, 7)
UNREAD_BY_ITK = {"float64"} if NEW_ITK else {"float64", "int32", "uint32"}


def stored(path, array, **options):
    """The writer of the voxels (t, c, z, y, x) beside `path`, as a .zarr, and the layout of the file."""
    timepoints, channels = array.shape[:2]
    options = {"channels": channels, "timepoints": timepoints, "chunking": Chunking(chunk_side=8), **options}
    layout = plan_volume(path, grid=GRID, dtype=array.dtype, **options)
    writer = create_planned(path.with_suffix(".zarr"), layout)
    for t, c in np.ndindex(timepoints, channels):
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, np.ascontiguousarray(array[t, c][unit.slices]), channel=c, timepoint=t)
    return writer, layout


def write(path, array, **options):
    """A file of the voxels (t, c, z, y, x), from chunks and in pieces of a few kB, so that there are many."""
    write_file(path, *stored(path, array, **options), piece_bytes=2048)
    return path


def check(path, array, **tolerance):
    """That our own reader finds the voxels, where they lie, and their type."""
    found = open_volume(path)
    assert (found.timepoints, found.channels, found.dtype) == (*array.shape[:2], array.dtype)
    assert found.grid.shape == GRID.shape
    assert found.grid.spacing == GRID.spacing
    np.testing.assert_allclose(found.grid.origin, GRID.origin, rtol=1e-15)
    for t, c in np.ndindex(*array.shape[:2]):
        np.testing.assert_array_equal(found.read(channel=c, timepoint=t), array[t, c])
    return found


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tiff"])
@pytest.mark.parametrize("dtype", TIFF_TYPES)
def test_tiffs_hold_every_type_to_the_bit(name, dtype, tmp_path):
    array = noise((1, 1, *GRID.shape), dtype)
    path = write(tmp_path / name, array)
    check(path, array)
    np.testing.assert_array_equal(tifffile.imread(path), array[0, 0])
    if dtype not in UNREAD_BY_ITK:
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)), array[0, 0])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej == (name == "a.tif" and dtype in ("uint8", "uint16", "float32"))
        assert tiff.is_ome == (not tiff.is_imagej)
        assert not tiff.is_bigtiff


def test_an_ome_tiff_has_times_channels_and_what_is_said_of_them(tmp_path):
    array = noise((2, 3, *GRID.shape), "uint16")
    path = write(tmp_path / "a.ome.tif", array, channel_names=NAMES, display=DISPLAY, time_step=2.5)
    found = check(path, array)
    assert (found.channel_names, found.display, found.time_step) == (NAMES, DISPLAY, 2.5)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "TCZYX"
        assert len(tiff.pages) == 2 * 3 * 9
        np.testing.assert_array_equal(tiff.asarray(), array)
        said = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (said["PhysicalSizeX"], said["PhysicalSizeXUnit"], said["PhysicalSizeZ"]) == (0.23, "µm", 0.42)
    assert (said["Plane"]["PositionZ"], said["Plane"]["PositionY"]) == (1.5, -3.0)


def test_an_imagej_hyperstack_has_times_and_channels(tmp_path):
    array = noise((2, 3, *GRID.shape), "uint16")
    path = write(tmp_path / "a.tif", array, channel_names=NAMES, time_step=2.5)
    assert check(path, array).time_step == 2.5
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "TZCYX"
        said = tiff.imagej_metadata
        np.testing.assert_array_equal(tiff.asarray(), array.transpose(0, 2, 1, 3, 4))
    assert {key: said[key] for key in ("images", "channels", "slices", "frames", "unit", "spacing", "mode")} == {
        "images": 54,
        "channels": 3,
        "slices": 9,
        "frames": 2,
        "unit": "um",
        "spacing": 0.42,
        "mode": "composite",
    }


def test_what_is_too_large_for_imagej_is_a_bigtiff_with_ome_xml(tmp_path):
    array = noise((1, 2, *GRID.shape), "uint16")
    path = tmp_path / "a.tif"
    layout = plan_volume(path, grid=GRID, dtype="uint16", channels=2, channel_names=NAMES[:2])
    with path.open("wb") as file:
        voxels = tiff_file.begin(file, layout, "a.tif", classic_bytes=1000)
        file.seek(voxels.offset)
        file.write(array.tobytes())
    assert check(path, array).channel_names == NAMES[:2]
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome


@pytest.mark.parametrize("dtype", NRRD_TYPES)
def test_nrrd_holds_every_type_to_the_bit_in_its_place(dtype, tmp_path):
    array = noise((1, 1, *GRID.shape), dtype)
    path = write(tmp_path / "a.nrrd", array)
    check(path, array)
    image = SimpleITK.ReadImage(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), array[0, 0])
    assert image.GetSpacing() == GRID.spacing[::-1]
    assert image.GetOrigin() == GRID.origin[::-1]


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.nrrd"])
def test_the_same_volume_gives_the_same_bytes(name, tmp_path):
    array = noise((1, 1, *GRID.shape), "uint8")
    first, second = (write(tmp_path / folder / name, array).read_bytes() for folder in ("one", "two"))
    assert first == second


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1 / 3, 0.1625, 1e-3), (5.0, 123456.789, 2e5)])
def test_spacings_survive_in_imagejs_fractions(spacing, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.GRID", Grid(GRID.shape, spacing))
    path = write(tmp_path / "a.tif", noise((1, 1, *GRID.shape), "uint8"))
    np.testing.assert_allclose(open_volume(path).grid.spacing, spacing, rtol=1e-9)


def test_the_stage_of_a_microscope_is_no_origin(tmp_path):
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"}
    place = {"PositionX": [5000.0] * 4, "PositionXUnit": ["µm"] * 4}
    metadata = {"axes": "ZYX", **sizes, "Plane": place}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise((4, 6, 8), "uint8"), metadata=metadata)
    assert open_volume(tmp_path / "a.ome.tif").grid.origin == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("a.tif", {"dtype": "int64"}, r"TIFF cannot hold int64 values that others read; write to a .zarr"),
        ("a.ome.tif", {"dtype": bool}, r"TIFF cannot hold bool values"),
        ("a.nrrd", {"dtype": "float16"}, r"NRRD cannot hold float16 values; write to a .zarr"),
        ("a.nrrd", {"channels": 2}, r"NRRD has no place for 2 channels; take one of them, or write to a .zarr"),
        ("a.nrrd", {"timepoints": 3}, r"NRRD has no place for 3 timepoints"),
        ("a.tif", {"levels": 3}, r"a.tif is one file, which has no coarser scales; leave out --levels"),
        ("a.tif", {"ome_zarr": "0.4"}, r"--ome-zarr 0.4 is for outputs that end in .zarr"),
    ],
)
def test_what_they_cannot_hold_is_said(name, options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        plan_volume(tmp_path / name, **{"grid": GRID, "dtype": "uint8", **options})


@contextlib.contextmanager
def files_of_at_most_1000_bytes():
    """A limit of the system, as on a full disk: writing beyond it fails.

    It ends within the test, since pytest's own log may be such a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    array = noise((1, 1, *GRID.shape), "uint8")
    writer, layout = stored(tmp_path / "a.tif", array)
    with files_of_at_most_1000_bytes(), pytest.raises(DataError, match=r"a.tif cannot be written: File too large"):
        write_file(tmp_path / "a.tif", writer, layout)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
