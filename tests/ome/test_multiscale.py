"""OME-Zarr metadata as values: what is written in any version is read as the same."""

import pytest

from teralign import ome
from teralign.errors import InputError

IMAGE = ome.Multiscale(
    name="image",
    method="mean",
    axes=(
        ome.Axis("t", "time", "second"),
        ome.Axis("c", "channel"),
        *(ome.Axis(name, "space", "micrometer") for name in "zyx"),
    ),
    levels=(
        ome.Level.placed("s0", (2.5, 1, 2, 1, 1), (0, 0, 0.5, 0, 3)),
        ome.Level.placed("s1", (2.5, 1, 4, 2, 2), (0, 0, 1.5, 0.5, 3.5)),
    ),
    channels=(ome.Channel("DAPI", "0000FF", (0.0, 255.0, 10.0, 99.0)), ome.Channel("GFP", "00FF00")),
)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_read_as_it_was_written(version, tmp_path):
    assert ome.read_multiscale(tmp_path, ome.image_attributes(IMAGE, version)) == IMAGE


def test_the_axes_of_0_6_are_those_of_the_system_that_levels_lead_to(tmp_path):
    attributes = ome.image_attributes(IMAGE, "0.6")
    attributes["ome"]["multiscales"][0]["coordinateSystems"].insert(0, {"name": "other", "axes": [{"name": "q"}]})
    attributes["ome"]["multiscales"][0]["coordinateSystems"][1]["name"] = "own"
    for dataset in attributes["ome"]["multiscales"][0]["datasets"]:
        dataset["coordinateTransformations"][0]["output"] = {"name": "own"}
    found = ome.read_multiscale(tmp_path, attributes)
    assert (found.axes, found.levels, found.space) == (IMAGE.axes, IMAGE.levels, "own")


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_coarser_levels_follow_from_the_finest_one(version, tmp_path):
    attributes = ome.image_attributes(IMAGE, version)
    changed = ome.with_levels(attributes, {"s1": (1, 1, 2, 2, 2), "s2": (1, 1, 4, 4, 8)})
    found = ome.read_multiscale(tmp_path, changed)
    assert found.levels[:2] == IMAGE.levels
    assert found.levels[2] == ome.Level.placed("s2", (2.5, 1, 8, 4, 8), (0, 0, 3.5, 1.5, 6.5))
    assert attributes == ome.image_attributes(IMAGE, version)


def test_steps_of_the_group_follow_those_of_a_level_and_numbers_must_fit_the_axes(tmp_path):
    attributes = ome.image_attributes(IMAGE, "0.5")
    image = attributes["ome"]["multiscales"][0]
    image["coordinateTransformations"] = [{"type": "scale", "scale": [1, 1, 10, 10, 10]}, {"type": "identity"}]
    scale, translation = ome.read_multiscale(tmp_path, attributes).level("s1").transform(5)
    assert (scale.tolist(), translation.tolist()) == ([2.5, 1, 40, 20, 20], [0, 0, 15, 5, 35])
    image["coordinateTransformations"] = [{"type": "rotation", "rotation": [[1, 0], [0, 1]]}]
    with pytest.raises(ValueError, match="rotation"):
        ome.read_multiscale(tmp_path, attributes).level("s1").transform(5)


def test_a_version_to_come_is_refused(tmp_path):
    attributes = ome.image_attributes(IMAGE, "0.5") | {}
    attributes["ome"]["version"] = "0.9"
    with pytest.raises(InputError, match=r"OME-Zarr 0\.9; versions up to 0\.6"):
        ome.read_multiscale(tmp_path, attributes)
