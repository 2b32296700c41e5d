"""Transforms to and from other tools: SimpleITK reads what is written, and maps the same points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tensorstore

from teralign.errors import DataError, InputError
from teralign.grids import Grid
from teralign.tasks.convert_transform import convert_transform
from teralign.transforms import (
    Affine,
    DisplacementField,
    Stack,
    load_stack,
    load_transform,
    save_field,
    save_map,
    world_affine,
)
from teralign.volumes import create_volume, open_volume

sitk = SimpleITK
NODES = Grid((14, 15, 16), (6.0, 5.0, 4.0), (-3.5, 11.0, 7.25))
AFFINE = Affine.from_parts([[1.05, 0.02, -0.03], [0.04, 0.95, 0.05], [-0.01, 0.03, 1.1]], (31.0, -12.5, 4.75))
TURN_AND_SCALE = (0.1, 0.2, 0.1, 3.0, 2.0, 1.0, 1.1)
TOLERANCE = {"affine": 1e-6, "field": 1e-3}  # µm


@pytest.fixture
def files(tmp_path):
    AFFINE.save(tmp_path / "a.mat")
    save_field(tmp_path / "u.zarr", bent(NODES))
    return tmp_path


def bent(grid):
    at = np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing
    waves = [3.0 * np.sin(2 * np.pi * at[..., 2] / 50), 2.0 * np.cos(2 * np.pi * at[..., 0] / 60), 0.05 * at[..., 1]]
    return DisplacementField(np.stack(waves, axis=-1), grid)


def ours(folder, *names):
    return Stack(tuple(load_transform(folder / name) for name in names))


def inside(grid=NODES, count=300):
    share = np.random.default_rng(0).uniform(0.05, 0.95, (count, 3))
    return grid.to_physical(share * (np.array(grid.shape) - 1))


def through_itk(transform, points, um=1.0):
    """Where an ITK transform takes (z, y, x) points in µm, for images with straight axes and a unit of `um` µm."""
    there = [transform.TransformPoint(p) for p in (points[:, ::-1] / um).tolist()]
    return np.array(there)[:, ::-1] * um


def field_of_itk(path):
    return sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64))


def assert_same(found, wanted, kind):
    assert_near(found, wanted, TOLERANCE[kind])


def assert_near(found, wanted, distance):
    assert np.linalg.norm(found - wanted, axis=-1).max() < distance


@pytest.mark.parametrize(("unit", "um"), [("um", 1.0), ("mm", 1000.0)])
@pytest.mark.parametrize("name", ["t.tfm", "t.txt", "t.mat", "t.h5"])
def test_itk_reads_our_affine_and_we_read_its(files, name, unit, um):
    convert_transform([files / "a.mat"], files / name, to="itk", unit=unit)
    points = inside()
    assert_same(through_itk(sitk.ReadTransform(str(files / name)), points, um), AFFINE.map_points(points), "affine")
    convert_transform([files / name], files / "back.mat", unit=unit)
    np.testing.assert_allclose(load_transform(files / "back.mat").matrix, AFFINE.matrix, atol=1e-9)


AFFINE_PARAMETERS = "1.1 0.1 0 -0.05 0.9 0.02 0 0.03 1.05 3 -2 1"
HAND_WRITTEN = {  # by type: parameters, fixed parameters
    "MatrixOffsetTransformBase_double_3_3": (AFFINE_PARAMETERS, "10 20 30"),  # c3d_affine_tool, ANTs' Affine.txt
    "MatrixOffsetTransformBase_float_3_3": (AFFINE_PARAMETERS, "10 20 30"),
    "AffineTransform_float_3_3": (AFFINE_PARAMETERS, "10 20 30"),
    "QuaternionRigidTransform_double_3_3": ("0.1 0.05 0 0.99 1 2 3", "10 20 30"),
    "ScaleLogarithmicTransform_double_3_3": ("0.1 0.2 0.3", "10 20 30"),
    "ScaleVersor3DTransform_double_3_3": ("0.1 0.05 0 1 2 3 1.1 0.9 1", "10 20 30"),
}


def transform_file(path, *transforms):
    """A text file of ITK; the first transform of a composite is its outermost."""
    lines = ["#Insight Transform File V1.0"]
    if len(transforms) > 1:
        lines += ["#Transform 0", "Transform: CompositeTransform_double_3_3"]
    for kind, parameters, fixed in transforms:
        lines += ["#Transform", f"Transform: {kind}", f"Parameters: {parameters}", f"FixedParameters: {fixed}"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", HAND_WRITTEN)
def test_linear_transforms_of_any_writer_are_read_as_itk_reads_them(tmp_path, kind):
    path = transform_file(tmp_path / "theirs.txt", (kind, *HAND_WRITTEN[kind]))
    convert_transform([path], tmp_path / "ours.mat")
    points = inside()
    wanted = through_itk(sitk.ReadTransform(str(path)), points)
    assert_near(load_transform(tmp_path / "ours.mat").map_points(points), wanted, 1e-9)


def test_a_composite_may_hold_a_type_that_simpleitk_has_no_class_for(tmp_path):
    kind = "MatrixOffsetTransformBase_double_3_3"
    shift = ("TranslationTransform_double_3_3", "5 6 7", "")
    path = transform_file(tmp_path / "theirs.tfm", shift, (kind, *HAND_WRITTEN[kind]))
    convert_transform([path], tmp_path / "ours.mat")
    points = inside()
    wanted = through_itk(sitk.ReadTransform(str(path)), points)
    assert_near(load_transform(tmp_path / "ours.mat").map_points(points), wanted, 1e-9)


def scaled_and_skewed():
    transform = sitk.ComposeScaleSkewVersor3DTransform()
    parameters = np.array(transform.GetParameters())
    transform.SetParameters(parameters + np.linspace(-0.05, 0.05, len(parameters)))
    transform.SetCenter((10.0, 20.0, 30.0))
    return transform


def test_transform_files_of_minc_are_read(tmp_path):
    sitk.WriteTransform(scaled_and_skewed(), str(tmp_path / "theirs.xfm"))
    convert_transform([tmp_path / "theirs.xfm"], tmp_path / "ours.txt")
    points = inside()
    wanted = through_itk(scaled_and_skewed(), points)
    assert_near(load_transform(tmp_path / "ours.txt").map_points(points), wanted, 1e-9)


@pytest.mark.parametrize("ending", [".tfm", ".h5", ".mat"])
def test_a_type_that_itk_reads_and_simpleitk_does_not_is_one_sentence(tmp_path, ending):
    path = tmp_path / f"theirs{ending}"
    sitk.WriteTransform(scaled_and_skewed(), str(path))
    with pytest.raises(InputError, match=r"theirs\.\w+ is not a transform that SimpleITK can read"):
        convert_transform([path], tmp_path / "ours.mat")


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "sentence"),
    [
        ("ThinPlateSplineKernelTransform_double_3_3", "1 2 3", "1 2 3", "can read: it holds ThinPlateSplineKernel"),
        ("NoSuchTransform_double_3_3", "1", "", "can read: it holds NoSuchTransform"),
        ("AffineTransform_double_3_3", "1 2 3", "", "can read: it holds AffineTransform"),
        ("CenteredRigid2DTransform_double_2_2", "0.1 1 2 3 4", "", "of 2 dimensions; only 3-D"),
        ("AffineTransform_double_2_2", "1 0 0 1 3 4", "0 0", "of 2 dimensions; only 3-D"),
    ],
)
def test_what_itk_cannot_read_or_we_cannot_use_is_one_sentence(tmp_path, kind, parameters, fixed, sentence):
    path = transform_file(tmp_path / "theirs.tfm", (kind, parameters, fixed))
    with pytest.raises(InputError, match=sentence):
        convert_transform([path], tmp_path / "ours.mat")


def similarity():
    transform = sitk.Similarity3DTransform()
    transform.SetCenter((10.0, 20.0, 30.0))
    transform.SetParameters(TURN_AND_SCALE)
    return transform


@pytest.mark.parametrize(
    "transform",
    [
        sitk.Euler3DTransform((10.0, 20.0, 30.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0)),
        similarity(),
        sitk.TranslationTransform(3, (1.0, -2.0, 3.0)),
        sitk.CompositeTransform([sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), sitk.ScaleTransform(3, (2.0, 1, 1))]),
    ],
    ids=lambda transform: transform.GetName(),
)
def test_any_linear_transform_of_itk_becomes_an_affine(tmp_path, transform):
    sitk.WriteTransform(transform, str(tmp_path / "t.tfm"))
    convert_transform([tmp_path / "t.tfm"], tmp_path / "t.mat")
    points = inside()
    assert_same(load_transform(tmp_path / "t.mat").map_points(points), through_itk(transform, points), "affine")


@pytest.mark.parametrize(("unit", "um"), [("um", 1.0), ("mm", 1000.0)])
@pytest.mark.parametrize("name", ["t.nrrd", "t.nii.gz", "t.nii"])
def test_itk_reads_our_field_and_we_read_its(files, name, unit, um):
    said = convert_transform([files / "u.zarr"], files / name, unit=unit)
    wanted, points = ours(files, "u.zarr"), inside()
    assert_same(through_itk(field_of_itk(files / name), points, um), wanted.map_points(points), "field")
    assert said.residual_um.maximum < TOLERANCE["field"]
    convert_transform([files / name], files / "back.zarr", unit=unit)
    back = load_transform(files / "back.zarr")
    np.testing.assert_allclose(back.grid.spacing, NODES.spacing, rtol=1e-6)
    assert_same(back.map_points(points), wanted.map_points(points), "field")


def test_a_list_becomes_a_composite_and_comes_back(files):
    convert_transform([files / "a.mat", files / "u.zarr"], files / "t.h5", unit="mm")
    wanted, points = ours(files, "a.mat", "u.zarr"), inside()
    composite = sitk.ReadTransform(str(files / "t.h5"))
    assert_same(through_itk(composite, points, 1000.0), wanted.map_points(points), "field")
    convert_transform([files / "t.h5"], files / "back.zarr", unit="mm")
    assert [grid.shape for grid in load_stack([files / "back.zarr"]).grids] == [NODES.shape]
    assert_same(load_stack([files / "back.zarr"]).map_points(points), wanted.map_points(points), "field")


def test_an_affine_that_a_whole_map_ends_with_is_refused_outside_it(files):
    save_map(files / "whole.zarr", load_stack([files / "a.mat", files / "u.zarr"]))
    for output in ("whole.h5", "copy.zarr"):
        with pytest.raises(InputError, match=r"whole map.*leave out a\.mat"):
            convert_transform([files / "a.mat", files / "whole.zarr"], files / output)
        assert not (files / output).exists()


def test_what_ants_writes_is_a_list_with_the_affine_first(files, caplog):
    caplog.set_level("INFO")
    """ANTs maps a fixed point by its warp, then by its affine, of which it knows a centre."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((1.02, 0.01, 0.0, 0.0, 0.97, 0.02, 0.01, 0.0, 1.01))
    affine.SetCenter((0.03, 0.04, 0.05))
    affine.SetTranslation((0.002, -0.001, 0.004))
    sitk.WriteTransform(affine, str(files / "out0GenericAffine.mat"))
    convert_transform([files / "u.zarr"], files / "out1Warp.nii.gz", unit="mm")
    said = convert_transform(
        [files / "out0GenericAffine.mat", files / "out1Warp.nii.gz"], files / "c.zarr", unit="mm"
    )
    points = inside()
    warped = through_itk(field_of_itk(files / "out1Warp.nii.gz"), points, 1000.0)
    found = load_stack([files / "c.zarr"]).map_points(points)
    assert_same(found, through_itk(affine, warped, 1000.0), "field")
    assert said.kind == "a map of affines and fields"
    assert [Path(path).name for path in said.applied_first_to_last] == ["out1Warp.nii.gz", "out0GenericAffine.mat"]
    assert "goes through" in caplog.text


