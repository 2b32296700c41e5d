"""A file of a whole map stands for the files of its parts, in every command that takes transforms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from teralign.alignment import BlockOptions
from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.compose_transforms import compose_transforms
from teralign.tasks.convert_transform import convert_transform
from teralign.tasks.invert_transform import invert_transform
from teralign.tasks.jacobian_map import jacobian_map
from teralign.tasks.local_align import local_align
from teralign.tasks.report_alignment import report_alignment
from teralign.tasks.transform_points import transform_points
from teralign.transforms import Affine, DisplacementField, Stack, load_stack, save_field, save_map
from teralign.volumes import create_volume, open_volume

GRID = Grid((30, 32, 34), (2.0, 1.5, 1.0))
AFFINE = Affine.from_parts([[1.02, 0.01, 0.0], [0.0, 0.99, 0.02], [-0.01, 0.0, 1.01]], (1.5, -2.0, 0.75))
WAYS = {"affine": ["a.mat"], "affine and field": ["a.mat", "u.zarr"]}


@pytest.fixture
def files(tmp_path):
    """Two volumes, points, an affine and a field alone, and the same as whole maps."""
    rng = np.random.default_rng(0)
    image = (ndimage.gaussian_filter(rng.random(GRID.shape), 2) * 60000).astype(np.uint16)
    for name in ("fixed", "moving"):
        create_volume(tmp_path / f"{name}.zarr", grid=GRID, dtype=image.dtype, levels=1).write(GRID.region, image)
    nodes = GRID.nodes((4, 4, 4))
    field = DisplacementField(ndimage.gaussian_filter(rng.normal(size=(*nodes.shape, 3)), (1, 1, 1, 0)) * 3, nodes)
    AFFINE.save(tmp_path / "a.mat")
    save_field(tmp_path / "u.zarr", field)
    save_map(tmp_path / "affine.zarr", Stack((AFFINE,)))
    save_map(tmp_path / "affine and field.zarr", Stack((AFFINE, field)))
    points = rng.uniform(5, 25, (50, 3))
    np.savetxt(tmp_path / "points.csv", points, delimiter=",", header="x,y,z", comments="")
    return tmp_path


@pytest.fixture(params=WAYS)
def ways(request, files):
    """The files of the parts, and the file of the whole map."""
    return [files / name for name in WAYS[request.param]], [files / f"{request.param}.zarr"]


@pytest.mark.parametrize("inverse", [False, True])
def test_points_land_in_the_same_place(files, ways, inverse):
    for name, transforms in zip(("parts", "whole"), ways, strict=True):
        transform_points(files / "points.csv", transforms=transforms, output=files / f"{name}.csv", inverse=inverse)
    assert (files / "parts.csv").read_bytes() == (files / "whole.csv").read_bytes()


def test_volumes_and_determinants_are_the_same(files, ways, scheduler):
    volumes = str(files / "fixed.zarr"), str(files / "moving.zarr")
    for name, transforms in zip(("parts", "whole"), ways, strict=True):
        warped, determinants = files / f"warped {name}.zarr", files / f"jacobian {name}.zarr"
        apply_transform(*volumes, transforms=transforms, output=str(warped), compute=Compute(scheduler))
        jacobian_map(transforms, determinants, fixed=volumes[0])
    for made in ("warped", "jacobian"):
        parts, whole = (open_volume(files / f"{made} {name}.zarr").read() for name in ("parts", "whole"))
        assert parts.any()
        assert np.array_equal(parts, whole)


def test_the_report_shows_the_same_states(files, ways):
    volumes = str(files / "fixed.zarr"), str(files / "moving.zarr")
    parts, whole = (
        report_alignment(*volumes, transforms=transforms, output=files / f"report {len(transforms)} {i}")
        for i, transforms in enumerate(ways)
    )
    assert parts.similarity == whole.similarity
    assert parts.overlay.read_bytes() == whole.overlay.read_bytes()


def test_a_local_alignment_starts_from_the_same(files, ways, scheduler):
    found = []
    for name, transforms in zip(("parts", "whole"), ways, strict=True):
        output = files / f"local {name}.zarr"
        local_align(
            str(files / "fixed.zarr"),
            str(files / "moving.zarr"),
            output=output,
            initial_transforms=transforms,
            blocks=BlockOptions((64, 64, 64)),
            compute=Compute(scheduler),
        )
        found.append(load_stack([output]))
    at = GRID.corners()
    assert [len(stack.transforms) for stack in found] == [len(ways[0]) + 1] * 2
    assert np.array_equal(*(stack.load(at.min(axis=0), at.max(axis=0)).map_points(at) for stack in found))


def test_inverses_and_compositions_are_the_same_and_say_where_they_come_from(files, ways):
    for name, transforms in zip(("parts", "whole"), ways, strict=True):
        invert_transform(transforms, files / f"inverse {name}.zarr")
        compose_transforms(transforms, files / f"composed {name}.zarr")
    for made in ("inverse", "composed"):
        parts, whole = (load_stack([files / f"{made} {name}.zarr"]) for name in ("parts", "whole"))
        assert len(parts.transforms) == len(whole.transforms) == 1
        assert np.array_equal(parts.map_points(GRID.corners()), whole.map_points(GRID.corners()))
        said = json.loads((files / f"{made} whole.residual.json").read_text())["run"]
        assert said["inputs"]["transforms"] == [str(ways[1][0])]
        assert said["versions"]["teralign"]


def test_itk_gets_the_parts_of_a_whole_map(files):
    convert_transform([files / "affine and field.zarr"], files / "whole.h5")
    composite = SimpleITK.ReadTransform(str(files / "whole.h5"))
    assert composite.GetName() == "CompositeTransform"
    points = np.random.default_rng(1).uniform(6, 24, (50, 3))
    there = np.array([composite.TransformPoint(p) for p in points[:, ::-1].tolist()])[:, ::-1]
    wanted = load_stack([files / "a.mat", files / "u.zarr"]).map_points(points)
    np.testing.assert_allclose(there, wanted, atol=1e-4)
    convert_transform([files / "affine.zarr"], files / "affine.tfm")
    affine = SimpleITK.ReadTransform(str(files / "affine.tfm"))
    there = np.array([affine.TransformPoint(p) for p in points[:, ::-1].tolist()])[:, ::-1]
    np.testing.assert_allclose(there, AFFINE.map_points(points), atol=1e-9)


def test_a_conversion_from_one_map_to_another_keeps_every_bit(files):
    convert_transform([files / "a.mat", files / "u.zarr"], files / "there.zarr")
    convert_transform([files / "there.zarr"], files / "back.zarr")
    for name in ("there.zarr", "back.zarr"):
        affine, field = load_stack([files / name]).transforms
        assert np.array_equal(affine.affine.matrix, AFFINE.matrix)
        assert np.array_equal(field.read().values, load_stack([files / "u.zarr"]).transforms[0].read().values)
    convert_transform([files / "affine.zarr"], files / "affine.mat")
    assert np.array_equal(Affine.from_file(files / "affine.mat").matrix, AFFINE.matrix)
    sampled = convert_transform([files / "back.zarr"], files / "one.zarr", grid_spacing=(4.0, 4.0, 4.0))
    assert len(load_stack([files / "one.zarr"]).transforms) == 1
    assert sampled.residual_um is not None
