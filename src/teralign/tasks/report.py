"""`report`: before/after pictures and the numbers that go with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teralign.alignment import ImageSource, Side, open_source
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.files import write_atomically, writing
from teralign.grids import FloatTriple, Grid, Triple
from teralign.report import (
    Column,
    Overview,
    overlay_sheet,
    read_overview,
    similarity,
    stored_folding,
    summarise_blocks,
)
from teralign.transforms import Stack, StoredField, load_stack, warp

_TILE: Triple = (64, 128, 128)


def report(
    fixed: str,
    moving: str,
    *,
    transforms: Sequence[Path],
    output_dir: Path,
    blocks: Path | None = None,
    fixed_spacing: FloatTriple | None = None,
    moving_spacing: FloatTriple | None = None,
    fixed_channel: int = 0,
    moving_channel: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Show an alignment: `overlay.png` and `metrics.json` in `output_dir`.

    `transforms` are files, outermost first. "Before" is where both volumes lie by their own metadata, "global" the
    affines with which the transforms begin, "after" all of them. Both volumes are read at a scale of a few million
    voxels, whatever their size. `blocks` is the .blocks.json of a local alignment, to be summed up.

    Returns the paths of what was written and the similarities. Raises InputError for bad input.
    """
    pictures, metrics = output_dir / "overlay.png", output_dir / "metrics.json"
    if not overwrite and (pictures.exists() or metrics.exists()):
        raise InputError(f"{output_dir} holds a report already; choose another --output-dir, or add --overwrite.")
    stack = load_stack(transforms)
    sources = (
        open_source("fixed", Side(fixed, fixed_spacing, fixed_channel)),
        open_source("moving", Side(moving, moving_spacing, moving_channel)),
    )
    summary = None if blocks is None else summarise_blocks(blocks)
    shown_fixed, shown_moving = (_overview(source) for source in sources)
    threads = threads or worker_threads()
    seen = {name: _seen(shown_fixed, shown_moving, part, threads) for name, part in _states(stack).items()}
    alike = {name: similarity(shown_fixed.array, *images) for name, images in seen.items()}
    columns = [Column(name, _note(alike[name]), aligned) for name, (aligned, _) in seen.items()]
    sheet = Image.fromarray(_sheet(shown_fixed, shown_moving, columns, at=_middle(seen)))
    with writing(pictures) as file:
        sheet.save(file, format="PNG")
    facts = {
        "fixed": _geometry(sources[0], shown_fixed.grid),
        "moving": _geometry(sources[1], shown_moving.grid),
        "transforms": [str(path) for path in transforms],
        "similarity": alike,
        "fields": _fields(stack, transforms, threads),
        "blocks": summary,
    }
    write_atomically(metrics, (json.dumps(facts, indent=1) + "\n").encode())
    return {"overlay": str(pictures), "metrics": str(metrics), "similarity": alike}


def _overview(source: ImageSource) -> Overview:
    return read_overview(source.volume, channel=source.channel)


def _states(stack: Stack) -> dict[str, Stack]:
    """What to show: nothing applied, the leading affines, everything; what equals the one before is left out."""
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
    """The moving overview on the fixed one's grid, and where it has voxels; fields are read tile by tile."""
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
    """The middle voxel (z, y, x) of what the last state covers; of the whole grid when it covers nothing."""
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


def _note(alike: dict[str, float | int | None]) -> str:
    """The similarity in a few words."""
    ncc, lncc = alike["ncc"], alike["lncc_mean"]
    shown = [f"{name} {value:.3f}" for name, value in (("NCC", ncc), ("LNCC", lncc)) if value is not None]
    return "   ".join(shown) or "no overlap"


def _fields(stack: Stack, paths: Sequence[Path], threads: int) -> dict[str, Any]:
    """How each field squeezes space, by its path."""
    return {
        str(path): asdict(stored_folding(part, threads=threads))
        for path, part in zip(paths, stack.transforms, strict=True)
        if isinstance(part, StoredField)
    }


def _geometry(source: ImageSource, shown: Grid) -> dict[str, Any]:
    """What was asked for and what of it was looked at; axes z, y, x, µm."""
    return {
        "uri": source.volume.uri,
        "channel": source.channel,
        "shape": source.grid.shape,
        "spacing_um": source.grid.spacing,
        "origin_um": source.grid.origin,
        "measured_shape": shown.shape,
        "measured_spacing_um": shown.spacing,
    }