TURNED = (0.0, -1.0, 0.0, 0.6, 0.0, -0.8, 0.8, 0.0, 0.6)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def image(path, direction, origin=(20.0, -30.0, 40.0)):
    """An image that covers NODES, whose axes are turned for ITK, and as we read it."""
    found = sitk.Image((40, 41, 42), sitk.sitkUInt8)
    found.SetSpacing((1.5, 1.75, 2.0))
    found.SetOrigin(origin)
    found.SetDirection(direction)
    sitk.WriteImage(found, str(path))
    return found, open_volume(path)


def seen_by_itk(found, volume, points):
    """ITK's points at our (z, y, x) points of an image, by their indices in the file."""
    stored = Affine(volume.description.orientation.to_stored(volume.grid.shape))
    along_axes = world_affine(volume.direction).inverse().map_points(points)
    index = stored.map_points(volume.grid.to_index(along_axes))[:, ::-1].tolist()
    return np.array([found.TransformContinuousIndexToPhysicalPoint(i) for i in index])


@pytest.mark.parametrize("fixed_axes", [FLIPPED, TURNED])
@pytest.mark.parametrize("names", [["a.mat"], ["a.mat", "u.zarr"]])
def test_images_with_turned_axes_are_mapped_the_same_voxels(files, names, fixed_axes):
    fixed, fixed_grid = image(files / "fixed.nrrd", fixed_axes)
    moving, moving_grid = image(files / "moving.nrrd", TURNED, (-5.0, 6.0, 7.0))
    sides = {"itk_fixed": files / "fixed.nrrd", "itk_moving": files / "moving.nrrd"}
    points = inside()
    wanted = ours(files, *names).map_points(points)
    forms = {"t.h5": sitk.ReadTransform} | ({"t.nrrd": field_of_itk} if len(names) > 1 else {})
    for name, read in forms.items():
        convert_transform([files / n for n in names], files / name, **sides)
        there = [read(str(files / name)).TransformPoint(p) for p in seen_by_itk(fixed, fixed_grid, points).tolist()]
        np.testing.assert_allclose(there, seen_by_itk(moving, moving_grid, wanted), atol=1e-3)
        back = files / f"back-{name}.{'zarr' if len(names) > 1 else 'mat'}"
        convert_transform([files / name], back, overwrite=True, **sides)
        assert_same(load_stack([back]).map_points(points), wanted, "field")


