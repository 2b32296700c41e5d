"""Transforms that pairs begin with, and alignments that are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from teralign.errors import InputError
from teralign.pipeline import Pair, read_pairs

HEADER = "id,fixed,moving,initial_transform,global_transform,local_transform\n"
GIVEN = {"input": "sheet.csv", "aff_scale": "s3", "def_scale": "s2"}


def pairs(volumes: Path, rows: str, **given: object) -> list[Pair]:
    (volumes / "sheet.csv").write_text(HEADER + rows)
    return read_pairs(GIVEN | given, volumes)


def test_starts_are_files_outermost_first(volumes: Path) -> None:
    (volumes / "b.mat").write_text((volumes / "a.mat").read_text())
    (pair,) = pairs(volumes, "a,fix.n5,mov.n5,b.mat; a.mat,,\n")
    assert [start.path.name for start in pair.transforms.initial] == ["b.mat", "a.mat"]
    assert pair.transforms.global_name == "affine.mat"
    assert pair.notes == (f"starts from {volumes / 'b.mat'}, {volumes / 'a.mat'}",)


def test_a_reuse_is_traced_to_the_pair_or_the_file_that_it_comes_from(volumes: Path) -> None:
    rows = (
        "a,fix.n5,mov.n5,,,\nb,fix.n5,mov.n5,,a,\nc,fix.n5,mov.n5,,b,\nd,fix.n5,mov.n5,,a.mat,\ne,fix.n5,mov.n5,,d,\n"
    )
    found = pairs(volumes, rows)
    assert [pair.transforms.reused_pair for pair in found] == ["", "a", "a", "", ""]
    assert [len(pair.transforms.reused) for pair in found] == [0, 0, 0, 1, 1]
    assert found[2].notes == ("global alignment skipped, reusing that of a",)


def test_one_pair_of_a_run_may_serve_all(volumes: Path) -> None:
    found = pairs(volumes, "a,fix.n5,mov.n5,,,\nb,fix.n5,mov.n5,,,\nc,fix.n5,mov.n5,a.mat,,\n", global_transform="a")
    assert [pair.transforms.reused_pair for pair in found] == ["", "a", ""]
    assert len(found[2].transforms.initial) == 1, "a row with a transform of its own takes none of the run"


def test_both_files_of_an_older_run_are_the_whole_map(volumes: Path) -> None:
    (volumes / "b.mat").write_text((volumes / "a.mat").read_text())
    (pair,) = pairs(volumes, "a,fix.n5,mov.n5,,a.mat,b.mat\n")
    assert [part.path.name for part in pair.transforms.whole] == ["a.mat", "b.mat"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            "a,fix.n5,mov.n5,,b,\n",
            r"csv, row 1, global_transform: b is neither the id of a pair nor a file that exists",
        ),
        ("a,fix.n5,mov.n5,,a,\n", r"row 1, global_transform: a is this pair itself; name another"),
        (
            "a,fix.n5,mov.n5,,b,\nb,fix.n5,mov.n5,,a,\n",
            r"row 1, global_transform: .* takes its global transform from",
        ),
        ("a,fix.n5,mov.n5,,,a.mat\nb,fix.n5,mov.n5,,a,\n", r"row 2, global_transform: a has a local_transform"),
        (
            "a,fix.n5,mov.n5,,,\nb,fix.n5,mov.n5,,a,a.mat\n",
            r"row 2, global_transform: beside a local_transform it must",
        ),
    ],
)
def test_a_reuse_that_leads_nowhere_is_refused(rows: str, sentence: str, volumes: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        pairs(volumes, rows)


@pytest.mark.parametrize("empty", ["", True])
def test_empty_steps_are_a_skipped_alignment(empty: object, volumes: Path) -> None:
    """True is what Nextflow makes of `--bigstream_global_steps ''`."""
    (pair,) = pairs(volumes, "a,fix.n5,mov.n5,,,\n", bigstream_global_steps=empty)
    assert pair.notes == ("global alignment skipped",)


def test_empty_steps_of_the_configuration_are_too(volumes: Path) -> None:
    (volumes / "steps.yml").write_text("local_align:\n  steps: []\n")
    found = pairs(volumes, "a,fix.n5,mov.n5,,a.mat,\nb,fix.n5,mov.n5,,,a.mat\n", bigstream_config="steps.yml")
    assert found[0].notes[1:] == ("local alignment skipped",)
    assert len(found[1].notes) == 1, "nothing is aligned"
