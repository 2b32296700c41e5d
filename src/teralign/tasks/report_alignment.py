"""`report-alignment`: the verdict on an alignment, with pictures and numbers, as one page and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teralign.alignment import ImageSource, Side, open_pair
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.files import write_atomically, writing
from teralign.grids import Triple
from teralign.provenance import Run, own_name
from teralign.report import (
    Column,
    MeasuredGeometry,
    PairReport,
    Seen,
    Similarity,
    overlay_sheet,
    pair_page,
    similarity,
    stored_folding,
    summarise_blocks,
    summarise_steps,
)
from teralign.results import write_json
from teralign.transforms import Folding, Stack, StoredField, along_axes, load_stack, warp
from teralign.trust import Assessment, ErrorEstimate, Verdict
from teralign.volumes import Overview, read_overview

_TILE: Triple = (64, 128, 128)  # voxels of an overview that are warped at a time
_FILES = ("index.html", "report.json", "overlay.png")


@dataclass(frozen=True)
class AlignmentReport:
    """The verdict, the estimated error, the files that were written, and the similarity in each state."""

    verdict: Verdict
    error_um: ErrorEstimate | None
    report: Path
    json: Path
    overlay: Path
    similarity: Mapping[str, Similarity]


def report_alignment(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    output: str | Path,
    name: str | None = None,
    global_report: str | Path | None = None,
    blocks: str | Path | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> AlignmentReport:
    """Write the report of an alignment into the folder `output`: `index.html`, `report.json` and `overlay.png`.

    `transforms` are files, outermost first. Up to three states are compared: "before" has both volumes in the
    positions of their metadata, "global" applies the affines with which the transforms begin, "after" all transforms.
    Both volumes are read at a scale of some million voxels, whatever their size. `global_report` is the .json of a
    global alignment and `blocks` the .blocks.json of a local one. `name` is the pair's, by default the folder's.

    Raises InputError for bad input.
    """
    folder = Path(output)
    page, facts, pictures = (folder / file for file in _FILES)
    if not overwrite and any((folder / file).exists() for file in _FILES):
        raise InputError(f"{folder} has a report already; choose another --output, or add --overwrite.")
    stack = load_stack(transforms)
    sides = Side.of(fixed), Side.of(moving)
    sources = open_pair(sides)
    step_summary = None if global_report is None else summarise_steps(Path(global_report))
    block_summary = None if blocks is None else summarise_blocks(Path(blocks))
    shown_fixed, shown_moving = (_overview(source) for source in sources)
    threads = threads or worker_threads()
    states = {
        state: along_axes(part, sources[0].direction, sources[1].direction) for state, part in _states(stack).items()
    }
    seen = {state: _seen(shown_fixed, shown_moving, part, threads) for state, part in states.items()}
    alike = {state: similarity(shown_fixed.array, one.array, one.covered) for state, one in seen.items()}
    titles = {"global": "global (skipped)"} if step_summary is not None and step_summary.skipped else {}
    columns = [Column(titles.get(state, state), _note(alike[state]), one.array) for state, one in seen.items()]
    sheet = _sheet(shown_fixed, shown_moving, columns, at=_middle(seen))
    names = [own_name(path) for path in transforms]
    assessment = _assess()
    content = PairReport(
        verdict=assessment.verdict,
        error_um=assessment.error_um,
        name=name or own_name(folder.absolute()).rstrip("/").rsplit("/", 1)[-1],
        assessment=assessment,
        fixed=_geometry(sources[0], shown_fixed),
        moving=_geometry(sources[1], shown_moving),
        transforms=names,
        similarity=alike,
        fields=_fields(transforms, threads),
        global_steps=step_summary,
        blocks=block_summary,
        run=Run(
            inputs={
                "fixed": sources[0].described(sides[0]),
                "moving": sources[1].described(sides[1]),
                "transforms": names,
                "global_report": None if global_report is None else own_name(global_report),
                "blocks": None if blocks is None else own_name(blocks),
            },
            parameters={},
        ),
    )
    text = pair_page(content, shown_fixed, shown_moving.window, seen, sheet)
    with writing(pictures) as file:
        Image.fromarray(sheet).save(file, format="PNG")
    write_json(facts, content)
    write_atomically(page, text.encode())
    return AlignmentReport(content.verdict, content.error_um, page, facts, pictures, alike)


def _assess() -> Assessment:
    return Assessment(
        verdict=Verdict.UNKNOWN,
        sentence="The alignment was not assessed.",
        error_um=None,
        confirmed=0,
        examined=0,
        reasons=(),
        advice=(),
        blocks=(),
    )


def _geometry(source: ImageSource, shown: Overview) -> MeasuredGeometry:
    """Return the geometry of a source with this overview."""
    grid = source.grid
    return MeasuredGeometry(
        own_name(source.volume.uri),
        source.channel,
        grid.shape,
        grid.spacing,
        grid.origin,
        shown.grid.shape,
        shown.grid.spacing,
    )


def _overview(source: ImageSource) -> Overview:
    return read_overview(source.volume, channel=source.channel, timepoint=source.timepoint)


def _states(stack: Stack) -> dict[str, Stack]:
    """Return the states to show: no transform, the leading affines, all transforms; without repeated states."""
    affines = tuple(takewhile(lambda part: part.affine is not None, stack.transforms))
    states = {"before": Stack()}
    if affines:
        states["global"] = Stack(affines)
    if len(affines) < len(stack.transforms):
        states["after"] = stack
    return states


def _seen(fixed: Overview, moving: Overview, stack: Stack, threads: int) -> Seen:
    """Return the moving overview on the fixed one's grid; fields are read tile by tile."""
    aligned = np.empty(fixed.grid.shape, np.float32)
    for region in fixed.grid.region.split(_TILE):
        corners = fixed.grid.crop(region).corners()
        aligned[region.slices] = warp(
            moving.array,
            moving.grid,
            grid=fixed.grid,
            region=region,
            transform=stack.load(corners[0], corners[-1]),
            fill=np.nan,
            threads=threads,
        )
    covered = np.isfinite(aligned)
    return Seen(np.where(covered, aligned, np.float32(0)), covered)