def bspline():
    """A B-spline over NODES and something around them, in ITK's terms."""
    domain = sitk.Image((80, 90, 100), sitk.sitkUInt8)
    domain.SetOrigin((0.0, 5.0, -8.0))
    transform = sitk.BSplineTransformInitializer(domain, (4, 5, 6))
    coefficients = np.random.default_rng(0).uniform(-3, 3, len(transform.GetParameters()))
    transform.SetParameters(coefficients.tolist())
    return transform, Grid((100, 90, 80), (1.0, 1.0, 1.0), (-8.0, 5.0, 0.0))


def test_a_bspline_is_sampled_and_the_report_says_how_well(tmp_path):
    transform, domain = bspline()
    sitk.WriteTransform(transform, str(tmp_path / "b.tfm"))
    said = convert_transform([tmp_path / "b.tfm"], tmp_path / "b.zarr")
    points = inside(domain)
    found = load_transform(tmp_path / "b.zarr").map_points(points)
    off = np.linalg.norm(found - through_itk(transform, points), axis=1)
    assert off.max() < 1.2 * said.sampling_um.maximum
    assert off.mean() == pytest.approx(said.sampling_um.mean, rel=0.2)
    assert said.sampling_um.maximum < 0.05
    corner, beyond = domain.to_physical([[99, 89, 79], [120, 110, 100]])
    at_face = np.array([91.4, 94.4, 79.4])  # just inside the domain, which ends half a voxel beyond the last one
    found = load_transform(tmp_path / "b.zarr").map_points([corner, at_face, beyond])
    assert_near(found[:2], through_itk(transform, np.array([corner, at_face])), 0.05)
    assert_near(found[2] - beyond, found[1] - at_face, 0.1)  # it goes on with its nearest value


