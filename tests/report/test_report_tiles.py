"""The report of stitched tiles: what it says of tiles of known truth, and what its page shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from browser import opened
from teralign.cli.main import load_command
from teralign.correction import FlatField, write_flatfield
from teralign.errors import InputError
from teralign.grids import Region
from teralign.report import make_quilt, stage_set
from teralign.report.schema import schema_of
from teralign.report.tile_contents import TilesReport
from teralign.stitching.pairs import PairSet, TilePair, read_pairs, write_pairs
from teralign.stitching.place import place_tiles
from teralign.tasks.report_tiles import report_tiles
from teralign.tiles import Tile, TileChannel, TileReader, TileSet, TileSource, read_tiles, write_tiles
from teralign.trust import FailOn

SPACING = (2.0, 0.5, 0.5)
SHAPE = (8, 40, 40)
STEP = 30
NAMED = [f"r{row}c{column}" for row in range(3) for column in range(3)]


@dataclass(frozen=True)
class Stitched:
    """A scan of 3 x 3 tiles: its documents and the folder of its report."""

    folder: Path

    @property
    def documents(self) -> tuple[Path, Path]:
        return self.folder / "solved.json", self.folder / "pairs.json"

    @property
    def report(self) -> dict:
        return json.loads((self.folder / "report" / "report.json").read_text())


def make_scan(folder: Path) -> TileSet:
    """Write 3 x 3 tiles of a texture whose stage is off by whole voxels; one is absent and one is unreadable."""
    rng = np.random.default_rng(4)
    scene = ndimage.gaussian_filter(rng.normal(size=(20, 130, 130)), (1, 2, 2)) * 8000 + 3000
    tiles = []
    for number, name in enumerate(NAMED):
        row, column = divmod(number, 3)
        stage = np.array([0, row * STEP, column * STEP])
        off = rng.integers(-3, 4, 3) * [0, 1, 1]
        z, y, x = stage + off + [6, 10, 10]
        tifffile.imwrite(folder / f"{name}.tif", scene[z : z + 8, y : y + 40, x : x + 40].astype(np.uint16))
        position = tuple((stage * SPACING).tolist())
        source = (TileSource(f"{name}.tif"),)
        tiles.append(
            Tile(name, position, SHAPE, sources=source, index=(0, row, column), stage=position, order=number)
        )
        offsets[name] = off
    return TileSet(SPACING, (TileChannel("ch0"),), tuple(tiles))


offsets: dict[str, np.ndarray] = {}


def measured(tiles: TileSet, wrong: tuple[str, str] = ("r0c0", "r0c1"), silent: tuple[str, ...] = ()) -> PairSet:
    """The pairs as an alignment finds them: true to 0.05 voxels, one of them wrong, some without content."""
    rng = np.random.default_rng(5)
    pairs = []
    for fixed, moving in tiles.overlapping(200):
        off = offsets[moving.name] - offsets[fixed.name] + rng.normal(size=3) * 0.05
        if (fixed.name, moving.name) == wrong:
            off += [0, 9, -7]
        lost = fixed.name in silent or moving.name in silent
        pairs.append(
            TilePair(
                fixed.name,
                moving.name,
                tuple((off * SPACING).tolist()),
                (None, 0.05, 0.05) if lost else (0.2, 0.05, 0.05),
                (0.5, 0.9, 0.9),
                ncc=0.05 if lost else 0.9 - 0.02 * len(pairs),
                ncc_before=0.1,
                second=0.05,
                voxels=3000 if fixed.index[1] == moving.index[1] or fixed.index[2] == moving.index[2] else 500,
                content=(1.0, 1.0) if lost else (9.0, 9.0),
                evidence=not lost,
                reason="no content" if lost else "",
            )
        )
    return PairSet(0, (2.0, 4.0, 4.0), tuple(pairs))


@pytest.fixture(scope="module")
def stitched(tmp_path_factory) -> Stitched:
    folder = tmp_path_factory.mktemp("stitched")
    tiles = make_scan(folder)
    pairs = measured(tiles, silent=("r2c2",))
    write_pairs(folder / "pairs.json", pairs)
    write_tiles(folder / "solved.json", place_tiles(tiles, pairs).tiles)
    report_tiles(folder / "solved.json", folder / "pairs.json", folder / "report", name="brain <1>")
    return Stitched(folder)


def test_the_verdict_comes_with_the_error_that_is_true(stitched):
    report = stitched.report
    assert report["kind"] == "tiles" and report["verdict"] == "good"
    assert report["gates"]["passed"] and report["gates"]["failed"] == []
    solved = read_tiles(stitched.documents[0])
    off = [np.subtract(t.position, t.stage) - offsets[t.name] * np.array(SPACING) for t in solved.tiles[:-1]]
    true = np.linalg.norm(off - np.median(off, axis=0), axis=1)
    error = report["error_um"]
    assert 1 / 3 < np.median(true) / error["median"] < 3
    assert error["median"] <= error["p95"]


def test_the_wrong_overlap_is_named_with_its_residual(stitched):
    (removed,) = stitched.report["removed"]
    assert (removed["fixed"], removed["moving"]) == ("r0c0", "r0c1")
    assert removed["residual_um"][1:] == pytest.approx([-4.5, 3.5], abs=0.4)
    assert stitched.report["overlaps"]["removed"] == 1


def test_tiles_without_evidence_are_named(stitched):
    flagged = stitched.report["flagged"]
    assert flagged["no_evidence"] == flagged["empty"] == ["r2c2"]
    assert flagged["absent"] == flagged["unreadable"] == []
    tile = next(tile for tile in stitched.report["tiles"] if tile["name"] == "r2c2")
    assert tile["residual_um"] is None and tile["error_um"] is None


def test_the_file_follows_its_schema(stitched):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema_of(TilesReport)).validate(stitched.report)


def test_the_seams_are_the_best_the_median_and_the_worst(stitched):
    seams = stitched.report["seams"]
    assert [seam["which"] for seam in seams] == ["best", "median", "worst"]
    assert seams[0]["after"] > seams[1]["after"] > seams[2]["after"]
    sheet = np.asarray(Image.open(stitched.folder / "report" / "seams.png")).astype(float)
    coloured = np.abs(sheet[..., 0] - sheet[..., 1])
    left, right = (part.mean() for part in np.array_split(coloured, 2, axis=1))
    assert right < left, "at the solved positions less is magenta or green"


def test_the_quilt_is_the_scene(stitched):
    """Placed tiles show the texture as it is; at the positions of the stage it does not fit."""
    tiles = read_tiles(stitched.documents[0])
    reader = TileReader(tiles, stitched.folder)

    def read(tile: Tile, region: Region) -> np.ndarray:
        return reader.read(tile, 0, region).astype(np.float32)

    def error(placed: TileSet) -> float:
        """How far the quilt is from each single tile, in the middle of whose neighbours it lies."""
        quilt = make_quilt(placed, read)
        assert quilt.planes == quilt.depth == SHAPE[0] and quilt.pixel_um == 0.5
        low = np.min([t.position[1:] for t in placed.tiles], axis=0)
        off = []
        for tile in placed.tiles:
            y, x = np.round((np.array(tile.position[1:]) - low) / 0.5).astype(int)
            whole = read(tile, Region.whole(SHAPE)).max(axis=0)
            shown = quilt.values[y : y + 40, x : x + 40]
            off.append(np.nanmean(np.abs(shown - whole[: shown.shape[0], : shown.shape[1]])))
        return float(np.mean(off))

    solved = replace(tiles, tiles=tiles.tiles[:8])
    assert error(solved) < 0.6 * error(stage_set(solved))


def test_a_quilt_of_a_scan_that_is_too_large_has_the_middle_planes(stitched):
    tiles = read_tiles(stitched.documents[0])
    asked: list[Region] = []

    def read(tile: Tile, region: Region) -> np.ndarray:
        asked.append(region)
        return np.full(region.shape, 7, np.float32)

    quilt = make_quilt(tiles, read, side=64, budget=1)
    assert quilt.planes == 1 and {(r.start[0], r.stop[0]) for r in asked} == {(4, 5)}
    assert max(quilt.values.shape) <= 64 and np.nanmax(quilt.values) == pytest.approx(7)


def test_a_flat_field_evens_the_pictures(stitched, tmp_path):
    gain = np.tile(np.linspace(0.5, 1.5, 40, dtype=np.float32), (1, 1, 40, 1))
    field = FlatField(gain, np.zeros((1, 40, 40), np.float32), np.zeros(1), ("ch0",))
    write_flatfield(tmp_path / "flat.npz", field)
    report_tiles(*stitched.documents, tmp_path / "report", flatfield=tmp_path / "flat.npz")
    even, uneven = (
        np.asarray(Image.open(folder / "quilt.png")) for folder in (tmp_path / "report", stitched.folder / "report")
    )
    assert even.shape == uneven.shape and not np.array_equal(even, uneven)
    small = replace(field, gain=gain[:, :, :20], dark=np.zeros((1, 20, 40), np.float32))
    write_flatfield(tmp_path / "small.npz", small)
    with pytest.raises(InputError, match="their own flat field"):
        report_tiles(*stitched.documents, tmp_path / "other", flatfield=tmp_path / "small.npz")


def test_a_tile_that_cannot_be_read_is_named_and_the_report_goes_on(tmp_path):
    tiles = make_scan(tmp_path)
    pairs = measured(tiles)
    write_pairs(tmp_path / "pairs.json", pairs)
    write_tiles(tmp_path / "solved.json", place_tiles(tiles, pairs).tiles)
    (tmp_path / "r1c1.tif").write_bytes(b"no picture")
    report_tiles(tmp_path / "solved.json", tmp_path / "pairs.json", tmp_path / "report")
    assert "could not be read for it: r1c1" in (tmp_path / "report" / "index.html").read_text()


def test_documents_that_do_not_belong_together_are_refused(stitched, tmp_path):
    solved, pairs = stitched.documents
    with pytest.raises(InputError, match="has a report already"):
        report_tiles(solved, pairs, stitched.folder / "report")
    unsolved = stage_set(replace(read_tiles(solved), solution=None))
    write_tiles(tmp_path / "tiles.json", unsolved)
    with pytest.raises(InputError, match="solve-tiles wrote"):
        report_tiles(tmp_path / "tiles.json", pairs, tmp_path / "report")
    fewer = read_tiles(solved)
    write_tiles(tmp_path / "fewer.json", replace(fewer, tiles=fewer.tiles[:8]))
    with pytest.raises(InputError, match="no tile of the solution"):
        report_tiles(tmp_path / "fewer.json", pairs, tmp_path / "report")
    with pytest.raises(InputError, match="another --channel than 3"):
        report_tiles(solved, pairs, tmp_path / "report", channel=3)
    assert not (tmp_path / "report").exists()


def test_bad_stitching_ends_with_code_6_and_its_report(stitched, tmp_path):
    """Shifts by chance agree with nothing."""
    solved, _ = stitched.documents
    good = read_pairs(stitched.documents[1])
    lost = tuple(replace(p, evidence=False, reason="low correlation", ncc=0.05) for p in good.pairs[3:])
    pairs = replace(good, pairs=(*good.pairs[:3], *lost))
    write_pairs(tmp_path / "pairs.json", pairs)
    tiles = stage_set(read_tiles(solved))
    write_tiles(tmp_path / "solved.json", place_tiles(tiles, pairs).tiles)
    for tile in tiles.tiles:
        (tmp_path / f"{tile.name}.tif").symlink_to(stitched.folder / f"{tile.name}.tif")
    command = load_command("report-tiles")
    words = [str(tmp_path / name) for name in ("solved.json", "pairs.json", "report")]
    result = CliRunner().invoke(command, [*words, "--fail-on", "bad"])
    assert getattr(result.exception, "exit_code", None) == 6
    assert "the stitching is bad" in str(result.exception)
    printed = json.loads(result.stdout)
    assert printed["verdict"] == "bad" and Path(printed["report"]).exists()
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["assessment"]["advice"] and report["gates"]["failed"][0]["sentence"] == "the stitching is bad"
    again = report_tiles(*words[:2], tmp_path / "report", fail_on=FailOn.NEVER, overwrite=True)
    assert again.gates.passed and again.verdict == "bad"


def test_ten_thousand_tiles_make_a_page_below_five_megabytes(tmp_path):
    """The map is the largest part of a page of many tiles."""
    from teralign.report import ReportedTile, TileOverlap
    from teralign.report.tile_map import tile_maps

    tiles = [
        ReportedTile(
            f"t{n}", (0, n // 100, n % 100), "present", (), 0, (0, 0, 0), (0, n // 100 * 9, n % 100 * 9), 0.1, 0.1
        )
        for n in range(10_000)
    ]
    removed = [TileOverlap("t0", "t1", "removed", 0.1, 0.2, 0.1, 10, (0.1,) * 3, (1.0, 1.0, 1.0))]
    (found,) = tile_maps(tiles, removed, {tile.name: (10.0, 10.0) for tile in tiles})
    assert len(found.svg) < 4_000_000 and 'class="removed"' in found.svg


def test_the_page_is_one_file_with_words_for_its_pictures(browser, stitched):
    page = stitched.folder / "report" / "index.html"
    assert page.stat().st_size < 5_000_000
    with opened(browser, page.as_uri(), script=False) as visit:
        assert visit.errors == [] and all(url.startswith(("file://", "data:")) for url in visit.requests)
        assert sum(url.startswith("file://") for url in visit.requests) == 1, "one file, and nothing else"
        text = visit.page.inner_text("body")
        assert text.index("Good") < text.index("Map of tiles") < text.index("Quilt")
        assert "brain <1>" in text and "r2c2" in visit.page.locator("svg.tiles").text_content()
        images = visit.page.locator("img")
        assert images.count() == 7
        for number in range(images.count()):
            assert len(images.nth(number).get_attribute("alt")) > 30
            assert images.nth(number).evaluate("image => image.complete && image.naturalWidth > 40")
        assert "r2c2" in visit.page.locator("svg.tiles").get_attribute("aria-label")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
