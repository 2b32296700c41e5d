"""Every value of the metadata of N5, Zarr, OME-Zarr and precomputed volumes replaced by hostile ones."""

import json
import shutil

import pytest

from hostile.arena import seen
from hostile.mutations import VALUES, json_paths, nested, removed, replaced
from hostile.seeds import SEEDS

SHARE = 4
"""Of the hostile values each place meets every fourth, beginning at another one; all meet the same kind of place."""

FILES = [
    ("n5", "image.n5/raw/attributes.json"),
    ("ome-zarr-0.4", "image.zarr/.zattrs"),
    ("ome-zarr-0.4", "image.zarr/s0/.zarray"),
    ("ome-zarr-0.5", "image.zarr/zarr.json"),
    ("ome-zarr-0.5", "image.zarr/s0/zarr.json"),
    ("ome-zarr-0.6", "image.zarr/zarr.json"),
    ("zarr-v3-sharded", "image.zarr/raw/zarr.json"),
    ("precomputed", "image/info"),
    ("precomputed-gz", "image/info"),
    ("precomputed-sharded", "image/info"),
]


def hostile(document):
    """Documents of which one value is hostile or missing, with what they are called."""
    for number, path in enumerate(json_paths(document)):
        for value in VALUES[number % SHARE :: SHARE]:
            yield f"{path} is {value!r:.60}", json.dumps(replaced(document, path, value))
        if number % SHARE == 0:
            yield f"{path} is missing", json.dumps(removed(document, path))


@pytest.mark.parametrize(("name", "file"), FILES)
def test_hostile_values_end_in_a_result_or_a_sentence(name, file, opened, tmp_path):
    seed, cage = SEEDS[name], tmp_path / "cage"
    cage.mkdir()
    seed.write(cage)
    (tmp_path / "canary").write_text("alive")
    before = seen(tmp_path, without=cage / file)
    (call,) = seed.calls
    faults = []
    for what, text in hostile(json.loads((cage / file).read_text())):
        (cage / file).write_text(text)
        fault = opened.run(call[0], call[1:], cage).fault(codes=(0, 2, 3))
        faults += [f"{what}: {fault}"] if fault else []
    assert faults == []
    assert seen(tmp_path, without=cage / file) == before


@pytest.mark.parametrize(("name", "file"), FILES)
@pytest.mark.parametrize(
    "text",
    [
        nested(100_000),
        '{"a":' * 100_000,
        "[" * 1_000_000,
        "1" * 10_000,
        "",
        "\0" * 100,
        "\ufeff{}",
        "[]",
        "null",
        "{",
    ],
    ids=["lists", "objects", "open lists", "long number", "empty", "zeros", "mark", "list", "null", "open object"],
)
def test_metadata_that_are_no_object_are_refused(text, name, file, opened, tmp_path):
    seed = SEEDS[name]
    seed.write(tmp_path)
    (tmp_path / file).write_text(text)
    ((command, *arguments),) = seed.calls
    outcome = opened.run(command, arguments, tmp_path)
    assert outcome.fault(codes=(2,)) == ""


@pytest.mark.parametrize(("name", "file"), FILES)
def test_metadata_without_an_end_are_refused(name, file, opened, tmp_path):
    seed = SEEDS[name]
    seed.write(tmp_path)
    (tmp_path / file).unlink()
    (tmp_path / file).symlink_to("/dev/zero")
    ((command, *arguments),) = seed.calls
    outcome = opened.run(command, arguments, tmp_path)
    assert outcome.fault(codes=(2,)) == ""
    assert "is no regular file" in outcome.sentence or name.startswith("precomputed")  # where `info` shows the format


LEAVING = ["../other", "/etc", "s0/../../other", "..", "./../other/s0"]


@pytest.mark.parametrize("path", LEAVING)
@pytest.mark.parametrize("name", ["ome-zarr-0.4", "ome-zarr-0.5", "ome-zarr-0.6", "precomputed"])
def test_metadata_cannot_name_what_lies_outside(name, path, opened, tmp_path):
    """Even where an array is there: a container from elsewhere may not choose what else is read."""
    seed = SEEDS[name]
    seed.write(tmp_path)
    places = {"ome-zarr-0.4": "image.zarr/.zattrs", "precomputed": "image/info"}
    file = tmp_path / places.get(name, "image.zarr/zarr.json")
    level = "fine" if name == "precomputed" else "s0"
    shutil.copytree(file.parent, tmp_path / "other")
    text = file.read_text().replace(f'"{level}"', json.dumps(path))
    file.write_text(text)
    ((command, *arguments),) = seed.calls
    outcome = opened.run(command, arguments, tmp_path)
    assert outcome.fault(codes=(2,)) == ""
    assert "folder" in outcome.sentence