def test_the_faces_of_a_bspline_are_not_taken_for_outside(tmp_path):
    transform = sitk.BSplineTransform(3, 3)
    size, origin = (7, 8, 8), (1.5347695134037762, -29.940976004322916, 21.9001358203523)
    spacing = (6.10560636990508, 6.027539647707668, 6.058001697261798)  # which do not add up to the last bit
    transform.SetFixedParameters([*size, *origin, *spacing, 1, 0, 0, 0, 1, 0, 0, 0, 1])
    transform.SetParameters([5.0] * len(transform.GetParameters()))
    sitk.WriteTransform(transform, str(tmp_path / "b.tfm"))
    convert_transform([tmp_path / "b.tfm"], tmp_path / "b.zarr")
    np.testing.assert_allclose(load_transform(tmp_path / "b.zarr").read().values, 5, rtol=1e-5)


def test_a_bspline_is_exact_at_the_nodes_over_a_volume(tmp_path):
    transform, domain = bspline()
    create_volume(tmp_path / "fixed.n5", grid=domain, dtype=np.uint8, levels=1)
    sitk.WriteTransform(transform, str(tmp_path / "b.tfm"))
    convert_transform([tmp_path / "b.tfm"], tmp_path / "b.zarr", fixed=str(tmp_path / "fixed.n5"))
    field = load_transform(tmp_path / "b.zarr").read()
    assert field.grid == domain.nodes((4, 4, 4))
    nodes = field.grid.to_physical(np.random.default_rng(0).integers(0, 19, (200, 3)))
    assert_same(field.map_points(nodes), through_itk(transform, nodes), "field")


