"""Files that give their axes a direction: each voxel lies where ITK puts it."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import SimpleITK

from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Region
from teralign.tasks.convert_volume import convert_volume
from teralign.volumes import open_volume
from volume_files import ORIGIN, SPACING, edit_nifti, noise, write_nifti

SHAPE = (3, 4, 5)
IN_CODES, IN_OFFSET, IN_SFORM = 252, 268, 280
FORMATS = {"a.nii": 1000.0, "a.nii.gz": 1000.0, "a.nrrd": 1.0, "a.nhdr": 1.0, "a.mha": 1.0, "a.mhd": 1.0}
SIGNED_PERMUTATIONS = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
RAS = np.diag((-1.0, -1.0, 1.0))  # any NIfTI whose axes run to the right, the front and up


def image_of(array, directions, **options):
    image = SimpleITK.GetImageFromArray(array, **options)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN[::-1])
    image.SetDirection(np.ravel(directions).tolist())
    return image


def turned(degrees):
    """RAS axes, turned about z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ RAS


@pytest.mark.parametrize("name", FORMATS)
def test_every_voxel_lies_where_itk_puts_it(name, tmp_path):
    array = np.arange(60, dtype="uint16").reshape(SHAPE)
    for number, directions in enumerate(SIGNED_PERMUTATIONS):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / name
        SimpleITK.WriteImage(image_of(array, directions), str(path))
        itk = SimpleITK.ReadImage(str(path))
        volume = open_volume(path)
        voxels = volume.read()
        assert sorted(voxels.ravel()) == sorted(array.ravel())
        for index in np.ndindex(voxels.shape):
            point = volume.grid.to_physical(index)[::-1] / FORMATS[name]
            assert itk[itk.TransformPhysicalPointToIndex(point.tolist())] == voxels[index]
        region = Region((1, 0, 2), tuple(n - (i == 0) for i, n in enumerate(voxels.shape)))
        np.testing.assert_array_equal(volume.read(region), voxels[region.slices])


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("directions", [RAS, SIGNED_PERMUTATIONS[13], turned(0.01)])
def test_a_crop_is_found_where_it_was_taken(name, directions, tmp_path, scheduler):
    """What resampling does: `convert-volume` of a crop must find the crop that SimpleITK.Resample finds."""
    full = image_of(noise((12, 14, 16), "uint16"), directions)
    crop = full[3:13, 4:12, 2:10]
    for image, stem in ((full, "full"), (crop, "crop")):
        SimpleITK.WriteImage(image, str(tmp_path / f"{stem}{name[1:]}"))
    whole, part = (open_volume(tmp_path / f"{stem}{name[1:]}") for stem in ("full", "crop"))
    start = whole.grid.to_index(part.grid.origin)
    np.testing.assert_allclose(start, np.rint(start), atol=0.02)
    found = Region(tuple(np.rint(start).astype(int)), tuple(np.rint(start).astype(int) + part.grid.shape))
    np.testing.assert_array_equal(whole.read(found), part.read())
    convert_volume(str(tmp_path / f"crop{name[1:]}"), str(tmp_path / "out.nrrd"), compute=Compute(scheduler))
    itk = SimpleITK.Resample(crop, SimpleITK.ReadImage(tmp_path / "out.nrrd"), SimpleITK.Transform(), 1)
    assert itk.GetSize() == part.grid.shape[::-1]


