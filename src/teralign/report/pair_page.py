"""The page of a pair: verdict, viewer of both volumes, pictures, maps and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from teralign.evaluation import BLOCK_SIDE, MeasuredSimilarity
from teralign.grids import Floats
from teralign.report.block_maps import RecordedBlock, assessed_maps, record_maps
from teralign.report.charts import Bins, histogram_svg
from teralign.report.contents import PairReport
from teralign.report.fields import MeasuredField
from teralign.report.formatting import micrometres, number, percent
from teralign.report.maps import VolumeMap, grid_edges
from teralign.report.page import render
from teralign.report.records import StepRecord
from teralign.report.slices import SlicedGrid, choose_look, page_planes, sprites, webp
from teralign.report.states import STATES, Seen
from teralign.report.zooms import CloseImages, close_view, places_of_blocks, places_of_map
from teralign.trust import AssessedBlock
from teralign.volumes import Overview

SMALL_BUDGET, LARGE_BUDGET = 3_000_000, 8_000_000
"""Characters of slices in a page: with all else, one of a small pair stays below 5 MB and any other below 15 MB."""
_SMALL = 32_000_000  # voxels of the fixed volume
_DRAWN_BLOCKS = 5000  # assessed blocks whose frames the viewer can draw
_LISTED_BLOCKS = 12
_TORN = 0.3  # a determinant below it squeezes tissue to less than a third, which handling does not do


@dataclass(frozen=True)
class Evidence:
    """All that the page shows beside the report's numbers.

    `seen` are the states of the moving image and `similarity` its likeness, `zooms` the close views as the viewer
    reads them, `landmarks` the errors (n,) in µm by state, `records` the steps by their name.
    """

    fixed: Overview
    moving_window: tuple[float, float]
    seen: Mapping[str, Seen]
    sheet: NDArray[np.uint8]
    similarity: Mapping[str, MeasuredSimilarity]
    fields: Mapping[str, MeasuredField]
    zooms: Sequence[Mapping[str, object]]
    landmarks: Mapping[str, Floats]
    recorded: Sequence[RecordedBlock]
    records: Mapping[str, StepRecord]


def pair_page(report: PairReport, evidence: Evidence) -> str:
    """Return the page of a pair as HTML."""
    maps = [map_.page_data() for map_ in _maps(report, evidence)]
    blocks = report.assessment.blocks
    data = {
        "whole": _whole(report, evidence),
        "zooms": evidence.zooms,
        "maps": maps,
        "blocks": blocks if len(blocks) <= _DRAWN_BLOCKS else (),
    }
    return render(
        "report.html",
        data,
        scripts=("viewer.js", "maps.js", "main.js"),
        report=report,
        facts=_facts(report),
        zooms=evidence.zooms,
        overlay=webp(evidence.sheet, 80),
        overlay_alt=_overlay_alt(report),
        similarity_chart=_similarity_chart(evidence),
        maps=maps,
        worst=_worst(evidence.recorded),
        field_charts=_field_charts(evidence),
        field_notes=[note for field in evidence.fields.values() for note in _field_notes(field)],
        landmark_chart=_landmark_chart(evidence),
        records=evidence.records,
        parameters={
            name: json.dumps(record.parameters, indent=1, ensure_ascii=False)
            for name, record in evidence.records.items()
        },
        inputs=_inputs(report, evidence),
    )


def close_views(
    blocks: Sequence[AssessedBlock],
    similarity: Mapping[str, MeasuredSimilarity],
    fixed: Overview,
    images: CloseImages,
    windows: tuple[tuple[float, float], tuple[float, float]],
    *,
    threads: int = 1,
) -> list[dict[str, object]]:
    """Return the best, the median and the worst block as the viewer reads them.

    Without assessed blocks, those of the local correlation are ranked. `windows` are those of the fixed and of the
    moving volume. A view that would read too much of the moving volume is left out.
    """
    places = places_of_blocks(blocks)
    if not places:
        last = _cut(correlation_maps(fixed, similarity)[0])
        places = places_of_map(last) if last.values.size else []
    views = (close_view(place, images, windows, STATES, threads=threads) for place in places)
    return [view for view in views if view is not None]


def correlation_maps(fixed: Overview, similarity: Mapping[str, MeasuredSimilarity]) -> list[VolumeMap]:
    """Return the maps of local correlation in each state, the last state first."""
    return [
        VolumeMap(
            f"correlation-{state}",
            f"Local correlation, {STATES[state].lower()}",
            "",
            "Correlation of both images in blocks of 16³ voxels of the overview: 1 is equal, 0 is unrelated. Blocks "
            "with too little tissue are left out.",
            found.local,
            grid_edges(fixed.grid, (BLOCK_SIDE,) * 3)
            if found.local.size
            else (np.zeros(1), np.zeros(1), np.zeros(1)),
            low=-0.2,
        )
        for state, found in reversed(list(similarity.items()))
    ]


def _maps(report: PairReport, evidence: Evidence) -> list[VolumeMap]:
    """Return all maps that have values, in the order in which a reader wants them."""
    whole = [_cut(map_) for map_ in correlation_maps(evidence.fixed, evidence.similarity)]
    fields = [map_ for field in evidence.fields.values() for map_ in field.maps]
    found = [*assessed_maps(report.assessment.blocks), *whole, *fields, *record_maps(evidence.recorded)]
    return [map_ for map_ in found if map_.values.size and map_.known]


def _cut(map_: VolumeMap) -> VolumeMap:
    """Return the map without the edges beyond its last whole block."""
    z, y, x = (edges[: n + 1] for edges, n in zip(map_.edges, map_.values.shape, strict=True))
    return VolumeMap(map_.key, map_.title, map_.unit, map_.note, map_.values, (z, y, x), map_.low, map_.high)


def _whole(report: PairReport, evidence: Evidence) -> dict[str, object]:
    """Return the slices of both volumes as the viewer reads them."""
    fixed, window = evidence.fixed, evidence.moving_window
    small = math.prod(report.fixed.shape) <= _SMALL
    images = [(fixed.array, fixed.window), *((one.array, window) for one in evidence.seen.values())]
    look = choose_look(images, fixed.grid, SMALL_BUDGET if small else LARGE_BUDGET)
    sliced = SlicedGrid.of(fixed.grid, look)
    return {
        "title": report.name,
        "pixel": sliced.pixel_um,
        "corner": sliced.corner_um,
        "planes": page_planes(sliced),
        "fixed": sprites(fixed.array, sliced, fixed.window, look.quality),
        "states": [
            {
                "name": state,
                "title": STATES[state],
                "sprites": sprites(one.array, sliced, window, look.quality),
            }
            for state, one in evidence.seen.items()
        ],
    }


def _facts(report: PairReport) -> list[dict[str, str]]:
    """Return the numbers that stand below the verdict."""
    first, *_, last = report.similarity.values()
    facts = []
    if report.error_um:
        facts.append((micrometres(report.error_um.p95), "error, 95th percentile of blocks"))
    if report.landmarks:
        *_, after = report.landmarks.values()
        facts.append((micrometres(after.median), f"median distance of {after.n} landmarks"))
    if report.assessment.examined:
        facts.append((f"{report.assessment.confirmed} of {report.assessment.examined}", "blocks confirm the map"))
    facts.append((f"{number(first.lncc_mean)} → {number(last.lncc_mean)}", "local correlation, before and after"))
    facts.append((percent(last.foreground_covered), "of the fixed foreground covered"))
    if report.fields:
        facts.append((percent(max(f.jacobian.folded_share for f in report.fields.values())), "of the field folded"))
    return [{"value": value, "label": label} for value, label in facts]


def _overlay_alt(report: PairReport) -> str:
    """Return the picture of all states in words."""
    shown = "; ".join(
        f"{STATES[state].lower()}: local correlation {number(alike.lncc_mean)}"
        for state, alike in report.similarity.items()
    )
    return f"Three middle planes of the fixed volume in magenta and the moving volume in green. {shown}."


def _similarity_chart(evidence: Evidence) -> Markup | None:
    first, *_, last = (found.local for found in evidence.similarity.values())
    if not np.isfinite(last).any():
        return None
    return histogram_svg(
        Bins.of(last, -0.5, 1.0),
        label="local correlation; grey: before",
        unit="",
        counted="blocks",
        before=Bins.of(first, -0.5, 1.0) if np.isfinite(first).any() else None,
    )


def _landmark_chart(evidence: Evidence) -> Markup | None:
    if not evidence.landmarks:
        return None
    *_, last = evidence.landmarks.values()
    top = max(float(np.percentile(last, 99)), 1e-3)
    return histogram_svg(
        Bins.of(last, 0.0, top),
        label="distance of landmarks",
        unit="µm",
        counted="landmarks",
        mark=float(np.median(last)),
    )


def _field_charts(evidence: Evidence) -> list[Markup]:
    return [
        chart
        for field in evidence.fields.values()
        for chart in (
            histogram_svg(field.lengths, label="local displacement", unit="µm", counted="nodes"),
            histogram_svg(field.determinants, label="Jacobian determinant", unit="", counted="nodes", mark=1.0),
        )
    ]


def _field_notes(field: MeasuredField) -> list[str]:
    """Return sentences about what a field does to tissue, where a reader should look twice."""
    change = field.summary.jacobian
    if change.folded_share > 0:
        return [
            f"Space folds at {percent(change.folded_share)} of the nodes: two places of the fixed volume take the "
            "same place of the moving one there. Look at these places, and smooth more."
        ]
    if change.min < _TORN:
        return [
            f"The least determinant is {number(change.min)} (1st percentile {number(change.p1)}, median "
            f"{number(change.median)}): somewhere the field squeezes tissue to less than a third. Torn "
            "tissue does that, and so does noise that was fitted: look at the bluest boxes of the map."
        ]
    return []


def _worst(recorded: Sequence[RecordedBlock]) -> list[RecordedBlock]:
    """Return the blocks that a reader should look at first: those that failed or were not used, then low metrics."""

    def rank(block: RecordedBlock) -> tuple[int, float]:
        order = ("failed", "outlier", "kept", "ok")
        low = block.metric_after if block.metric_after is not None else math.inf
        return order.index(block.state) if block.state in order else len(order), low

    return sorted(recorded, key=rank)[:_LISTED_BLOCKS]


def _inputs(report: PairReport, evidence: Evidence) -> list[Mapping[str, object]]:
    """Return both volumes with their fingerprints, for a table."""
    found: list[Mapping[str, object]] = []
    for role, geometry in (("fixed", report.fixed), ("moving", report.moving)):
        described = report.run.inputs[role]
        digest = described.get("digest", "") if isinstance(described, Mapping) else ""
        found.append({"role": role, "geometry": geometry, "digest": digest})
    return found
