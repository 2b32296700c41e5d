"""Rounds of tiles of a run, and the pairs of what was stitched of them."""

from __future__ import annotations

import pytest

from teralign.errors import InputError
from teralign.tasks.resolve import resolve


@pytest.fixture
def scans(tmp_path):
    """Three folders of tiles, and a samplesheet which aligns the second round onto the first."""
    for name in ("day1", "day2", "day3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage.csv").write_text("file,z,y,x\na.tif,0,0,0\n")
    write_sheet(tmp_path, "one,day1,", "two,day2,one", "three,day3,")
    return tmp_path


def write_sheet(folder, *rows, columns="id,tiles,fixed"):
    (folder / "rounds.csv").write_text("\n".join([columns, *rows, ""]))


def stitch(folder, **parameters):
    return resolve({"workflow": "stitch", **parameters}, folder=folder)


def test_each_row_is_a_round(scans):
    found = stitch(scans, input="rounds.csv", tiles_spacing="0.5,0.5,2", tiles_channel=1)
    assert found.pairs == ()
    assert [(round.id, round.source, round.fixed) for round in found.rounds] == [
        ("one", scans / "day1", ""),
        ("two", scans / "day2", "one"),
        ("three", scans / "day3", ""),
    ]
    assert {(round.options, round.channel) for round in found.rounds} == {("--spacing 0.5,0.5,2", 1)}


def test_one_round_needs_no_samplesheet(scans):
    (found,) = stitch(scans, tiles="day1").rounds
    assert (found.id, found.source, found.options, found.channel, found.fixed) == ("day1", scans / "day1", "", 0, "")
    assert stitch(scans, tiles="day1", id="mine").rounds[0].id == "mine"


def test_positions_may_mean_other_axes(scans):
    (found,) = stitch(scans, tiles="day1", tiles_mirror="x,y", tiles_swap_xy=True).rounds
    assert found.options == "--swap-xy --mirror x,y"
    write_sheet(scans, "one,day1,y,false", columns="id,tiles,tiles_mirror,tiles_swap_xy")
    (found,) = stitch(scans, input="rounds.csv", tiles_swap_xy=True).rounds
    assert found.options == "--mirror y"


def test_a_change_of_the_tiles_is_another_fingerprint(scans):
    before = stitch(scans, tiles="day1").rounds
    (scans / "day1" / "stage.csv").write_text("file,z,y,x\na.tif,0,0,1\n")
    assert stitch(scans, tiles="day1").rounds[0].fingerprint != before[0].fingerprint


def test_stitched_rounds_are_aligned_as_their_rows_say(volumes):
    for name in ("day1", "day2", "day3"):
        (volumes / name).mkdir()
    write_sheet(volumes, "one,day1,", "two,day2,one", "three,day3,fix.n5")
    stitched = {"one": str(volumes / "fix.n5"), "two": str(volumes / "mov.n5"), "three": str(volumes / "mov.n5")}
    found = stitch(volumes, input="rounds.csv", stitched=stitched, aff_scale="s3", def_scale="s2")
    assert found.rounds == ()
    assert [(pair.id, pair.fixed.path, pair.moving.path) for pair in found.pairs] == [
        ("two", volumes / "fix.n5", volumes / "mov.n5"),
        ("three", volumes / "fix.n5", volumes / "mov.n5"),
    ]


def test_what_could_not_be_stitched_is_not_aligned(volumes):
    for name in ("day1", "day2", "day3"):
        (volumes / name).mkdir()
    write_sheet(volumes, "one,day1,", "two,day2,one", "three,day3,fix.n5")
    stitched = {"two": str(volumes / "mov.n5"), "three": str(volumes / "mov.n5")}
    found = stitch(volumes, input="rounds.csv", stitched=stitched, aff_scale="s3", def_scale="s2")
    assert [pair.id for pair in found.pairs] == ["three"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "Nothing to stitch: give --tiles, or a samplesheet of rounds with --input"),
        ({"tiles": "day1", "input": "rounds.csv"}, "Nothing to stitch"),
        ({"tiles": "gone"}, "--tiles: gone does not exist"),
        ({"tiles": "day1", "moving": "m.n5"}, "give --tiles in place of --moving"),
        ({"tiles": "day1", "tiles_spacing": "s1=1,1,1"}, "--tiles_spacing is the voxel size of the tiles"),
        ({"tiles": "day1", "tiles_mirror": "q"}, "--tiles_mirror: 'q' names other axes than x, y and z"),
        ({"tiles": "day1", "tiles_swap_xy": "x"}, "--tiles_swap_xy: give true or false, not 'x'"),
        ({"tiles": "day1", "tiles_channel": "a"}, "--tiles_channel must be a whole number"),
        ({"tiles": "day1", "id": "a b"}, "--id: 'a b' cannot name a folder"),
    ],
)
def test_what_is_wrong_is_named(scans, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        stitch(scans, **parameters)


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        (["one,day1,one"], "id,tiles,fixed", "row 1, fixed: a round is not aligned onto itself"),
        (["one,gone,"], "id,tiles,fixed", "row 1, tiles: gone does not exist"),
        (["one,day1,m.n5"], "id,tiles,moving", "has a column 'moving', which is not one of id, tiles"),
        (["one,,day1"], "id,tiles,fixed", "the column tiles is missing or empty"),
        (["one,day1,", "one,day2,"], "id,tiles,fixed", "2 rows with the id one: each round needs its own"),
        ([], "id,tiles,fixed", "a line for each round"),
    ],
)
def test_rows_that_are_wrong_are_named(scans, rows, columns, sentence):
    write_sheet(scans, *rows, columns=columns)
    with pytest.raises(InputError, match=sentence):
        stitch(scans, input="rounds.csv")
