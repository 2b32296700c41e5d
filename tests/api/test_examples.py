"""The examples in the docstrings of the public names give what they say."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest
from small_rounds import placed

import teralign as ta
from phantoms import Scene, affine_about
from phantoms import pair as drawn_pair
from teralign.grids import Grid, group_means
from volume_files import space_axes, write_ome_zarr

FUNCTIONS = [name for name in ta.__all__ if inspect.isroutine(getattr(ta, name))]
EXAMPLES = [
    test
    for name in (*FUNCTIONS, "Registration")
    for test in doctest.DocTestFinder(exclude_empty=True).find(getattr(ta, name), name)
    if test.examples
]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names that the examples use, and the folder that they run in, with two small rounds."""
    grid = Grid((32, 48, 48), (2.0, 1.0, 1.0))
    truth = affine_about(grid.centre, scale=(1.01, 1.0, 0.99), shift=(2.0, -2.0, 1.0))
    fixed, moving = (image.array for image in drawn_pair(Scene.cells(60.0, count=150), grid, grid, truth))
    folder = tmp_path_factory.mktemp("examples")
    for name, array in (("round1", fixed), ("round2", moving)):
        coarse = group_means(array, (1, 2, 2)).astype(array.dtype)
        transforms = {"s0": placed([2.0, 1.0, 1.0], [0.0] * 3), "s1": placed([2.0, 2.0, 2.0], [0.0, 0.5, 0.5])}
        write_ome_zarr(folder / f"{name}.zarr", {"s0": array, "s1": coarse}, space_axes(), transforms)
    return folder, {"ta": ta, "np": np, "fixed": fixed, "moving": moving}


@pytest.mark.parametrize("example", EXAMPLES, ids=[test.name for test in EXAMPLES])
def test_the_example_of(example, names, monkeypatch, capsys):
    folder, given = names
    monkeypatch.chdir(folder)
    example.globs = dict(given)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed = doctest.DocTestRunner(optionflags=options).run(example)
    assert failed.failed == 0, capsys.readouterr().out


def test_each_function_has_an_example():
    documented = {test.name.split(".")[0] for test in EXAMPLES}
    assert documented >= set(FUNCTIONS) | {"Registration"}