def test_a_bspline_after_an_affine_is_sampled_where_the_affine_leads(tmp_path):
    transform, domain = bspline()
    sitk.WriteTransform(transform, str(tmp_path / "b.tfm"))
    shift = np.array([60.0, -70.0, 80.0])
    Affine.from_parts(np.eye(3), shift).save(tmp_path / "s.mat")
    voxels = Grid(domain.shape, domain.spacing, tuple(domain.origin - shift))
    create_volume(tmp_path / "fixed.n5", grid=voxels, dtype=np.uint8, levels=1)
    parts = [tmp_path / "b.tfm", tmp_path / "s.mat"]
    convert_transform(parts, tmp_path / "t.zarr", fixed=str(tmp_path / "fixed.n5"), grid_spacing=(2.0,) * 3)
    points = inside(voxels)
    assert_near(load_transform(tmp_path / "t.zarr").map_points(points), through_itk(transform, points + shift), 0.1)


ELASTIX = """// a comment
(Transform "{kind}")
(NumberOfParameters {count})
(TransformParameters {parameters})
(InitialTransformParametersFileName "{initial}")
(UseBinaryFormatForTransformationParameters "false")
(HowToCombineTransforms "Compose")
(FixedImageDimension 3)
(MovingImageDimension 3)
{rest}
"""


def elastix(path, kind, parameters, rest="", initial="NoInitialTransform"):
    text = " ".join(f"{p:.12g}" for p in parameters)
    path.write_text(ELASTIX.format(kind=kind, count=len(parameters), parameters=text, rest=rest, initial=initial))
    return path


CENTRE = "(CenterOfRotationPoint 10 20 30)"
ANGLES = (0.1, -0.2, 0.3, 5.0, 6.0, 7.0)
LINEAR = (1.05, 0.02, -0.03, 0.04, 0.95, 0.05, -0.01, 0.03, 1.1, 31.0, -12.5, 4.75)


def euler(zyx):
    transform = sitk.Euler3DTransform((10.0, 20.0, 30.0), *ANGLES[:3], ANGLES[3:])
    transform.SetComputeZYX(zyx)
    return transform


