"""Names of files, ids and values of a pipeline run that a shell, a file system or a terminal would not take."""

import json

import pytest

from hostile.arena import seen
from hostile.seeds import SEEDS

NO_PATHS = {
    "a newline": "fixed/a\nb.zarr",
    "a tab": "fixed/a\tb.zarr",
    "a command": "fixed/$(touch canary).zarr",
    "a variable": "fixed/${IFS}.zarr",
    "backquotes": "fixed/`touch canary`.zarr",
    "double quotes": 'fixed/";touch canary;".zarr',
    "single quotes": "fixed/';touch canary;'.zarr",
    "a zero": "fixed/a\0b.zarr",
    "a backslash": "fixed/a\\b.zarr",
    "a star": "fixed/*.zarr",
    "braces": "{fixed,moving}/image.zarr",
    "a half of a character": "fixed/\udcff.zarr",
    "an escape": "fixed/\x1b[2Ja.zarr",
    "a long name": "x" * 300 + ".zarr",
    "thousands of folders": "deep/" * 3000 + "image.zarr",
    "above the root": "../" * 2000 + "etc/passwd",
    "a long text": "y" * 200_000,
    "an option": "-rf",
    "a command in an address": "s3://bucket/$(touch canary).zarr",
}
COLUMNS = [
    *("fixed", "moving", "fixed_mask", "moving_mask", "initial_transform", "global_transform", "local_transform"),
    *("apply_to", "fixed_landmarks", "moving_landmarks"),
]
PARAMETERS = [
    *("id", "warped_name", "warped_container", "aff_scale", "def_scale", "apply_scale", "apply_grid_scale"),
    *("fixed_channel", "fixed_spacing", "fixed_roi", "expansion", "fixed_mask_labels", "input"),
]


def refusal(values, opened, folder):
    """Return the sentence with which a run of these values is refused, which may write nothing."""
    SEEDS["samplesheet"].write(folder)
    (folder / "run.json").write_text(json.dumps(values))
    before = seen(folder)
    outcome = opened.run("resolve", ["run.json"], folder)
    assert seen(folder) == before
    assert outcome.fault(codes=(2,)) == ""
    (sentence,) = outcome.stderr.splitlines()
    assert sentence.isprintable()
    return sentence


def pair(**values):
    landmarks = {"fixed_landmarks": "moving_landmarks", "moving_landmarks": "fixed_landmarks"}
    others = {landmarks[name]: "none.csv" for name in values if name in landmarks}
    return {"fixed": "fixed/image.zarr", "moving": "moving/image.zarr", **others, **values}


@pytest.mark.parametrize("name", NO_PATHS)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_path_that_no_task_can_name_is_refused(column, name, opened, tmp_path):
    sentence = refusal(pair(**{column: NO_PATHS[name]}), opened, tmp_path)
    assert column.removeprefix("moving_") in sentence  # of both tables of landmarks the fixed one may be named


@pytest.mark.parametrize("name", NO_PATHS)
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_value_that_is_no_value_is_refused(parameter, name, opened, tmp_path):
    values = {} if parameter == "input" else pair()
    refusal({**values, parameter: NO_PATHS[name]}, opened, tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/tmp/canary", "-a", "a b", "$(touch canary)", "ä", "a;b", "~"])
@pytest.mark.parametrize("parameter", ["id", "warped_name", "warped_container"])
def test_a_name_of_results_is_plain(parameter, name, opened, tmp_path):
    refusal(pair(**{parameter: name}), opened, tmp_path)


@pytest.mark.parametrize("name", ["a'b", "a$(touch canary)b", "a`b", 'a"b', "a\nb", "a[0]b", "a{0,1}b"])
def test_a_folder_with_such_a_name_holds_no_pair(name, opened, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    sentence = refusal(pair(), opened, folder)
    assert "rename it or link to it" in sentence


@pytest.mark.parametrize(
    "name", ["a b", "a;>canary", "a&b", "(a)", "<a>", "a|b", "日本 ü 🧠", "a#b", "a,b=c", "-a", "a~"]
)
def test_other_names_are_taken_as_they_are(name, opened, tmp_path):
    SEEDS["samplesheet"].write(tmp_path)
    (tmp_path / "fixed").rename(tmp_path / name)
    (tmp_path / "run.json").write_text(json.dumps(pair(fixed=f"{name}/image.zarr")))
    outcome = opened.run("resolve", ["run.json"], tmp_path)
    assert outcome.fault(codes=(0,)) == ""
    (found,) = json.loads(outcome.stdout)["pairs"]
    assert found["fixed"]["path"] == str(tmp_path / name / "image.zarr")
