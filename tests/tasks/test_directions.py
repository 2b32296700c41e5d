"""One volume in every orientation: it registers and resamples to the same result, and SimpleITK agrees.

The phantom is a sum of Gaussians, so that it is known at any point: a moving image is sampled where a true map takes
its voxels, in any orientation, without interpolation.
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from teralign.alignment import Side, open_source
from teralign.cli.inspect_volume import inspect_volume as inspect_volume_command
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.build_pyramid import build_pyramid
from teralign.tasks.compose_transforms import compose_transforms
from teralign.tasks.convert_transform import convert_transform
from teralign.tasks.convert_volume import convert_volume
from teralign.tasks.global_align import global_align
from teralign.tasks.inspect_volume import inspect_volume
from teralign.tasks.jacobian_map import jacobian_map
from teralign.tasks.local_align import local_align
from teralign.tasks.report_alignment import report_alignment
from teralign.transforms import Affine, DisplacementField, load_stack, load_transform, save_field
from teralign.volumes import agree, compare_orientations, create_volume, open_volume

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


@pytest.mark.parametrize(("fixed", "moving"), [("a.nii.gz", "b.nii"), ("a.mha", "b.nii.gz")])
def test_oblique_images_of_all_formats_register_and_simpleitk_agrees(fixed, moving, tmp_path):
    """NIfTI is in mm: its world is a thousand times smaller for ITK."""
    scales = {True: 0.001, False: 1.0}
    for name, n, brightness, extent in (
        (fixed, 3, phantom, FIXED_EXTENT),
        (moving, 7, moved, MOVING_EXTENT),
    ):
        found = SimpleITK.ReadImage(str(image(tmp_path / "stored.nrrd", OBLIQUE[n], brightness, extent)))
        scale = scales[".nii" in name]
        found.SetSpacing([scale * size for size in found.GetSpacing()])
        found.SetOrigin([scale * at for at in found.GetOrigin()])
        SimpleITK.WriteImage(found, str(tmp_path / name))
    sides = {"itk_fixed": tmp_path / fixed, "itk_moving": tmp_path / moving}
    aligned = tmp_path / "aligned.nrrd"
    global_align(*sides.values(), output=tmp_path / "a.mat", steps=["rigid"], aligned=aligned)
    points = CENTRE + np.random.default_rng(5).uniform(-15, 15, (50, 3))
    off = load_transform(tmp_path / "a.mat").map_points(points) - TRUTH.map_points(points)
    assert np.abs(off).max() < 0.05 * min(SPACING)
    convert_transform([tmp_path / "a.mat"], tmp_path / "t.tfm", **sides)
    images = [SimpleITK.ReadImage(str(path)) for path in sides.values()]
    theirs = SimpleITK.Resample(*images[::-1], SimpleITK.ReadTransform(str(tmp_path / "t.tfm")))
    for point in points[:10]:
        ours = SimpleITK.ReadImage(str(aligned))
        index = ours.TransformPhysicalPointToIndex(point[::-1].tolist())
        at = np.array(ours.TransformIndexToPhysicalPoint(index)) * scales[".nii" in fixed]
        assert theirs[theirs.TransformPhysicalPointToIndex(at.tolist())] == pytest.approx(ours[index], abs=0.1)


@pytest.mark.parametrize(("fixed", "moving"), [(0, 48), (49, 17), (50, 51)])
def test_a_local_alignment_maps_points_of_the_world(images, fixed, moving, tmp_path, scheduler):
    """From a start that is off by a micrometre; the file is the whole map, and begins with the fixed image's axes."""
    fixed, moving = images[fixed][0], images[moving][1]
    start = Affine.from_parts(np.eye(3), (0.6, -0.5, 0.6)) @ TRUTH
    start.save(tmp_path / "a.mat")
    local_align(
        fixed,
        moving,
        output=tmp_path / "u.zarr",
        initial_transforms=[tmp_path / "a.mat"],
        steps=["deform"],
        compute=Compute(scheduler),
    )
    whole = load_stack([tmp_path / "u.zarr"])
    points = CENTRE + np.random.default_rng(3).uniform(-12, 12, (200, 3))
    off = np.linalg.norm(whole.map_points(points) - TRUTH.map_points(points), axis=1)
    assert np.median(off) < 0.2
    with pytest.raises(InputError, match=r"leave out a\.mat"):
        load_stack([tmp_path / "a.mat", tmp_path / "u.zarr"])
    found = report_alignment(fixed, moving, transforms=[tmp_path / "u.zarr"], output=tmp_path / "report").similarity
    assert found["after"].ncc > 0.99


def anatomical(path, *values):
    """Give the axes z, y, x of an OME-Zarr these orientations."""
    metadata = json.loads((path / "zarr.json").read_text())
    axes = metadata["attributes"]["ome"]["multiscales"][0]["axes"]
    for axis, value in zip(axes[-3:], values, strict=True):
        axis["orientation"] = {"type": "anatomical", "value": value}
    (path / "zarr.json").write_text(json.dumps(metadata))
    return path


def oriented(path, *values):
    """A small OME-Zarr whose axes z, y, x have these orientations."""
    writer = create_volume(path, grid=Grid((8, 8, 8), SPACING), dtype="uint8", levels=1)
    writer.write(writer.levels[0].region, np.arange(512, dtype="uint8").reshape(8, 8, 8))
    return anatomical(path, *values)