def test_channels_and_times_turn_along(tmp_path):
    colours = noise((*SHAPE, 3), "uint8")
    SimpleITK.WriteImage(image_of(colours, RAS, isVector=True), str(tmp_path / "c.nrrd"))
    volume = open_volume(tmp_path / "c.nrrd")
    np.testing.assert_array_equal(volume.read(channel=2), colours[:, ::-1, ::-1, 2])
    times = noise((2, *SHAPE), "uint8")
    image = SimpleITK.GetImageFromArray(times, isVector=False)
    image.SetDirection(np.diag((-1.0, -1.0, 1.0, 1.0)).ravel().tolist())
    for name in ("t.nrrd", "t.nii"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        volume = open_volume(tmp_path / name)
        assert volume.timepoints == 2
        np.testing.assert_array_equal(volume.read(timepoint=1), times[1, :, ::-1, ::-1])


def test_a_spacing_that_replaces_the_stated_one_turns_along(tmp_path):
    SimpleITK.WriteImage(image_of(noise(SHAPE, "uint8"), RAS), str(tmp_path / "a.nrrd"))
    stated = open_volume(tmp_path / "a.nrrd").grid
    doubled = open_volume(tmp_path / "a.nrrd", spacing=[2 * s for s in SPACING]).grid
    np.testing.assert_allclose(doubled.origin, 2 * np.array(stated.origin))
    np.testing.assert_allclose(stated.origin, (3.0, -1.5 - 3 * 0.5, 0.75 - 4 * 0.25))


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_oblique_images_keep_their_places_to_each_other_and_to_itk(name, tmp_path, caplog):
    array = noise((6, 40, 50), "uint16")
    full = image_of(array, turned(10))
    crop = full[5:30, 10:40, 1:5]
    for image, stem in ((full, "full"), (crop, "crop")):
        SimpleITK.WriteImage(image, str(tmp_path / f"{stem}{name[1:]}"))
    with caplog.at_level(logging.INFO, "teralign"):
        whole, part = (open_volume(tmp_path / f"{stem}{name[1:]}") for stem in ("full", "crop"))
    assert f"full{name[1:]} has axes that run oblique to x, y and z, by up to 10°" in caplog.text
    itk = SimpleITK.ReadImage(str(tmp_path / f"crop{name[1:]}"))
    for index in ((0, 0, 0), (3, 7, 11), tuple(n - 1 for n in part.grid.shape)):
        world = np.array(part.direction) @ part.grid.to_physical(index)
        where = itk.TransformPhysicalPointToContinuousIndex((world[::-1] / FORMATS[name]).tolist())
        np.testing.assert_allclose(where, np.rint(where), atol=1e-3)
        assert itk[np.rint(where).astype(int).tolist()] == part.read()[index]
    start = whole.grid.to_index(part.grid.origin)
    np.testing.assert_allclose(start, (1, 0, 20), atol=1e-3)  # flipped along x and y
    np.testing.assert_array_equal(whole.read(Region((1, 0, 20), (5, 30, 45))), part.read())


def test_an_affine_with_a_shear_is_honoured_and_a_flat_one_is_refused(tmp_path):
    array = noise(SHAPE, "uint8")
    path = write_nifti(tmp_path / "a.nii", array)
    sform = np.array([[-0.25, 0.1, 0.0, -1.0], [0.05, -0.5, 0.3, 2.0], [0.0, 0.0, 2.0, 3.0]])
    edit_nifti(path, IN_SFORM, "<12f", *sform.ravel())
    volume = open_volume(path)
    voxels = volume.read()
    stored = volume.description.orientation.to_stored(voxels.shape)
    for index in ((0, 0, 0), (2, 3, 1), (2, 0, 4)):
        z, y, x = np.rint(stored[:3, :3] @ index + stored[:3, 3]).astype(int)
        assert voxels[index] == array[z, y, x]
        world = np.array(volume.direction) @ volume.grid.to_physical(index)
        np.testing.assert_allclose(world[::-1], sform @ (x, y, z, 1) * (-1, -1, 1), atol=1e-5)
    sform[:, 1] = 2 * sform[:, 0]
    edit_nifti(path, IN_SFORM, "<12f", *sform.ravel())
    with pytest.raises(InputError, match=r"a\.nii has axes that lie in one plane"):
        open_volume(path)


def test_headers_that_disagree_or_are_unknown_get_a_warning(tmp_path, caplog):
    path = write_nifti(tmp_path / "agrees.nii", noise(SHAPE, "uint8"))
    open_volume(path)
    assert "sform" not in caplog.text
    path = write_nifti(tmp_path / "a.nii", noise(SHAPE, "uint8"))
    edit_nifti(path, IN_OFFSET, "<f", ORIGIN[2] + 3.0)
    grid = open_volume(path).grid
    assert "a.nii has an affine (sform) and a rotation (qform) that are up to 1" in caplog.text
    np.testing.assert_allclose(grid.origin, ORIGIN)  # the sform's, as ITK has it
    path = write_nifti(tmp_path / "b.nii", noise(SHAPE, "uint8"))
    edit_nifti(path, IN_CODES, "<2h", 9, 0)
    open_volume(path)
    assert "b.nii has the qform_code 9, which NIfTI does not define" in caplog.text


@pytest.mark.parametrize("space", ["left-posterior-superior", "RAS", "scanner-xyz"])
def test_a_space_of_nrrd_that_itk_does_not_know_gets_a_warning(space, tmp_path, caplog):
    SimpleITK.WriteImage(image_of(noise(SHAPE, "uint8"), np.eye(3)), str(tmp_path / "a.nrrd"))
    content = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"left-posterior-superior", space.encode()))
    open_volume(tmp_path / "a.nrrd")
    assert (f"a.nrrd has its axes in the space {space}" in caplog.text) == (space == "scanner-xyz")
