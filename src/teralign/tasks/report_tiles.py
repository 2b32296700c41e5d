"""`report-tiles`: the verdict on stitched tiles, with maps, seams and numbers, as one page and as JSON."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teralign.correction import FlatField, read_flatfield
from teralign.errors import DataError, InputError
from teralign.files import write_atomically, writing
from teralign.grids import Floats, Region
from teralign.provenance import Run, own_name
from teralign.report import (
    MARKS,
    BentAt,
    ReadTile,
    ReportedTile,
    Residuals,
    Seam,
    SeamNote,
    TileEvidence,
    TileOverlap,
    TilesReport,
    chosen_pairs,
    draw_seam,
    make_quilt,
    marks_of,
    quilt_picture,
    seam_sheet,
    stage_set,
    straight,
    tiles_page,
)
from teralign.results import write_json
from teralign.stitching.pairs import read_pairs
from teralign.stitching.refinement import TileBends, read_refinement
from teralign.tasks.tile_layouts import advise_layout
from teralign.tasks.tile_verdict import JudgedTiles, judge, overlaps_of, stage_of
from teralign.tiles import Tile, TileReader, TileSet, read_tiles
from teralign.trust import (
    Assessment,
    ErrorEstimate,
    FailOn,
    GateCheck,
    Gates,
    Measured,
    Verdict,
)

log = logging.getLogger(__name__)

_FILES = ("index.html", "report.json", "quilt.png", "seams.png")


@dataclass(frozen=True)
class StitchingVerdict:
    """The verdict on stitched tiles, the estimated error of their positions, the gates, and the files written."""

    verdict: Verdict
    error_um: ErrorEstimate | None
    assessment: Assessment
    gates: GateCheck
    report: Path
    json: Path


def report_tiles(
    solved: str | Path,
    pairs: str | Path,
    output: str | Path,
    *,
    flatfield: str | Path | None = None,
    refinement: str | Path | None = None,
    name: str | None = None,
    channel: int = 0,
    fail_on: FailOn = FailOn.NEVER,
    overwrite: bool = False,
) -> StitchingVerdict:
    """Write the report of solved tiles into the folder `output`: index.html, report.json, quilt.png and seams.png.

    `solved` is the document of solve-tiles or balance-tiles, `pairs` that of align-tiles from which it was solved.
    The pictures show `channel`, in the light of the `flatfield`, bent as the `refinement` of refine-tiles says.
    `name` is that of the scan, by default the folder's.
    The verdict is held against `fail_on` in the result; nothing is raised then.

    Raises InputError for documents that do not belong together, tiles that are not solved, and an output that exists.
    """
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder, which the report is written into.")
    if not overwrite and any((folder / file).exists() for file in _FILES):
        raise InputError(f"{folder} has a report already; choose another folder, or add --overwrite.")
    tiles = read_tiles(solved)
    if tiles.solution is None:
        raise InputError(f"{solved} has positions as the stage says; give the document that solve-tiles wrote.")
    if not tiles.present:
        raise InputError(f"{solved} has no tile that can be read; a report needs some.")
    if not 0 <= channel < len(tiles.channels):
        raise InputError(f"{solved} has {len(tiles.channels)} channels; choose another --channel than {channel}.")
    field = None if flatfield is None else _field_of(flatfield, tiles, channel)
    bends = None if refinement is None else read_refinement(Path(refinement), tiles)
    bent = straight if bends is None else _bent_by(bends, tiles)
    found = overlaps_of(tiles, tiles.solution, read_pairs(pairs).pairs, str(pairs))
    read = _reader(tiles, Path(solved).parent, channel, field)
    if bends is not None:
        read = _put_back(read, bends)
    inputs = {"solved": own_name(solved), "pairs": own_name(pairs)}
    if flatfield is not None:
        inputs["flatfield"] = own_name(flatfield)
    if refinement is not None:
        inputs["refinement"] = own_name(refinement)
    judged = judge(tiles, found)
    assessment = _advised(judged.assessment, tiles, Path(solved).parent, channel)
    named = name or folder.absolute().name
    content, evidence = _measure(
        tiles, found, judged, assessment, (read, bent), named, Gates(fail_on=fail_on), channel, inputs
    )
    page = tiles_page(content, evidence)
    folder.mkdir(parents=True, exist_ok=True)
    _write_picture(folder / "quilt.png", quilt_picture(evidence.quilt))
    if evidence.seams:
        _write_picture(folder / "seams.png", seam_sheet(evidence.seams))
    write_json(folder / "report.json", content)
    write_atomically(folder / "index.html", page.encode())
    return StitchingVerdict(
        content.verdict,
        content.error_um,
        content.assessment,
        content.gates,
        folder / "index.html",
        folder / "report.json",
    )


def _measure(
    tiles: TileSet,
    overlaps: Sequence[TileOverlap],
    judged: JudgedTiles,
    assessment: Assessment,
    shown: tuple[ReadTile, BentAt],
    name: str,
    gates: Gates,
    channel: int,
    inputs: Mapping[str, str],
) -> tuple[TilesReport, TileEvidence]:
    """Return the content of the report, and what its page shows besides."""
    errors = judged.errors
    confirmed = [o for o in overlaps if o.state == "confirmed"]
    seams, unseen = _seams(tiles, overlaps, *shown)
    quilt = make_quilt(tiles, *shown)
    reported = _reported(tiles, confirmed, errors)
    content = TilesReport(
        kind="tiles",
        verdict=assessment.verdict,
        error_um=assessment.error_um,
        gates=gates.check(Measured(assessment.verdict, what="the stitching")),
        name=name,
        assessment=assessment,
        spacing_um=tiles.spacing,
        channel=tiles.channels[channel].name,
        solution=tiles.solution,
        overlaps=dict(sorted(Counter(o.state for o in overlaps).items())),
        residual_um=_residuals(confirmed),
        correlation={"before": judged.before, "after": judged.after},
        flagged={key: [tile.name for tile in reported if key in marks_of(tile)] for key in MARKS},
        removed=[o for o in overlaps if o.state == "removed"],
        seams=[
            SeamNote(s.which, s.overlap.fixed, s.overlap.moving, s.overlap.before, s.overlap.after) for s in seams
        ],
        tiles=reported,
        run=Run(inputs=inputs, parameters={}),
    )
    size = {t.name: (t.shape[1] * tiles.spacing[1], t.shape[2] * tiles.spacing[2]) for t in tiles.tiles}
    return content, TileEvidence(overlaps, size, quilt, seams, sorted({*unseen, *quilt.missing}))


def _advised(assessment: Assessment, tiles: TileSet, folder: Path, channel: int) -> Assessment:
    """Return the assessment, with the layout in which the overlaps fit where most do not fit as they are."""
    if assessment.verdict != Verdict.BAD or 2 * assessment.confirmed > assessment.examined:
        return assessment
    advice = advise_layout(tiles, folder, channel)
    return assessment if advice is None else replace(assessment, advice=[advice])


def _reported(tiles: TileSet, confirmed: Sequence[TileOverlap], errors: Floats) -> list[ReportedTile]:
    """Return the tiles as the report has them."""
    lengths: dict[str, list[float]] = {}
    for overlap in confirmed:
        if (length := overlap.length_um) is not None:
            for name in (overlap.fixed, overlap.moving):
                lengths.setdefault(name, []).append(length)
    return [
        ReportedTile(
            tile.name,
            tile.index,
            tile.state,
            tile.flags,
            tile.component,
            stage_of(tile),
            tile.position,
            float(np.mean(lengths[tile.name])) if tile.name in lengths else None,
            float(error) if np.isfinite(error) else None,
        )
        for tile, error in zip(tiles.tiles, errors, strict=True)
    ]


def _residuals(confirmed: Sequence[TileOverlap]) -> Residuals | None:
    lengths = [length for o in confirmed if (length := o.length_um) is not None]
    if not lengths:
        return None
    median, p95, largest = (float(v) for v in np.percentile(lengths, [50, 95, 100]))
    return Residuals(median, p95, largest)


def _seams(
    tiles: TileSet, overlaps: Sequence[TileOverlap], read: ReadTile, bent: BentAt
) -> tuple[list[Seam], list[str]]:
    """Return the seams to show, and the names of pairs of tiles that could not be read for them."""
    seams, unseen = [], []
    stage = stage_set(tiles)
    for which, overlap in chosen_pairs(overlaps):
        try:
            seams.append(draw_seam(tiles, stage, overlap, which, read, bent))
        except DataError as error:
            log.warning("no seam is shown: %s", error)
            unseen += [overlap.fixed, overlap.moving]
    return seams, unseen


def _field_of(path: str | Path, tiles: TileSet, channel: int) -> FlatField:
    """Return the flat field. Raises InputError where it is not that of these tiles."""
    field = read_flatfield(path)
    plane = tiles.present[0].shape[1:]
    if field.plane != plane or channel >= len(field.channels):
        raise InputError(
            f"{path} describes {len(field.channels)} channels of {field.plane[1]} x {field.plane[0]} voxels, and the "
            f"tiles have {len(tiles.channels)} of {plane[1]} x {plane[0]}; give their own flat field."
        )
    return field


def _reader(tiles: TileSet, folder: Path, channel: int, field: FlatField | None) -> ReadTile:
    """Return what reads the voxels of tiles in even light and balanced."""
    reader = TileReader(tiles, folder)

    def read(tile: Tile, region: Region) -> NDArray[np.float32]:
        voxels = reader.read(tile, channel, region)
        even = voxels.astype(np.float32) if field is None else field.correct(voxels, channel, region)
        gain = tile.gain[channel] if tile.gain else 1.0
        offset = tile.offset[channel] if tile.offset else 0.0
        return np.asarray(even * np.float32(gain) + np.float32(offset), np.float32)

    return read


def _put_back(read: ReadTile, bends: TileBends) -> ReadTile:
    """Return what reads tiles with their slices put back."""

    def straight_slices(tile: Tile, region: Region) -> NDArray[np.float32]:
        return np.asarray(bends.read(tile, region, partial(read, tile)), np.float32)

    return straight_slices


def _bent_by(bends: TileBends, tiles: TileSet) -> BentAt:
    """Return what displaces a tile, by the tiles that it shares points with."""
    boxes = np.array([_box_of(tile, tiles) for tile in tiles.present])

    def bent(tile: Tile, points: Floats) -> Floats:
        reach = (boxes[:, 0] <= points.max(axis=0)) & (boxes[:, 1] >= points.min(axis=0))
        near = [tiles.present[k] for k in np.flatnonzero(reach.all(axis=1))]
        return bends.at(near, points).get(tile.name, np.zeros_like(points))

    return bent


def _box_of(tile: Tile, tiles: TileSet) -> tuple[Floats, Floats]:
    """Return the lowest and the highest corner of a tile, µm, half a voxel beyond its outer voxels' centres."""
    ends = itertools.product(*[(-0.5, n - 0.5) for n in tile.shape])
    corners = tile.place_of(np.array(list(ends)) * tiles.spacing)
    return corners.min(axis=0), corners.max(axis=0)


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    with writing(path) as file:
        Image.fromarray(picture).save(file, format="PNG")
