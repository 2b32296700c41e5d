"""`align-tiles` and `solve-tiles` on a small scan of known truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from stitching.scan import errors, make_scan
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import Compute
from teralign.errors import DataError, InputError
from teralign.results import schema_of
from teralign.stitching.align_pairs import STAGE, PairAligner, PairRecord, pair_blocks
from teralign.stitching.pairs import PairSet, read_pairs, write_pairs
from teralign.stitching.place import place_tiles
from teralign.stitching.schema import STITCHING_SCHEMAS
from teralign.tasks.align_tiles import align_tiles, plan_align_tiles
from teralign.tasks.solve_tiles import solve_tiles
from teralign.tiles import read_tiles, write_tiles

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def here(tiles, folder, **options) -> PairSet:
    """The pairs of tiles, measured in this process."""
    aligner = PairAligner.of(tiles, folder, 0, None, **options)
    found = tuple(record.pair for record in map(aligner, pair_blocks(tiles)) if record.pair is not None)
    return PairSet(0, (1.0, 1.0, 1.0), found)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    tiles, true = make_scan(folder)
    return folder, tiles, true


def test_tiles_come_to_lie_where_they_are(scan, tmp_path):
    folder, tiles, true = scan
    compute = Compute(workers=1, worker_cpus=1)
    done = align_tiles(folder / "tiles.json", tmp_path / "pairs.json", compute=compute)
    assert (done.pairs, done.resumed, done.unreadable) == (11, 0, ())
    assert done.evidence >= 7 and done.ncc > done.ncc_before
    pairs = read_pairs(tmp_path / "pairs.json")
    jsonschema.Draft202012Validator(json.loads((SCHEMAS / "pairs.schema.json").read_text())).validate(
        json.loads((tmp_path / "pairs.json").read_text())
    )
    solved = solve_tiles(folder / "tiles.json", tmp_path / "pairs.json", tmp_path / "solved.json")
    assert (solved.solution.verdict, solved.removed, solved.flagged) == ("good", (), {})
    placed = read_tiles(tmp_path / "solved.json")
    assert errors(placed, true).max() < 0.3 < 2 < errors(tiles, true).max()
    assert [t.stage for t in placed.tiles] == [t.position for t in tiles.tiles]
    assert pairs.pairs == here(placed, folder).pairs, "solved tiles are measured from the stage again"


@pytest.mark.parametrize("name", STITCHING_SCHEMAS)
def test_the_schemas_of_the_documentation_are_those_of_the_code(name):
    """If not: python -m teralign.stitching.schema docs/schemas."""
    assert json.loads((SCHEMAS / name).read_text()) == json.loads(json.dumps(schema_of(STITCHING_SCHEMAS[name])))


def test_pairs_of_an_interrupted_run_are_not_measured_again(scan, tmp_path):
    folder, tiles, _ = scan
    blocks = pair_blocks(tiles)
    aligner = PairAligner.of(tiles, folder, 0, None)
    with Workspace(tmp_path / "work") as workspace:
        workspace.prepare({})
        run_blocks(aligner, blocks[:4], client=None, workspace=workspace, stage=STAGE)
        summary = run_blocks(aligner, blocks, client=None, workspace=workspace, stage=STAGE)
        names = [record.pair.moving for record in workspace.records(STAGE, PairRecord)]
    assert (summary.total, summary.resumed) == (11, 4) and len(names) == 11


def test_a_tile_that_cannot_be_read_is_named(scan, tmp_path):
    folder, tiles, true = scan
    lost = replace(tiles.tiles[2], sources=(replace(tiles.tiles[2].sources[0], uri="gone.tif"),))
    broken = replace(tiles, tiles=(*tiles.tiles[:2], lost, *tiles.tiles[3:]))
    with pytest.raises(DataError, match="the tile t02 cannot be read"):
        here(broken, folder)
    pairs = here(broken, folder, skip_unreadable=True)
    assert {p.reason for p in pairs.pairs if "t02" in (p.fixed, p.moving)} == {"unreadable"}
    placed = place_tiles(broken, pairs).tiles
    assert placed.by_name("t02").flags == ("no_evidence",)
    assert errors(placed, true)[[0, 1, 3, 4, 5]].max() < 0.4


def test_wrong_pairs_are_named_and_absent_tiles_are_placed(scan):
    folder, tiles, true = scan
    pairs = here(tiles, folder)
    good = next(n for n, p in enumerate(pairs.pairs) if (p.fixed, p.moving) == ("t00", "t01"))
    bad = replace(pairs.pairs[good], shift=(0.0, 6.0, -7.0))
    absent = replace(tiles.tiles[5], state="absent", sources=())
    changed = replace(tiles, tiles=(*tiles.tiles[:5], absent))
    kept = [p for p in pairs.pairs if "t12" not in (p.fixed, p.moving)]
    placed = place_tiles(changed, replace(pairs, pairs=tuple(bad if p is pairs.pairs[good] else p for p in kept)))
    assert [removed[:2] for removed in placed.removed] == [("t00", "t01")]
    assert placed.tiles.by_name("t12").flags == ("no_evidence",)
    assert errors(placed.tiles, true)[:5].max() < 0.5


def test_another_channel_decides(tmp_path):
    tiles, true = make_scan(tmp_path, 1, 2, channels=2)
    (tmp_path / "t00_0.tif").unlink()
    aligner = PairAligner.of(tiles, tmp_path, 1, None)
    pair = aligner(pair_blocks(tiles)[0]).pair
    assert pair is not None and pair.evidence
    placed = place_tiles(tiles, PairSet(1, (1.0, 1.0, 1.0), (pair,))).tiles
    assert errors(placed, true).max() < 0.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channel": 1}, "has no channel 1; choose one of 0"),
        ({"search": (1.0, 1.0, 1.0), "channel": -1}, "has no channel -1"),
    ],
)
def test_bad_options_are_refused(scan, tmp_path, options, words):
    folder, _, _ = scan
    with pytest.raises(InputError, match=words):
        plan_align_tiles(folder / "tiles.json", tmp_path / "pairs.json", compute=Compute(workers=1), **options)


def test_tiles_that_do_not_overlap_are_refused(scan, tmp_path):
    _, tiles, _ = scan
    apart = replace(
        tiles, tiles=tuple(replace(t, position=(0.0, 0.0, 1e3 * n), stage=None) for n, t in enumerate(tiles.tiles))
    )
    write_tiles(tmp_path / "tiles.json", apart)
    with pytest.raises(InputError, match="no two tiles"):
        plan_align_tiles(tmp_path / "tiles.json", tmp_path / "pairs.json", compute=Compute(workers=1))


def test_existing_outputs_are_kept(scan, tmp_path):
    folder, _, _ = scan
    (tmp_path / "there.json").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        align_tiles(folder / "tiles.json", tmp_path / "there.json")
    write_pairs(tmp_path / "pairs.json", PairSet(0, (1.0, 1.0, 1.0), ()))
    with pytest.raises(InputError, match="exists already"):
        solve_tiles(folder / "tiles.json", tmp_path / "pairs.json", tmp_path / "there.json")
    assert (tmp_path / "there.json").read_text() == "mine"


def test_pairs_of_another_scan_are_refused(scan, tmp_path):
    folder, tiles, _ = scan
    pairs = here(tiles, folder)
    other = replace(tiles, tiles=tuple(replace(t, name=f"{t.name}_b") for t in tiles.tiles))
    with pytest.raises(InputError, match="which the tiles lack"):
        place_tiles(other, pairs)


def test_without_pairs_the_verdict_is_unknown(scan):
    _, tiles, _ = scan
    placed = place_tiles(tiles, PairSet(0, (1.0, 1.0, 1.0), ())).tiles
    assert placed.solution is not None and placed.solution.verdict == "unknown"
    assert [t.position for t in placed.tiles] == [t.position for t in tiles.tiles]


def test_a_plan_writes_nothing_and_counts_the_pairs(scan, tmp_path):
    folder, _, _ = scan
    plan = plan_align_tiles(folder / "tiles.json", tmp_path / "pairs.json", compute=Compute(workers=1))
    assert plan.blocks == {STAGE: 11} and plan.read_bytes > 0 and not list(tmp_path.iterdir())
    assert np.isfinite(plan.estimated_seconds)
