"""Tiles whose positions are mirrored or exchanged: the report finds out, and the import puts it right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from stitching.scan import make_scan
from teralign.cli.main import load_command
from teralign.grids import as_float_triple
from teralign.tasks.import_tiles import export_tiles, import_tiles
from teralign.tasks.tile_layouts import advise_layout
from teralign.tiles import read_tiles, write_tiles
from teralign.tiles.layouts import AS_IS, Layout


def laid_out(tiles, layout):
    places = layout.place(np.array([tile.position for tile in tiles.tiles]))
    return replace(
        tiles,
        tiles=tuple(
            replace(tile, position=as_float_triple(place), stage=as_float_triple(place))
            for tile, place in zip(tiles.tiles, places, strict=True)
        ),
    )


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    return make_scan(folder, 3, 3)[0], folder


@pytest.mark.parametrize("layout", [Layout("x"), Layout("", True)], ids=str)
def test_positions_that_are_mirrored_or_exchanged_are_named_with_the_options(scan, layout):
    tiles, folder = scan
    advice = advise_layout(laid_out(tiles, layout), folder, 0)
    assert advice is not None
    assert advice.option == layout.options
    assert layout.options in advice.sentence


def test_positions_as_they_should_be_are_left_alone(scan):
    tiles, folder = scan
    assert advise_layout(tiles, folder, 0) is None


@pytest.mark.parametrize(
    ("words", "layout"),
    [((), AS_IS), (("--mirror", "x,y"), Layout("xy")), (("--swap-xy", "--mirror", "y"), Layout("y", True))],
)
def test_a_scan_is_imported_in_another_layout(scan, tmp_path, words, layout):
    tiles, folder = scan
    write_tiles(folder / "given.json", tiles)
    export_tiles(folder / "given.json", folder / "given.csv", overwrite=True)
    output = str(folder / "turned.json")
    done = CliRunner().invoke(
        load_command("import-tiles"),
        [str(folder / "given.csv"), output, "--spacing", "0.5,0.5,2", "--overwrite", *words],
    )
    assert done.exit_code == 0, done.output
    turned = read_tiles(output)
    wanted = layout.place(np.array([tile.position for tile in tiles.tiles]))
    np.testing.assert_allclose([tile.position for tile in turned.tiles], wanted)
    numbers = np.array([tile.index for tile in turned.tiles])
    assert all(np.corrcoef(numbers[:, axis], wanted[:, axis])[0, 1] > 0.99 for axis in (1, 2)), "rows go with y"


@pytest.mark.parametrize("axes", ["a", "x,q", "xy"])
def test_axes_that_are_none_are_refused(tmp_path, axes):
    done = CliRunner().invoke(load_command("import-tiles"), ["a.csv", str(tmp_path / "o.json"), "--mirror", axes])
    assert done.exit_code == 2 and "give for example x or x,y" in done.output


def test_the_layout_of_python_is_that_of_the_command(scan, tmp_path):
    tiles, folder = scan
    write_tiles(folder / "given.json", tiles)
    export_tiles(folder / "given.json", folder / "given.csv", overwrite=True)
    import_tiles(folder / "given.csv", folder / "m.json", spacing=tiles.spacing, mirror="x", overwrite=True)
    wanted = Layout("x").place(np.array([tile.position for tile in tiles.tiles]))
    np.testing.assert_allclose([tile.position for tile in read_tiles(folder / "m.json").tiles], wanted)
