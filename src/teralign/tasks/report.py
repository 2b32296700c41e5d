"""`report`: before/after pictures of an alignment, and its metrics."""

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
from teralign.files import writing
from teralign.grids import FloatTriple, Grid, Triple
from teralign.provenance import Run, own_name
from teralign.report import (
    BlockSummary,
    Column,
    GlobalSummary,
    Similarity,
    overlay_sheet,
    similarity,
    stored_folding,
    summarise_blocks,
    summarise_steps,
)
from teralign.results import write_json
from teralign.transforms import Folding, Stack, StoredField, along_axes, load_stack, warp
from teralign.volumes import Overview, read_overview

_TILE: Triple = (64, 128, 128)  # voxels of an overview that are warped at a time


@dataclass(frozen=True)
class Report:
    """The files that were written, and the similarity of the volumes in each state of the alignment."""

    overlay: Path
    metrics: Path
    similarity: Mapping[str, Similarity]


@dataclass(frozen=True)
class MeasuredGeometry:
    """The requested channel of a volume, and the grid on which it was measured; axes z, y, x, µm."""

    uri: str
    channel: int
    shape: Triple
    spacing_um: FloatTriple
    origin_um: FloatTriple
    measured_shape: Triple
    measured_spacing_um: FloatTriple

    @classmethod
    def of(cls, source: ImageSource, shown: Grid) -> MeasuredGeometry:
        """Return the geometry of a source whose overview has the grid `shown`."""
        grid = source.grid
        return cls(
            own_name(source.volume.uri),
            source.channel,
            grid.shape,
            grid.spacing,
            grid.origin,
            shown.shape,
            shown.spacing,
        )


@dataclass(frozen=True)
class Metrics:
    """The content of metrics.json; `fields` has the folds of each field by its path, `run` the origin of all this.

    `global_steps` summarises the global alignment and `blocks` the local one, with what they started from or skipped.
    """

    fixed: MeasuredGeometry
    moving: MeasuredGeometry
    transforms: Sequence[str]
    similarity: Mapping[str, Similarity]
    fields: Mapping[str, Folding]
    global_steps: GlobalSummary | None
    blocks: BlockSummary | None
    run: Run


def report(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    output_dir: str | Path,
    global_report: str | Path | None = None,
    blocks: str | Path | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> Report:
    """Write pictures and metrics of an alignment: `overlay.png` and `metrics.json` in `output_dir`.

    `transforms` are files, outermost first. Up to three states are compared: "before" has both volumes in the
    positions of their metadata, "global" applies the affines with which the transforms begin, "after" all transforms.
    Both volumes are read at a scale of some million voxels, whatever their size. `global_report` is the .json of a
    global alignment and `blocks` the .blocks.json of a local one, to summarise.

    Raises InputError for bad input.
    """
    output_dir = Path(output_dir)
    pictures, metrics = output_dir / "overlay.png", output_dir / "metrics.json"
    if not overwrite and (pictures.exists() or metrics.exists()):
        raise InputError(f"{output_dir} has a report already; choose another --output-dir, or add --overwrite.")
    stack = load_stack(transforms)
    sides = Side.of(fixed), Side.of(moving)
    sources = open_pair(sides)
    step_summary = None if global_report is None else summarise_steps(Path(global_report))
    block_summary = None if blocks is None else summarise_blocks(Path(blocks))
    shown_fixed, shown_moving = (_overview(source) for source in sources)
    threads = threads or worker_threads()
    states = {
        name: along_axes(part, sources[0].direction, sources[1].direction) for name, part in _states(stack).items()
    }
    seen = {name: _seen(shown_fixed, shown_moving, part, threads) for name, part in states.items()}
    alike = {name: similarity(shown_fixed.array, *images) for name, images in seen.items()}
    titles = {"global": "global (skipped)"} if step_summary is not None and step_summary.skipped else {}
    columns = [Column(titles.get(name, name), _note(alike[name]), aligned) for name, (aligned, _) in seen.items()]
    sheet = Image.fromarray(_sheet(shown_fixed, shown_moving, columns, at=_middle(seen)))
    with writing(pictures) as file:
        sheet.save(file, format="PNG")
    names = [own_name(path) for path in transforms]
    facts = Metrics(
        fixed=MeasuredGeometry.of(sources[0], shown_fixed.grid),
        moving=MeasuredGeometry.of(sources[1], shown_moving.grid),
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
    write_json(metrics, facts)
    return Report(pictures, metrics, alike)


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


def _seen(
    fixed: Overview, moving: Overview, stack: Stack, threads: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the moving overview on the fixed one's grid, and where it has voxels; fields are read tile by tile."""
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
    return np.where(covered, aligned, np.float32(0)), covered


def _middle(seen: dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> Triple:
    """Return the middle voxel (z, y, x) of what the last state covers, or of the whole grid if it covers nothing."""
    covered = list(seen.values())[-1][1]
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
