"""A scene of both images and their map: read back by our commands, valid, whole or not there at all."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from click.testing import CliRunner

from teralign.alignment import Side
from teralign.cli.main import group
from teralign.errors import DataError, InputError
from teralign.tasks.view_alignment import export_scene
from teralign.transforms import WarpedVolume, load_stack, node_positions
from teralign.volumes import open_volume


@pytest.fixture(scope="module")
def scene(case, tmp_path_factory):
    output = tmp_path_factory.mktemp("scene") / "scene.zarr"
    moving = Side(str(case.moving), channel=1)
    exported = export_scene(case.fixed, moving, transforms=[case.transform], output=output)
    assert (exported.output, exported.images) == (str(output), ["fixed", "moving", "aligned"])
    return output


def test_its_images_are_those_that_were_given(scene, case):
    moving = open_volume(case.moving)
    for level in ("", "/s1"):
        for name, channel in (("fixed", 0), ("moving", 1)):
            given, found = open_volume(f"{case.folder / name}.zarr{level}"), open_volume(f"{scene / name}{level}")
            assert (found.grid, found.dtype, found.channels) == (given.grid, given.dtype, 1)
            np.testing.assert_array_equal(found.read(), given.read(channel=channel))
    warped = WarpedVolume.between(open_volume(case.fixed), moving, load_stack([case.transform]))
    for level in range(2):
        found = open_volume(scene / "aligned" / f"s{level}").read()
        np.testing.assert_array_equal(found, warped.read(channel=1, level=level))
        assert found.any()


def test_as_a_transform_it_gives_the_same_points_to_the_last_bit(scene, case):
    points = node_positions(open_volume(case.fixed).grid.nodes((7, 7, 7)))
    given, found = (load_stack([path]) for path in (case.transform, scene))
    np.testing.assert_array_equal(found.map_points(points), given.map_points(points))
    assert found.digest() != given.digest()


def test_a_command_takes_it_as_a_transform(scene, case, tmp_path):
    tables = []
    for transform in (scene, case.transform):
        arguments = ["--points", case.folder / "fixed.csv", "--transform", transform, "--output", tmp_path / "p.csv"]
        done = CliRunner().invoke(group, ["transform-points", *map(str, arguments), "--overwrite"])
        assert done.exit_code == 0, done.output
        tables.append((tmp_path / "p.csv").read_text())
    assert tables[0] == tables[1]


def test_its_metadata_are_valid(scene):
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="the schemas of OME-Zarr come with ngff-zarr")
    ngff_zarr.validate(json.loads((scene / "zarr.json").read_text())["attributes"], version="0.6", model="scene")
    for name in ("fixed", "moving", "aligned", "coordinateTransformations/displacements"):
        attributes = json.loads((scene / name / "zarr.json").read_text())["attributes"]
        ngff_zarr.validate(attributes, version="0.6", model="image")


def test_its_paths_lie_below_it(scene):
    links = json.loads((scene / "zarr.json").read_text())["attributes"]["ome"]["scene"]["coordinateTransformations"]
    ends = [(link["input"], link["output"]) for link in links]
    fixed, moving, aligned = ({"name": name, "path": name} for name in ("fixed", "moving", "aligned"))
    assert ends == [(fixed, moving), (aligned, fixed)]
    for end in (fixed, moving, aligned):
        image = json.loads((scene / end["path"] / "zarr.json").read_text())["attributes"]["ome"]
        assert [s["name"] for s in image["multiscales"][0]["coordinateSystems"]] == [end["name"]]
        assert image["omero"]["channels"][0]["window"]["end"] > 1000


def test_nothing_is_there_unless_it_is_whole(scene, case, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        export_scene(case.fixed, case.moving, transforms=[case.transform], output=scene)
    damaged = shutil.copytree(case.transform, tmp_path / "damaged.zarr")
    shutil.rmtree(damaged / "coordinateTransformations" / "displacements" / "s0" / "c")
    with pytest.raises(DataError, match="missing nodes"):
        export_scene(case.fixed, case.moving, transforms=[damaged], output=tmp_path / "new.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.zarr"]


def test_oblique_volumes_are_refused(case, tmp_path):
    image = sitk.GetImageFromArray(np.ones((20, 20, 20), np.uint8))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    sitk.WriteImage(image, tmp_path / "oblique.nrrd")
    with pytest.raises(InputError, match="the moving volume has axes oblique"):
        export_scene(case.fixed, tmp_path / "oblique.nrrd", transforms=[case.transform], output=tmp_path / "new.zarr")