@pytest.mark.parametrize(
    ("kind", "parameters", "rest", "same"),
    [
        ("AffineTransform", LINEAR, CENTRE, sitk.AffineTransform(LINEAR[:9], LINEAR[9:], (10.0, 20.0, 30.0))),
        ("EulerTransform", ANGLES, CENTRE, euler(False)),
        ("EulerTransform", ANGLES, CENTRE + '\n(ComputeZYX "true")', euler(True)),
        ("SimilarityTransform", TURN_AND_SCALE, CENTRE, similarity()),
        ("TranslationTransform", (1.0, -2.0, 3.0), "", sitk.TranslationTransform(3, (1.0, -2.0, 3.0))),
    ],
)
def test_linear_transforms_of_elastix_become_affines(tmp_path, kind, parameters, rest, same):
    elastix(tmp_path / "TransformParameters.0.txt", kind, parameters, rest)
    convert_transform([tmp_path / "TransformParameters.0.txt"], tmp_path / "t.mat")
    points = inside()
    assert_same(load_transform(tmp_path / "t.mat").map_points(points), through_itk(same, points), "affine")


def test_a_bspline_of_elastix_comes_after_the_transform_that_it_names(tmp_path):
    transform, domain = bspline()
    fixed = transform.GetFixedParameters()
    names = {"GridSize": fixed[:3], "GridOrigin": fixed[3:6], "GridSpacing": fixed[6:9], "GridIndex": (0, 0, 0)}
    rest = "\n".join(f"({key} {' '.join(f'{v:.17g}' for v in values)})" for key, values in names.items())
    elastix(tmp_path / "TransformParameters.0.txt", "EulerTransform", (0.01, 0.02, -0.01, 1.0, 2.0, 1.5), CENTRE)
    elastix(
        tmp_path / "TransformParameters.1.txt",
        "BSplineTransform",
        transform.GetParameters(),
        rest + "\n(GridDirection 1 0 0 0 1 0 0 0 1)\n(BSplineTransformSplineOrder 3)",
        initial="/where/it/ran/TransformParameters.0.txt",
    )
    said = convert_transform([tmp_path / "TransformParameters.1.txt"], tmp_path / "t.h5")
    first = sitk.Euler3DTransform((10.0, 20.0, 30.0), 0.01, 0.02, -0.01, (1.0, 2.0, 1.5))
    points = domain.to_physical(np.random.default_rng(0).uniform(0.2, 0.8, (200, 3)) * (np.array(domain.shape) - 1))
    wanted = through_itk(transform, through_itk(first, points))
    found = through_itk(sitk.ReadTransform(str(tmp_path / "t.h5")), points)
    assert np.linalg.norm(found - wanted, axis=1).max() < 1.2 * said.sampling_um.maximum


@pytest.mark.parametrize("name", ["d.n5", "d.n5/deform/s1", "d.zarr", "d.zarr/deform"])
def test_a_field_of_bigstream_has_a_vector_at_each_voxel_and_comes_back(files, name):
    voxels = Grid((30, 31, 32), (2.0, 2.1, 1.5), NODES.origin)
    create_volume(files / "fixed.n5", grid=voxels, dtype=np.uint8, levels=1)
    fixed = str(files / "fixed.n5")
    convert_transform([files / "u.zarr"], files / name, to="bigstream", fixed=fixed)
    array = files / ("d.n5/s0" if name == "d.n5" else name)
    stored = tensorstore.open({"driver": "n5" if "n5" in name else "zarr", "kvstore": f"file://{array}/"}).result()
    values = stored.read().result()
    values = values.T if "n5" in name else values
    assert values.shape == (*voxels.shape, 3)
    at = voxels.to_physical([[3, 4, 5]])
    wanted = ours(files, "u.zarr").map_points(at) - at
    np.testing.assert_allclose(values[3, 4, 5], wanted[0], atol=1e-5)
    attributes = json.loads((array / ("attributes.json" if "n5" in name else ".zattrs")).read_text())
    assert attributes["pixelResolution"] == [1, 1.5, 2.1, 2.0]
    convert_transform([array], files / "back.zarr", fixed=fixed, grid_spacing=voxels.spacing)
    back, points = load_transform(files / "back.zarr"), inside(voxels)
    assert back.grid == voxels
    assert np.linalg.norm(back.map_points(points) - ours(files, "u.zarr").map_points(points), axis=1).max() < 0.1


