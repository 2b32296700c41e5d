"""One volume in every orientation: it registers and resamples to the same result, and SimpleITK agrees.

The phantom is a sum of Gaussians, so that it is known at any point: a moving image is sampled where a true map takes
its voxels, in any orientation, without interpolation.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.convert_transform import convert_transform
from teralign.tasks.global_align import global_align
from teralign.transforms import Affine, DisplacementField, load_transform, save_field

SPACING = (2.0, 1.5, 1.25)  # z, y, x
CENTRE = np.array([24.0, 25.0, 25.0])
STRAIGHT = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


def rotation(seed):
    """A rotation (x, y, z) about any axis, and in half of the cases a left-handed set of axes."""
    random = np.random.default_rng(seed)
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


OBLIQUE = [rotation(seed) for seed in range(10)]


def small_turn():
    """A rotation by 2° about an axis through CENTRE, and a shift."""
    turn = Rotation.from_rotvec(np.deg2rad(2.0) * np.array([0.6, -0.64, 0.48])).as_matrix()
    return Affine.from_parts(turn, CENTRE - turn @ CENTRE + (1.4, -1.1, 0.9))


TRUTH = small_turn()
FIXED_EXTENT, MOVING_EXTENT = 42.0, 54.0  # µm: every point of the fixed image has its partner


def phantom(points):
    """The brightness at world points (n, 3), z, y, x."""
    random = np.random.default_rng(1)
    centres = CENTRE + random.uniform(-24, 24, (40, 3))
    widths, heights = random.uniform(2.5, 4.5, 40), random.uniform(0.4, 1.0, 40)
    value = np.zeros(len(points))
    for centre, width, height in zip(centres, widths, heights, strict=True):
        value += height * np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * width**2))
    return value


def image(path, directions, brightness, extent):
    """Store an image around CENTRE, of `extent` µm, whose axes (x, y, z) have these directions."""
    nearest = np.abs(directions).argmax(axis=0)
    spacing = np.array(SPACING[::-1])[nearest]
    size = np.ceil(extent / spacing).astype(int)
    origin = CENTRE[::-1] - directions @ (spacing * (size - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).reshape(-1, 3)
    points = (origin + (index * spacing) @ directions.T)[:, ::-1]
    array = (1000 * brightness(points)).reshape(size).T.astype("float32")
    found = SimpleITK.GetImageFromArray(array)
    found.SetSpacing(spacing.tolist())
    found.SetOrigin(origin.tolist())
    found.SetDirection(directions.ravel().tolist())
    SimpleITK.WriteImage(found, str(path))
    return path


def moved(points):
    """The brightness of the moving image: the phantom, moved by TRUTH."""
    return phantom(TRUTH.inverse().map_points(points))


def world_points(image):
    """The world points (n, 3), z, y, x of the voxels of an image of ITK, in the order of its array."""
    index = np.stack(np.meshgrid(*map(np.arange, image.GetSize()[::-1]), indexing="ij"), axis=-1).reshape(-1, 3)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    steps = index[:, ::-1] * np.array(image.GetSpacing())
    return (np.array(image.GetOrigin()) + steps @ directions.T)[:, ::-1]


def inside(array, margin=3):
    return array[(slice(margin, -margin),) * 3]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The fixed and the moving image in each orientation: 48 straight and 10 oblique ones."""
    folder = tmp_path_factory.mktemp("images")
    return [
        (
            image(folder / f"fixed{n}.nrrd", directions, phantom, FIXED_EXTENT),
            image(folder / f"moving{n}.nrrd", directions, moved, MOVING_EXTENT),
        )
        for n, directions in enumerate((*STRAIGHT, *OBLIQUE))
    ]


def test_every_orientation_registers_and_resamples_to_the_same_result(images, tmp_path):
    """The fixed image in each orientation, with the moving image in another."""
    corners = CENTRE + np.array(list(itertools.product((-18.0, 18.0), repeat=3)))
    wanted = TRUTH.map_points(corners)
    found = []
    for n, (fixed, _) in enumerate(images):
        moving = images[(11 * n + 53) % len(images)][1]
        global_align(fixed, moving, output=tmp_path / f"{n}.mat", steps=["rigid"], aligned=tmp_path / f"{n}.nrrd")
        found.append(load_transform(tmp_path / f"{n}.mat").map_points(corners))
        # the output lies on the voxels of the fixed file, for ITK, and shows what is there
        aligned, reference = (SimpleITK.ReadImage(str(path)) for path in (tmp_path / f"{n}.nrrd", fixed))
        same = SimpleITK.Resample(aligned, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, np.nan)
        resampled = SimpleITK.GetArrayFromImage(same)
        assert np.isfinite(resampled).all()
        assert sorted(resampled.ravel()) == sorted(SimpleITK.GetArrayFromImage(aligned).ravel())
        near = np.linalg.norm(world_points(reference) - CENTRE, axis=1) < FIXED_EXTENT / 2
        shown, wanted_values = (
            values.ravel()[near] for values in (resampled, SimpleITK.GetArrayFromImage(reference))
        )
        assert np.corrcoef(shown, wanted_values)[0, 1] > 0.995
    assert np.abs(found - wanted).max() < 0.05 * min(SPACING)


@pytest.mark.parametrize(("fixed", "moving"), [(0, 48), (49, 17), (50, 51), (53, 52), (31, 6)])
def test_simpleitk_resamples_the_same_voxels_with_the_exported_transform(images, fixed, moving, tmp_path, scheduler):
    """An affine and a field, by `apply-transform`, and as SimpleITK reads them."""
    fixed, moving = images[fixed][0], images[moving][1]
    nodes = Grid((8, 8, 8), (12.0, 12.0, 12.0), tuple(CENTRE - 42.0))
    waves = 1.5 * np.sin(np.random.default_rng(2).uniform(0, 6, (8, 8, 8, 3)))
    save_field(tmp_path / "u.zarr", DisplacementField(waves.astype("float32"), nodes))
    TRUTH.save(tmp_path / "a.mat")
    transforms = [tmp_path / "a.mat", tmp_path / "u.zarr"]
    apply_transform(fixed, moving, transforms=transforms, output=tmp_path / "ours.nrrd", compute=Compute(scheduler))
    ours = SimpleITK.ReadImage(str(tmp_path / "ours.nrrd"))
    image = SimpleITK.ReadImage(str(moving))
    for sides in ({}, {"itk_fixed": fixed, "itk_moving": moving}):
        convert_transform(transforms, tmp_path / "t.h5", overwrite=True, **sides)
        exported = SimpleITK.ReadTransform(str(tmp_path / "t.h5"))
        theirs = SimpleITK.Resample(image, ours, exported, SimpleITK.sitkLinear, 0.0)
        found, wanted = (inside(SimpleITK.GetArrayFromImage(i)) for i in (ours, theirs))
        np.testing.assert_allclose(found, wanted, atol=0.01)  # of 1000
