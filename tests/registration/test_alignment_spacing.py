"""`alignment_spacing`, one value for all axes or one an axis (z, y, x), in every step."""

from __future__ import annotations

import numpy as np
import pytest

from phantoms import Scene, affine_about, errors, pair
from teralign.grids import Grid, Region
from teralign.registration import Image, align
from teralign.registration.config import AffineConfig, DeformConfig, RandomConfig, RansacConfig, RigidConfig
from teralign.registration.metrics import Windows
from teralign.transforms import Affine, Stack

GRID = Grid((24, 96, 96), (4.0, 1.0, 1.0))
STEPS = {
    "ransac": RansacConfig(),
    "random": RandomConfig(random_iterations=200, max_translation=3.0, max_rotation_degrees=3.0),
    "rigid": RigidConfig(),
    "affine": AffineConfig(),
    "affine of SimpleITK": AffineConfig(metric="C"),
    "deform": DeformConfig(),
    "deform of SimpleITK": DeformConfig(
        engine="simpleitk",
        metric="MS",
        control_point_spacing=60.0,
        sampling="RANDOM",
        sampling_percentage=0.02,
        optimizer_args={"numberOfIterations": 2},
    ),
}
OF_REDUCED_IMAGES = ("ransac", "deform")  # the other steps also set the levels of their search by it


@pytest.fixture(scope="module")
def anisotropic():
    """Two images with voxels four times longer along z, and the map between them."""
    truth = affine_about(np.full(3, 48.0), shift=(1, -2, 2.5), rotation=(1, 0, 0), scale=(1, 1.01, 0.99))
    return *pair(Scene.cells(96.0, count=500, radius=4.0), GRID, GRID, truth, noise=0.1), truth


def found(fixed, moving, step, **settings):
    if isinstance(step, DeformConfig) and step.engine == "simpleitk":  # the slowest of all
        fixed, moving = (
            Image(i.array[:12, :48, :48], GRID.crop(Region((0, 0, 0), (12, 48, 48)))) for i in (fixed, moving)
        )
    aligned = align(fixed, moving, [step.model_copy(update=settings)], initial_transform=Stack())
    (part,) = aligned.transform.transforms
    return part


def values(part):
    return part.matrix if isinstance(part, Affine) else part.values


@pytest.mark.parametrize("name", STEPS)
def test_three_equal_values_are_one_value(anisotropic, name):
    fixed, moving, _ = anisotropic
    one, three = (found(fixed, moving, STEPS[name], alignment_spacing=s) for s in (4.0, (4.0, 4.0, 4.0)))
    np.testing.assert_array_equal(values(one), values(three))


@pytest.mark.parametrize("name", STEPS)
def test_each_axis_has_its_own_value(anisotropic, name):
    fixed, moving, _ = anisotropic
    one, three = (found(fixed, moving, STEPS[name], alignment_spacing=s) for s in (4.0, (4.0, 1.0, 2.0)))
    assert values(one).shape != values(three).shape or not np.array_equal(values(one), values(three))


@pytest.mark.parametrize("name", OF_REDUCED_IMAGES)
def test_the_images_are_brought_to_the_spacing(anisotropic, name):
    fixed, moving, _ = anisotropic
    reduced = [image.downsample((1, 4, 2)) for image in (fixed, moving)]
    np.testing.assert_array_equal(
        values(found(fixed, moving, STEPS[name], alignment_spacing=(4.0, 4.0, 2.0))),
        values(found(*reduced, STEPS[name])),
    )


@pytest.mark.parametrize(("metric", "limit"), [("LNCC", 0.35), ("C", 0.3)])
def test_fine_axes_keep_what_a_coarse_axis_lacks(anisotropic, metric, limit):
    fixed, moving, truth = anisotropic
    step = AffineConfig(metric=metric)
    coarse, fine = (
        np.percentile(errors(found(fixed, moving, step, alignment_spacing=s).map_points, truth.map_points, GRID), 95)
        for s in (4.0, (4.0, 1.0, 1.0))
    )
    assert fine < limit < coarse


def test_windows_are_boxes_of_as_many_voxels_along_each_axis(anisotropic):
    fixed, moving, _ = anisotropic
    boxes, cubes = (Windows.of(fixed, moving, spacing=s) for s in ((4.0, 1.0, 1.0), 4.0))
    for windows, sides in ((boxes, (30, 7.5, 7.5)), (cubes, (30, 30, 30))):
        np.testing.assert_allclose(np.ptp(windows.points, axis=1), np.broadcast_to(sides, (len(windows.points), 3)))


def test_a_blur_may_differ_by_axis():
    array = np.zeros((9, 9, 9), np.float32)
    array[4, 4, 4] = 1
    image = Image(array, Grid((9, 9, 9), (1.0, 1.0, 1.0)))
    np.testing.assert_array_equal(image.smooth(1.5).array, image.smooth((1.5, 1.5, 1.5)).array)
    along_z = image.smooth((1.5, 0.0, 0.0)).array
    assert np.count_nonzero(along_z) == np.count_nonzero(along_z[:, 4, 4]) > 1
