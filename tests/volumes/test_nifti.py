import gzip
import sys

import numpy as np
import pytest
import SimpleITK

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import open_volume
from volume_files import ORIGIN, SPACING, edit_nifti, noise, write_nifti, write_nifti_by_hand

SHAPE = (4, 6, 10)
IN_PIXDIM, IN_SLOPE, IN_CODES, IN_DATATYPE = 76, 112, 252, 70


def read_by_itk(path):
    return SimpleITK.ReadImage(str(path), imageIO="NiftiImageIO")


@pytest.mark.parametrize(("units", "factor"), [(1, 1e6), (2, 1e3), (3, 1), (10, 1e3), (11, 1)])
def test_lengths_are_in_the_units_of_the_header(units, factor, tmp_path):
    grid = open_volume(write_nifti(tmp_path / "a.nii.gz", noise(SHAPE, "int16"), units=units)).grid
    np.testing.assert_allclose(grid.spacing, np.array(SPACING) * factor, rtol=1e-12)
    np.testing.assert_allclose(grid.origin, np.array(ORIGIN) * factor, rtol=1e-12)


def test_lengths_without_a_unit_are_asked_for_and_the_origin_moves_with_them(tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise(SHAPE, "int16"), units=0)
    with pytest.raises(InputError, match=r"a.nii does not say how large its voxels are; give --spacing"):
        open_volume(path)
    grid = open_volume(path, spacing=(4, 1, 0.5)).grid
    np.testing.assert_allclose(grid.origin, np.array(ORIGIN) * 2)


def test_a_voxel_size_that_is_none_is_asked_for(tmp_path):
    path = write_nifti_by_hand(tmp_path / "a.nii", noise(SHAPE, "int16"), 1, "<")
    edit_nifti(path, IN_PIXDIM, "<4f", 1, 0, 0.5, 2)
    with pytest.raises(InputError, match=r"its voxels are 0 µm along x .*; give --spacing X,0.5,2 in µm"):
        open_volume(path)


def test_sizes_are_the_decimals_that_were_meant(tmp_path):
    path = write_nifti_by_hand(tmp_path / "a.nii", noise(SHAPE, "int16"), 1, "<")
    edit_nifti(path, IN_PIXDIM, "<4f", 1, 0.23, 0.23, 0.42)
    assert open_volume(path).grid.spacing == (0.42, 0.23, 0.23)


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_positions_are_those_of_itk_by_rotation_and_by_affine(turned, codes, tmp_path):
    image = SimpleITK.GetImageFromArray(noise(SHAPE, "uint8"))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN[::-1])
    if turned:
        image.SetDirection((0, 0, -1, 1, 0, 0, 0, 1, 0))
    path = tmp_path / "a.nii"
    SimpleITK.WriteImage(image, str(path))
    edit_nifti(path, IN_CODES, "<2h", *codes)
    found = read_by_itk(path)
    volume = open_volume(path)
    voxels = volume.read()
    for index in ((0, 0, 0), (3, 2, 1), tuple(n - 1 for n in voxels.shape)):
        point = volume.grid.to_physical(index)[::-1] / 1000
        assert found[found.TransformPhysicalPointToIndex(point.tolist())] == voxels[index]
    first = found.GetOrigin()
    if turned:
        assert voxels.shape == (6, 10, 4)
        first = (first[0] - 3 * 2.0, first[1], first[2])
    np.testing.assert_allclose(volume.grid.origin, np.array(first[::-1]) * 1000, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_scaled_values_are_those_that_are_meant(dtype, tmp_path):
    stored = noise(SHAPE, dtype)
    path = write_nifti_by_hand(tmp_path / "a.nii", stored, 1, "<")
    edit_nifti(path, IN_SLOPE, "<2f", 0.5, -3)
    volume = open_volume(path)
    assert volume.dtype == np.dtype("float64" if dtype == "int32" else "float32")
    found = volume.read(Region((1, 2, 3), (3, 5, 9)))
    assert found.dtype == volume.dtype
    np.testing.assert_array_equal(found, (stored * volume.dtype.type(0.5) - 3)[1:3, 2:5, 3:9])
    np.testing.assert_allclose(volume.read(), SimpleITK.GetArrayFromImage(read_by_itk(path)), rtol=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (float("nan"), float("nan")), (1, 0)])
def test_a_scale_that_is_none_leaves_the_values_as_they_are(slope, intercept, tmp_path):
    stored = noise(SHAPE, "uint16")
    path = write_nifti_by_hand(tmp_path / "a.nii", stored, 1, ">")
    edit_nifti(path, IN_SLOPE, ">2f", slope, intercept)
    found = open_volume(path).read()
    assert found.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(found, stored)


