"""The page of a pair: verdict, viewer of both volumes, pictures and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.report.contents import PairReport
from teralign.report.page import STATES, micrometres, number, percent, render
from teralign.report.slices import SlicedGrid, choose_look, page_planes, sprites, webp
from teralign.volumes import Overview

SMALL_BUDGET, LARGE_BUDGET = 3_400_000, 9_000_000
"""Characters of slices in a page: with all else, one of a small pair stays below 5 MB and any other below 15 MB."""
_SMALL = 32_000_000  # voxels of the fixed volume


@dataclass(frozen=True)
class Seen:
    """The moving image (z, y, x) on the fixed grid, 0 where the moving volume has no voxel, and where it has."""

    array: NDArray[np.float32]
    covered: NDArray[np.bool_]


def pair_page(
    report: PairReport,
    fixed: Overview,
    moving_window: tuple[float, float],
    seen: Mapping[str, Seen],
    sheet: NDArray[np.uint8],
) -> str:
    """Return the page of a pair as HTML; `seen` are the states of the moving image, `sheet` is their picture."""
    whole = _whole(report, fixed, moving_window, seen)
    return render(
        "report.html",
        {"whole": whole, "zooms": [], "blocks": report.assessment.blocks},
        report=report,
        facts=_facts(report),
        sections=[{"id": "look", "title": "Look"}, {"id": "states", "title": "Before and after"}],
        zooms=[],
        zoom_note="",
        overlay=webp(sheet, 80),
        overlay_alt=_overlay_alt(report),
        body=[],
    )


def _whole(
    report: PairReport, fixed: Overview, moving_window: tuple[float, float], seen: Mapping[str, Seen]
) -> dict[str, object]:
    """Return the slices of both volumes as the viewer reads them."""
    small = np.prod(report.fixed.shape) <= _SMALL
    images = [(fixed.array, fixed.window), *((one.array, moving_window) for one in seen.values())]
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
                "sprites": sprites(one.array, sliced, moving_window, look.quality),
            }
            for state, one in seen.items()
        ],
    }


def _facts(report: PairReport) -> list[dict[str, str]]:
    """Return the numbers that stand below the verdict."""
    first, *_, last = report.similarity.values()
    facts = [
        {
            "value": f"{number(first.lncc_mean)} → {number(last.lncc_mean)}",
            "label": "local correlation, before and after",
        },
        {"value": percent(last.foreground_covered), "label": "of the fixed foreground covered"},
    ]
    if report.assessment.examined:
        facts.insert(
            0,
            {
                "value": f"{report.assessment.confirmed} of {report.assessment.examined}",
                "label": "blocks confirm the map",
            },
        )
    if report.error_um:
        facts.insert(0, {"value": micrometres(report.error_um.p95), "label": "error, 95th percentile of blocks"})
    if report.fields:
        folded = max(field.share for field in report.fields.values())
        facts.append({"value": percent(folded), "label": "of the field folded"})
    return facts


def _overlay_alt(report: PairReport) -> str:
    """Return the picture of all states in words."""
    shown = "; ".join(
        f"{STATES[state].lower()}: local correlation {number(alike.lncc_mean)}"
        for state, alike in report.similarity.items()
    )
    return f"Three middle planes of the fixed volume in magenta and the moving volume in green. {shown}."