def _middle(seen: Mapping[str, Seen]) -> Triple:
    """Return the middle voxel (z, y, x) of what the last state covers, or of the whole grid if it covers nothing."""
    covered = list(seen.values())[-1].covered
    if not covered.any():
        covered = np.ones_like(covered)
    z, y, x = (int(np.flatnonzero(covered.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]].mean()) for axis in range(3))
    return z, y, x


def _sheet(fixed: Overview, moving: Overview, columns: Sequence[Column], *, at: Triple) -> NDArray[np.uint8]:
    return overlay_sheet(
        fixed.array,
        columns,
        spacing=fixed.grid.spacing,
        at=at,
        fixed_window=fixed.window,
        moving_window=moving.window,
    )


def _note(alike: Similarity) -> str:
    """Return the similarity as the text above a column."""
    named = (("NCC", alike.ncc), ("LNCC", alike.lncc_mean))
    shown = [f"{name} {value:.3f}" for name, value in named if value is not None]
    return "   ".join(shown) or "no overlap"


def _fields(transforms: Sequence[str | Path], threads: int) -> dict[str, Folding]:
    """Return the folds of each field, by the name of its file; further fields of a file have numbers, from 2 on."""
    folds: dict[str, Folding] = {}
    for path in transforms:
        fields = [part for part in load_stack([path]).transforms if isinstance(part, StoredField)]
        for number, field in enumerate(reversed(fields), start=1):
            name = own_name(path) + (f" ({number})" if number > 1 else "")
            folds[name] = stored_folding(field, threads=threads)
    return folds