@pytest.mark.parametrize("version", [1, 2])
def test_the_fourth_axis_is_time_and_the_fifth_are_channels(version, tmp_path):
    array = noise((2, 3, *SHAPE), "uint16")
    volume = open_volume(write_nifti_by_hand(tmp_path / "a.nii", array, version, "<"))
    assert (volume.channels, volume.timepoints, volume.grid) == (2, 3, Grid(SHAPE, SPACING))
    np.testing.assert_array_equal(volume.read(channel=1, timepoint=2), array[1, 2])
    volume = open_volume(write_nifti_by_hand(tmp_path / "b.nii", array[0], version, "<"))
    assert (volume.channels, volume.timepoints) == (1, 3)
    np.testing.assert_array_equal(volume.read(timepoint=1), array[0, 1])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_components_and_colours_are_channels(name, tmp_path):
    array = noise((*SHAPE, 3), "uint16")
    volume = open_volume(write_nifti(tmp_path / name, array, vector=True))
    assert (volume.channels, volume.grid) == (3, Grid(SHAPE, SPACING, ORIGIN))
    np.testing.assert_array_equal(volume.read(channel=2), array[..., 2])
    colours = noise((*SHAPE[:2], 30), "uint8")
    path = write_nifti_by_hand(tmp_path / name.replace("a", "b", 1).removesuffix(".gz"), colours, 1, "<")
    edit_nifti(path, IN_DATATYPE, "<2h", 128, 24)
    edit_nifti(path, 42, "<h", 10)
    volume = open_volume(path)
    assert (volume.channels, volume.grid.shape) == (3, SHAPE)
    np.testing.assert_array_equal(volume.read(channel=1), colours.reshape(*SHAPE, 3)[..., 1])


def test_a_gzipped_file_is_not_taken_for_its_neighbour(tmp_path):
    first, second = noise(SHAPE, "uint8", seed=1), noise(SHAPE, "uint8", seed=2)
    write_nifti(tmp_path / "a.nii", first)
    np.testing.assert_array_equal(open_volume(write_nifti(tmp_path / "a.nii.gz", second)).read(), second)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nii").read(), first)


def test_a_bit_that_flipped_in_a_gzipped_file_is_found(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", noise((16, 32, 32), "uint16"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.nii.gz cannot be read"):
        open_volume(path).read()


def test_what_is_no_volume_is_said(tmp_path):
    (tmp_path / "text.nii").write_text("no image")
    (tmp_path / "long.nii").write_text("no image" * 100)
    (tmp_path / "text.nii.gz").write_text("no image")
    for name in ("text.nii", "long.nii", "text.nii.gz"):
        with pytest.raises(InputError, match=f"{name} is not a NIfTI file"):
            open_volume(tmp_path / name)
    path = write_nifti(tmp_path / "a.nii", noise(SHAPE, "uint8"))
    with pytest.raises(InputError, match=r"a.nii is one image and holds no dataset s0"):
        open_volume(path / "s0")
    edit_nifti(path, IN_DATATYPE, "<h", 32)
    with pytest.raises(InputError, match=r"a.nii holds values of type 32; only integers and floats can be read"):
        open_volume(path)
    edit_nifti(path, IN_DATATYPE, "<h", 2)
    edit_nifti(path, 108, "<f", 0)
    with pytest.raises(InputError, match=r"a.nii says that its voxels begin at byte 0, inside the header"):
        open_volume(path)
    edit_nifti(path, 344, "4s", b"ni1\0")
    with pytest.raises(InputError, match=r"a.nii has its voxels in another file"):
        open_volume(path)
    flat = write_nifti_by_hand(tmp_path / "flat.nii", noise((6, 10), "uint8"), 1, "<")
    with pytest.raises(InputError, match=r"flat.nii has 2 dimensions; only 3-D volumes can be aligned"):
        open_volume(flat)
    many = write_nifti_by_hand(tmp_path / "many.nii", noise((2, 1, 1, 2, 2, 2), "uint8"), 1, "<")
    with pytest.raises(InputError, match=r"many.nii has the dimensions \[2, 2, 2, 1, 1, 2\]"):
        open_volume(many)


@pytest.mark.parametrize("size", [300, 352, 600])
def test_a_file_that_was_cut_off_is_said_when_it_is_opened(size, tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise((8, 8, 8), "uint16"))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        (InputError, DataError), match=r"a.nii (was cut off: it has \d+ of 1376 bytes|is not a NIfTI)"
    ):
        open_volume(path)


@pytest.mark.parametrize("left", [0.2, 0.9, 0.99])
def test_a_gzipped_file_that_was_cut_off_is_said(left, tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", noise((16, 32, 32), "uint16"))
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    with pytest.raises(DataError, match=r"a.nii.gz cannot be read: .*ended before the end-of-stream"):
        open_volume(path).read()


def test_a_gzipped_file_with_too_few_voxels_is_said(tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise((8, 8, 8), "uint16"))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()[:-100]))
    with pytest.raises(DataError, match=r"a.nii.gz cannot be read: Expected 1024 bytes, got 924"):
        open_volume(tmp_path / "a.nii.gz").read()


def test_without_nibabel_the_extra_is_named(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a.nii", noise(SHAPE, "uint8"))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(
        InputError, match=r"a.nii is a NIfTI file, which needs nibabel; .* pip install 'teralign\[nifti\]'"
    ):
        open_volume(path)


def test_an_affine_of_zeros_gives_no_voxel_size(tmp_path):
    path = write_nifti_by_hand(tmp_path / "a.nii", noise(SHAPE, "int16"), 1, "<")
    edit_nifti(path, IN_CODES, "<2h", 0, 1)
    with pytest.raises(
        InputError, match=r"a.nii says that its voxels are 0 µm along x, 0 µm along y and 0 µm along z"
    ):
        open_volume(path)
    assert open_volume(path, spacing=SPACING).grid == Grid(SHAPE, SPACING)