LPS = ("inferior-to-superior", "anterior-to-posterior", "right-to-left")
RAS = ("inferior-to-superior", "posterior-to-anterior", "left-to-right")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_anatomical_orientations_are_kept_by_all_outputs_and_compared(version, tmp_path, scheduler, caplog):
    fixed, moving = oriented(tmp_path / "fixed.zarr", *LPS), oriented(tmp_path / "moving.zarr", *RAS)
    TRUTH.save(tmp_path / "a.mat")
    compute = Compute(scheduler)
    options = {"transforms": [tmp_path / "a.mat"], "compute": compute, "ome_zarr": version}
    apply_transform(fixed, moving, output=tmp_path / "applied.zarr", **options)
    assert "x runs right-to-left in the fixed, left-to-right in the moving volume; y runs" in caplog.text
    assert "z runs" not in caplog.text
    assert open_volume(tmp_path / "applied.zarr").directions.anatomical == LPS
    convert_volume(str(moving), str(tmp_path / "c.zarr"), compute=compute, ome_zarr=version)
    build_pyramid(tmp_path / "c.zarr", levels=2, compute=compute)
    assert open_volume(tmp_path / "c.zarr" / "s1").directions.anatomical == RAS
    scales = inspect_volume(tmp_path / "c.zarr").scales
    assert [scale.orientation for scale in scales] == [RAS[::-1]] * 2
    shown = CliRunner().invoke(inspect_volume_command, [str(tmp_path / "c.zarr")]).output
    assert "orientation        left-to-right, posterior-to-anterior, inferior-to-superior" in shown


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd"])
def test_the_world_of_a_patient_is_compared_with_anatomical_orientations(name, tmp_path, caplog):
    """Of NIfTI with a code, and NRRD with a space, as SimpleITK writes them."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((4, 4, 4), "uint8")), str(tmp_path / name))
    patient = open_volume(tmp_path / name).directions
    for values, told in ((LPS, False), (RAS, True)):
        other = open_volume(oriented(tmp_path / f"{told}.zarr", *values)).directions
        compare_orientations(f"fixed {name}", patient, f"moving {told}", other)
        assert (f"fixed {name} and moving {told} have different" in caplog.text) == told


def test_outputs_that_cannot_carry_a_direction_say_so(images, tmp_path, scheduler, caplog):
    oblique, straight = images[50][0], images[0][0]
    for source, told in ((straight, False), (oblique, True)):
        for name in ("a.zarr", "a.n5", "a.ome.tif", "a.nrrd"):
            caplog.clear()
            output = tmp_path / str(told) / name
            convert_volume(str(source), str(output), compute=Compute(scheduler))
            assert (f"{output} cannot hold the direction" in caplog.text) == (told and name != "a.nrrd")
    written = SimpleITK.ReadImage(str(tmp_path / "True" / "a.nrrd"))
    read = SimpleITK.ReadImage(str(oblique))
    assert agree(open_volume(tmp_path / "True" / "a.nrrd").direction, open_volume(oblique).direction)
    for index in ((0, 0, 0), (5, 9, 11)):
        point = written.TransformIndexToPhysicalPoint(index)
        assert written[index] == read[read.TransformPhysicalPointToIndex(point)]
    (scale,) = inspect_volume(oblique).scales
    np.testing.assert_allclose(scale.direction, np.array(open_volume(oblique).direction)[::-1, ::-1])
    assert "direction          " in CliRunner().invoke(inspect_volume_command, [str(oblique)]).output


def test_a_mask_of_another_direction_lies_where_its_own_file_puts_it(images, tmp_path, caplog):
    """The left half of the world, as a straight mask of an oblique image."""
    mask = image(tmp_path / "mask.nrrd", np.eye(3), lambda points: points[:, 2] < CENTRE[2], 90.0)
    for fixed in (images[0][0], images[51][0]):
        source = open_source("fixed", Side(str(fixed), mask=str(mask)))
        points = (
            np.array(source.direction or np.eye(3))
            @ source.grid.to_physical(np.moveaxis(np.indices(source.grid.shape), 0, -1).reshape(-1, 3)).T
        )
        off = points[2] - CENTRE[2]
        sure = np.abs(off) > 1.0
        np.testing.assert_array_equal(source.read().mask.ravel()[sure], (off < 0)[sure])
    assert caplog.text.count("has axes of another direction") == 1


def test_determinants_and_composed_fields_over_an_oblique_volume_are_those_of_the_world(images, tmp_path):
    fixed = images[52][0]
    nodes = Grid((10, 10, 10), (10.0, 10.0, 10.0), tuple(CENTRE - 45.0))
    random = np.random.default_rng(4)
    save_field(
        tmp_path / "u.zarr", DisplacementField(random.uniform(-2, 2, (10, 10, 10, 3)).astype("float32"), nodes)
    )
    Affine.from_parts(np.diag((1.1, 1.0, 1.0))).save(tmp_path / "a.mat")
    transforms = [tmp_path / "a.mat", tmp_path / "u.zarr"]
    jacobian_map(transforms, tmp_path / "j.nrrd", fixed=fixed, grid_spacing=(2.0, 2.0, 2.0))
    volume, stack = open_volume(tmp_path / "j.nrrd"), load_stack(transforms)
    index = np.array([(5, 6, 7), (9, 10, 3)])
    points = volume.grid.to_physical(index) @ np.array(volume.direction).T
    steps = 0.01 * np.eye(3)
    for at, point in zip(index, points, strict=True):
        jacobian = (stack.map_points(point + steps) - stack.map_points(point - steps)) / 0.02
        assert np.linalg.det(jacobian) == pytest.approx(volume.read()[tuple(at)], abs=0.2)
    compose_transforms(transforms, tmp_path / "c.zarr", fixed=fixed, grid_spacing=(1.5, 1.5, 1.5))
    np.testing.assert_allclose(
        load_stack([tmp_path / "c.zarr"]).map_points(points), stack.map_points(points), atol=0.1
    )
