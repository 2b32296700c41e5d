"""The page of stitched tiles: verdict, map, quilt, seams, residuals and correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from teralign.report.charts import Bins, histogram_svg
from teralign.report.formatting import micrometres, number
from teralign.report.page import render
from teralign.report.pictures import Picture
from teralign.report.quilt import Quilt
from teralign.report.seams import Seam, beside
from teralign.report.slices import grey, webp
from teralign.report.tile_contents import TileOverlap, TilesReport
from teralign.report.tile_map import MARKS, colour_key, tile_maps

_LISTED = 200  # rows of a table of overlaps


@dataclass(frozen=True)
class TileEvidence:
    """All that the page shows beside the report's numbers; `size_um` are the extents (y, x) of tiles by name."""

    overlaps: Sequence[TileOverlap]
    size_um: Mapping[str, tuple[float, float]]
    quilt: Quilt
    seams: Sequence[Seam]
    unseen: Sequence[str]


def tiles_page(report: TilesReport, evidence: TileEvidence) -> str:
    """Return the page of stitched tiles as HTML."""
    confirmed = [o for o in evidence.overlaps if o.state == "confirmed"]
    return render(
        "tiles.html",
        {},
        report=report,
        facts=_facts(report),
        states=_STATES,
        marks=MARKS,
        maps=tile_maps(report.tiles, evidence.overlaps, evidence.size_um),
        key=colour_key(report.tiles),
        residual_chart=_residual_chart(confirmed),
        correlation_chart=_correlation_chart(confirmed),
        lowest=sorted(confirmed, key=lambda o: o.after if o.after is not None else -2.0)[:_LISTED],
        removed=report.removed[:_LISTED],
        quilt=webp(quilt_picture(evidence.quilt), 82),
        quilt_note=_quilt_note(evidence.quilt),
        seams=[_seam_data(seam) for seam in evidence.seams],
        unseen=evidence.unseen,
    )


def quilt_picture(quilt: Quilt) -> NDArray[np.uint8]:
    """Return a quilt as grey bytes (rows, columns)."""
    known = quilt.values[np.isfinite(quilt.values)]
    low, high = np.percentile(known, [5.0, 99.7]) if known.size else (0.0, 1.0)
    return grey(np.nan_to_num(quilt.values, nan=float(low)), (float(low), float(max(high, low + 1e-6))))


_STATES = {
    "confirmed": "agree with the positions",
    "removed": "contradict them, and were removed",
    "low correlation": "show different things in both tiles",
    "ambiguous": "fit at several places",
    "no content": "show nothing",
    "unreadable": "could not be read",
}
"""The states of overlaps in words."""


def _facts(report: TilesReport) -> list[dict[str, str]]:
    """Return the numbers that stand below the verdict."""
    voxel = report.spacing_um[2]
    facts = []
    if report.error_um:
        facts.append((micrometres(report.error_um.p95), "error of positions, 95th percentile of tiles"))
    if report.residual_um:
        residual = report.residual_um
        facts.append(
            (micrometres(residual.median), f"median residual of overlaps ({number(residual.median / voxel)} voxels)")
        )
        facts.append((micrometres(residual.p95), "95th percentile of the residuals"))
    facts.append(
        (f"{report.assessment.confirmed} of {report.assessment.examined}", "overlaps agree with the positions")
    )
    before, after = report.correlation.get("before"), report.correlation.get("after")
    facts.append((f"{number(before)} → {number(after)}", "correlation of overlaps, before and after (median)"))
    facts.append((str(len(report.tiles)), "tiles"))
    return [{"value": value, "label": label} for value, label in facts]


def _residual_chart(confirmed: Sequence[TileOverlap]) -> Markup | None:
    lengths = [length for o in confirmed if (length := o.length_um) is not None]
    if not lengths:
        return None
    top = max(float(np.percentile(lengths, 99)), 1e-3)
    return histogram_svg(
        Bins.of(lengths, 0.0, top),
        label="residual of overlaps",
        unit="µm",
        counted="overlaps",
        mark=float(np.median(lengths)),
    )


def _correlation_chart(confirmed: Sequence[TileOverlap]) -> Markup | None:
    after = [o.after for o in confirmed if o.after is not None]
    before = [o.before for o in confirmed if o.before is not None]
    if not after:
        return None
    return histogram_svg(
        Bins.of(after, -0.2, 1.0),
        label="correlation of overlaps; grey: before",
        unit="",
        counted="overlaps",
        before=Bins.of(before, -0.2, 1.0) if before else None,
    )


def _quilt_note(quilt: Quilt) -> str:
    shown = (
        "The maximum over all planes"
        if quilt.planes >= quilt.depth
        else "The middle plane"
        if quilt.planes == 1
        else f"The maximum over {quilt.planes} of {quilt.depth} planes"
    )
    return f"{shown} of all tiles at their solved positions; a pixel measures {micrometres(quilt.pixel_um)}."


def _seam_data(seam: Seam) -> dict[str, object]:
    """Return the pictures of a seam with their words, before first."""
    overlap = seam.overlap
    shown: list[tuple[str, tuple[Picture, Picture], float | None]] = [
        ("as the stage had them", seam.before, overlap.before),
        ("as they were placed", seam.after, overlap.after),
    ]
    return {
        "which": seam.which,
        "overlap": overlap,
        "pictures": [
            {
                "src": webp(beside(pictures), 85),
                "words": words,
                "alt": f"{overlap.fixed} in magenta and {overlap.moving} in green, {words}: two planes through their "
                f"overlap, correlation {number(value)}",
                "value": value,
            }
            for words, pictures, value in shown
        ],
    }