def test_a_bare_array_of_bigstream_lies_over_the_fixed_volume(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, (10, 11, 12, 3)).astype(np.float32)
    metadata = {"shape": list(values.shape), "chunks": [5, 5, 5, 3], "dtype": "<f4"}
    store = tensorstore.open(
        {"driver": "zarr", "kvstore": f"file://{tmp_path}/d.zarr/", "metadata": metadata}, create=True
    ).result()
    store.write(values).result()
    create_volume(tmp_path / "f.n5", grid=Grid((20, 22, 24), (1.0, 2.0, 3.0)), dtype=np.uint8, levels=1)
    with pytest.raises(InputError, match="--fixed"):
        convert_transform([tmp_path / "d.zarr"], tmp_path / "o.zarr")
    convert_transform(
        [tmp_path / "d.zarr"], tmp_path / "o.nrrd", fixed=str(tmp_path / "f.n5"), grid_spacing=(2, 4, 6)
    )
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "o.nrrd")))
    np.testing.assert_allclose(found[:10, :11, :12], values[..., ::-1], atol=1e-5)


def text(path, content):
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("make", "output", "sentence"),
    [
        (lambda f: f / "u.zarr", "t.mat", "a text file of one affine, but there are fields"),
        (lambda f: f / "u.zarr", "t.tfm", "an affine of ITK, but there are fields"),
        (lambda f: f / "u.zarr", "t.png", "must end in one of"),
        (lambda f: f / "u.zarr", "x.zarr/inside", "lies inside"),
        (lambda f: f / "u.zarr", "t.n5", "give it by --fixed"),
        (lambda f: f / "a.mat", "t.nrrd", "--fixed"),
        (lambda f: f / "gone.mat", "t.tfm", "there is no transform"),
        (lambda f: text(f / "x.txt", "#Insight Transform File V1.0\nnonsense"), "t.mat", "ITK can read"),
        (lambda f: text(f / "x.h5", "nonsense"), "t.mat", "ITK can read"),
        (lambda f: text(f / "x.nrrd", "nonsense"), "t.zarr", "ITK can read"),
        (lambda f: text(f / "x.txt", '(Transform "SplineKernelTransform")'), "t.mat", "Kernel.*; Affine.* can be"),
        (lambda f: text(f / "x.txt", '(Transform "AffineTransform")'), "t.mat", "CenterOfRotationPoint"),
        (lambda f: elastix(f / "x.txt", "AffineTransform", (1.0, 2.0), CENTRE), "t.mat", "2 parameters instead"),
        (lambda f: elastix(f / "x.txt", "AffineTransform", LINEAR, CENTRE, "gone.txt"), "t.mat", "gone.txt cannot"),
        (lambda f: elastix(f / "x.txt", "AffineTransform", LINEAR, CENTRE, "x.txt"), "t.mat", "names itself"),
    ],
)
def test_what_cannot_be_converted_is_said(files, make, output, sentence):
    source = make(files)
    before = sorted(p.name for p in files.iterdir())
    with pytest.raises(InputError, match=sentence):
        convert_transform([source], files / output)
    assert sorted(p.name for p in files.iterdir()) == before


def test_vectors_that_are_nan_are_data_that_cannot_be_used(files):
    vectors = np.zeros((4, 5, 6, 3), np.float32)
    vectors[1, 2, 3, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(files / "x.nrrd"))
    with pytest.raises(DataError, match=r"x\.nrrd .* NaN"):
        convert_transform([files / "x.nrrd"], files / "t.zarr")


def test_an_image_that_is_no_field_is_refused(files):
    sitk.WriteImage(sitk.Image((4, 5, 6), sitk.sitkUInt8), str(files / "x.nrrd"))
    with pytest.raises(InputError, match="no displacement field"):
        convert_transform([files / "x.nrrd"], files / "t.zarr")


def test_points_of_a_flipped_image_are_those_of_itk(tmp_path):
    found, volume = image(tmp_path / "a.nrrd", FLIPPED)
    points = volume.grid.to_physical([[0, 0, 0], [41, 40, 39], [3, 20, 7]])
    np.testing.assert_allclose(seen_by_itk(found, volume, points), points[:, ::-1])
