import numpy as np
import pytest
import SimpleITK
import tifffile

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import open_volume
from volume_files import ORIGIN, SPACING, noise, write_nrrd

SHAPE = (4, 6, 10)
PHYSICAL = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}


@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "ZCYX", "TZCYX", "TCZYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff_axes_and_sizes(axes, compression, tmp_path):
    full = noise((2, 3, *SHAPE), "uint16")
    reduced = full[tuple(slice(None) if axis in axes else 1 for axis in "TCZYX")]
    kept = [axis for axis in "TCZYX" if axis in axes]
    array = reduced.transpose([kept.index(axis) for axis in axes])
    metadata = {"axes": axes, **PHYSICAL}
    if "C" in axes:
        metadata["Channel"] = {"Name": ["DAPI", "GFP", "RFP"]}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, array, metadata=metadata, compression=compression, photometric="minisblack")
    volume = open_volume(path)
    assert volume.grid == Grid(SHAPE, SPACING)
    assert volume.channel_names == (("DAPI", "GFP", "RFP") if "C" in axes else ("0",))
    region = Region((1, 2, 3), (3, 5, 9))
    found = volume.read(region, channel=volume.channels - 1, timepoint=volume.timepoints - 1)
    np.testing.assert_array_equal(found, full[1, 2 if "C" in axes else 1][region.slices])


def test_ome_tiff_units(tmp_path):
    units = {"PhysicalSizeZUnit": "mm", "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(SHAPE, "uint8"), metadata={"axes": "ZYX", **PHYSICAL, **units})
    np.testing.assert_allclose(open_volume(tmp_path / "a.ome.tif").grid.spacing, (2000, 5e-4, 0.25))


@pytest.mark.parametrize(
    "sizes", [{}, {"PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}, {**PHYSICAL, "PhysicalSizeZUnit": "pixel"}]
)
def test_an_incomplete_voxel_size_is_asked_for(sizes, tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(SHAPE, "uint8"), metadata={"axes": "ZYX", **sizes})
    with pytest.raises(InputError, match=r"a.ome.tif does not say how large its voxels are.*; give --spacing"):
        open_volume(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(("unit", "factor"), [("um", 1), ("micron", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3)])
def test_imagej_stacks_have_a_size_when_they_name_a_unit(unit, factor, tmp_path):
    array = noise((4, 3, 6, 10), "uint16")
    metadata = {"axes": "ZCYX", "spacing": 2.0, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(4, 2), metadata=metadata)
    volume = open_volume(tmp_path / "a.tif")
    np.testing.assert_allclose(volume.grid.spacing, np.array(SPACING) * factor, rtol=1e-12)
    for c in range(3):
        np.testing.assert_array_equal(volume.read(channel=c), array[:, c])


@pytest.mark.parametrize("metadata", [{"spacing": 2.0}, {"unit": "um"}, {"unit": "pixel", "spacing": 2.0}])
def test_imagej_stacks_without_unit_or_spacing_ask(metadata, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise(SHAPE, "uint8"), imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", **metadata}
    )
    with pytest.raises(InputError, match=r"does not say how large its voxels are"):
        open_volume(path)


def test_colour_samples_are_channels(tmp_path):
    array = noise((4, 20, 30, 3), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb")
    volume = open_volume(tmp_path / "a.tif", spacing=SPACING)
    assert (volume.channels, volume.grid.shape) == (3, (4, 20, 30))
    np.testing.assert_array_equal(volume.read(channel=2), array[..., 2])


def test_what_is_no_volume_in_a_tiff_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", noise((6, 10), "uint8"))
    with pytest.raises(InputError, match=r"flat.tif is a 2-D image"):
        open_volume(tmp_path / "flat.tif")
    with pytest.raises(InputError, match=r"flat.tif is one image and holds no dataset s0"):
        open_volume(tmp_path / "flat.tif" / "s0")
    (tmp_path / "text.tif").write_text("no tiff")
    with pytest.raises(InputError, match=r"text.tif is not a TIFF that can be read"):
        open_volume(tmp_path / "text.tif")
    (tmp_path / "text.nrrd").write_text("no nrrd")
    with pytest.raises(InputError, match=r"text.nrrd is not an NRRD file"):
        open_volume(tmp_path / "text.nrrd")
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros(SHAPE, "complex64"), photometric="minisblack")
    with pytest.raises(InputError, match=r"complex.tif holds complex64 values"):
        open_volume(tmp_path / "complex.tif")


def test_a_file_that_vanished_is_an_error_at_the_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE, "uint8"), photometric="minisblack")
    write_nrrd(tmp_path / "a.nrrd", noise(SHAPE, "uint8"))
    for name in ("a.tif", "a.nrrd"):
        volume = open_volume(tmp_path / name, spacing=SPACING)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            volume.read()


def edit_header(path, old, new):
    head, body = path.read_bytes().split(b"\n\n", maxsplit=1)
    path.write_bytes(head.replace(old.encode(), new.encode()) + b"\n\n" + body)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1e3), ("um", 1), ("", 1)])
def test_nrrd_lengths_are_micrometres_unless_units_are_given(unit, factor, tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", noise(SHAPE, "int16"))
    edit_header(path, "encoding:", f'space units: "{unit}" "{unit}" "{unit}"\nencoding:')
    grid = open_volume(path).grid
    np.testing.assert_allclose(grid.spacing, np.array(SPACING) * factor)
    np.testing.assert_allclose(grid.origin, np.array(ORIGIN) * factor)


def test_nrrd_without_a_spacing_asks(tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", noise(SHAPE, "int16"))
    edit_header(path, "space directions: (0.25,0,0) (0,0.5,0) (0,0,2)\n", "")
    with pytest.raises(InputError, match=r"a.nrrd does not say how large its voxels are"):
        open_volume(path)


def test_nrrd_components_are_channels_and_a_fourth_axis_is_time(tmp_path):
    array = noise((*SHAPE, 3), "uint16")
    volume = open_volume(write_nrrd(tmp_path / "c.nrrd", array, vector=True))
    assert (volume.channels, volume.timepoints, volume.grid) == (3, 1, Grid(SHAPE, SPACING, ORIGIN))
    np.testing.assert_array_equal(volume.read(channel=1), array[..., 1])
    array = noise((3, *SHAPE), "uint16")
    image = SimpleITK.GetImageFromArray(array, isVector=False)
    image.SetSpacing((*SPACING[::-1], 1))
    SimpleITK.WriteImage(image, str(tmp_path / "t.nrrd"))
    volume = open_volume(tmp_path / "t.nrrd")
    assert (volume.channels, volume.timepoints, volume.grid) == (1, 3, Grid(SHAPE, SPACING))
    np.testing.assert_array_equal(volume.read(timepoint=2), array[2])


def test_an_nrrd_unit_that_is_not_known_is_named(tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", noise(SHAPE, "int16"))
    edit_header(path, "encoding:", 'space units: "furlong" "furlong" "furlong"\nencoding:')
    with pytest.raises(
        InputError, match=r"its voxels are \(its unit 'furlong' is not a known length\); give --spacing"
    ):
        open_volume(path)
    assert open_volume(path, spacing=(4, 1, 0.5)).grid.origin == (6, -3, 1.5)


def test_a_flat_nrrd_is_no_volume(tmp_path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise((6, 10), "uint8")), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match=r"a.nrrd has 2 dimensions; only 3-D volumes can be aligned"):
        open_volume(tmp_path / "a.nrrd")
