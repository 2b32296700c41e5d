"""Commands that make transforms out of others, as they are called."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.cli.main import load_command, run
from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, save_field


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with an affine and a field."""
    monkeypatch.chdir(tmp_path)
    Affine.from_parts(np.diag([1.1, 0.9, 1.0]), (5.0, 0.0, -2.0)).save("a.mat")
    nodes = Grid((9, 10, 11), (8.0, 8.0, 8.0))
    save_field("u.zarr", DisplacementField(np.random.default_rng(0).uniform(-1, 1, (*nodes.shape, 3)), nodes))
    return tmp_path


def printed(capsys, name, arguments):
    assert run(load_command(name), arguments.split(), name=name) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "arguments", "report"),
    [
        ("compose-transforms", "a.mat u.zarr c.zarr --grid-spacing 12,11,10", "c.residual.json"),
        ("invert-transform", "--transform a.mat --transform u.zarr --output c.zarr", "c.residual.json"),
        ("convert-transform", "a.mat u.zarr c.nii.gz --unit mm", "c.residual.json"),
        ("jacobian-map", "a.mat u.zarr c.zarr --grid-spacing 12,11,10", "c.summary.json"),
    ],
)
def test_what_is_printed_is_what_the_report_holds(here, capsys, name, arguments, report):
    said = printed(capsys, name, arguments)
    assert said["report"] == report
    written = json.loads((here / report).read_text())
    written.pop("run", None)
    assert said == written


def test_an_affine_for_itk_needs_no_report(here, capsys):
    said = printed(capsys, "convert-transform", "a.mat c.mat --to itk")
    assert said.items() >= {"output": "c.mat", "kind": "an affine of ITK", "transforms": ["a.mat"]}.items()
    assert sorted(path.name for path in here.iterdir()) == ["a.mat", "c.mat", "u.zarr"]


def test_spacings_are_given_and_told_as_xyz(here, capsys):
    said = printed(capsys, "compose-transforms", "a.mat u.zarr c.zarr --grid-spacing 12,11,10")
    assert said["grid"]["spacing_um"] == [12, 11, 10]
