"""A map of tiles as an SVG picture: each where it was placed, coloured by a value, marked by what is the matter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from teralign.report.formatting import micrometres
from teralign.report.tile_contents import ReportedTile, TileOverlap

COLOURS = ("#440154", "#3e4989", "#26828e", "#35b779", "#b5de2b")
"""From the least to the largest value (viridis, which people with any kind of colour blindness can read)."""

MARKS: Mapping[str, tuple[str, str]] = {
    "unreadable": ("U", "could not be read"),
    "absent": ("A", "absent from the scan"),
    "empty": ("E", "shows nothing"),
    "no_evidence": ("N", "no overlap tells its place"),
    "moved_far": ("F", "moved far from the stage's position"),
}
"""Letters and words for what may be the matter with a tile, the most important first."""

_WIDTH, _HEIGHT = 900, 620
_MARGIN = 10
_NAMED = 150  # tiles at most that bear their names
_CHARACTER = 0.62  # of the size of letters


@dataclass(frozen=True)
class TileMap:
    """The picture of the tiles of a layer, and in words what it shows."""

    title: str
    svg: Markup


def marks_of(tile: ReportedTile) -> list[str]:
    """Return the keys of `MARKS` that hold for a tile."""
    return [key for key in MARKS if key in (*tile.flags, tile.state)]


def tile_maps(
    tiles: Sequence[ReportedTile], overlaps: Sequence[TileOverlap], size_um: Mapping[str, tuple[float, float]]
) -> list[TileMap]:
    """Return a map of each layer of tiles, coloured by the residual; removed overlaps are dashed lines.

    `size_um` has the extent (y, x) of each tile by its name. At most eight layers are drawn.
    """
    layers = sorted({_layer(tile) for tile in tiles})
    values = [tile.residual_um for tile in tiles if tile.residual_um is not None]
    top = float(np.percentile(values, 98)) if values else 0.0
    found = []
    for layer in layers[:8]:
        some = [tile for tile in tiles if _layer(tile) == layer]
        title = f"Layer {layer}" if len(layers) > 1 else "All tiles"
        found.append(TileMap(title, _draw(some, overlaps, size_um, top, title)))
    return found


def colour_key(tiles: Sequence[ReportedTile]) -> list[tuple[str, str]]:
    """Return colours with the residuals for which they stand."""
    values = [tile.residual_um for tile in tiles if tile.residual_um is not None]
    if not values:
        return []
    top = float(np.percentile(values, 98))
    edges = [top * i / len(COLOURS) for i in range(len(COLOURS) + 1)]
    words = [f"{a:.2g} to {b:.2g} µm" for a, b in itertools.pairwise(edges)]
    words[-1] = f"above {edges[-2]:.2g} µm"
    return list(zip(COLOURS, words, strict=True))


def _layer(tile: ReportedTile) -> int:
    return tile.index[0] if tile.index else 0


def _draw(
    tiles: Sequence[ReportedTile],
    overlaps: Sequence[TileOverlap],
    size_um: Mapping[str, tuple[float, float]],
    top: float,
    title: str,
) -> Markup:
    low = np.min([tile.position_um[1:] for tile in tiles], axis=0)
    high = np.max([np.add(tile.position_um[1:], size_um[tile.name]) for tile in tiles], axis=0)
    height_um, width_um = (float(v) for v in high - low)
    scale = min((_WIDTH - 2 * _MARGIN) / width_um, (_HEIGHT - 2 * _MARGIN) / height_um)
    width, height = (round(length * scale + 2 * _MARGIN) for length in (width_um, height_um))
    centres: dict[str, tuple[float, float]] = {}
    parts = []
    for tile in tiles:
        h, w = (length * scale for length in size_um[tile.name])
        top_left = (np.asarray(tile.position_um[1:]) - low) * scale + _MARGIN
        y, x = float(top_left[0]), float(top_left[1])
        centres[tile.name] = (x + w / 2, y + h / 2)
        parts.append(_box(tile, x, y, w, h, top))
    for overlap in overlaps:
        if overlap.state == "removed" and overlap.fixed in centres and overlap.moving in centres:
            (x1, y1), (x2, y2) = centres[overlap.fixed], centres[overlap.moving]
            parts.append(f'<line class="removed" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for tile in tiles:
        parts += _texts(tile, *centres[tile.name], size_um[tile.name][1] * scale, named=len(tiles) <= _NAMED)
    return Markup(
        f'<svg class="tiles" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(_words(tiles, title))}">{"".join(parts)}</svg>'
    )


def _words(tiles: Sequence[ReportedTile], title: str) -> str:
    """Return what a map shows in words."""
    told = [f"{title}: {len(tiles)} tiles at their positions, coloured by residual"]
    for key, (_, meaning) in MARKS.items():
        names = [tile.name for tile in tiles if key in marks_of(tile)]
        if names:
            told.append(f"{meaning}: {', '.join(names[:20])}{' and others' if len(names) > 20 else ''}")
    return ". ".join(told)


def _box(tile: ReportedTile, x: float, y: float, w: float, h: float, top: float) -> str:
    """Return the rectangle of a tile, with its numbers where a pointer rests."""
    known = tile.residual_um is not None and tile.state == "present"
    share = (tile.residual_um or 0.0) / top if top > 0 else 0.0
    fill = COLOURS[min(len(COLOURS) - 1, int(share * len(COLOURS)))] if known else "none"
    style = "tile" if known else "tile unknown"
    moved = np.subtract(tile.position_um, tile.stage_um)[::-1]
    told = f"{tile.name}: residual {micrometres(tile.residual_um)}, error {micrometres(tile.error_um)}, moved by " + (
        " × ".join(f"{v:.2f}" for v in moved) + " µm (x × y × z)"
    )
    told += "".join(f", {MARKS[key][1]}" for key in marks_of(tile))
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _texts(tile: ReportedTile, x: float, y: float, width: float, *, named: bool) -> list[str]:
    """Return the name of a tile, if there is room, and the letters of its marks."""
    letters = "".join(MARKS[key][0] for key in marks_of(tile))
    size = min(13.0, 0.8 * width / (_CHARACTER * max(1, len(tile.name))))
    texts = []
    if named and size >= 6:
        texts.append(_text(tile.name, x, y - (8 if letters else -4), size, ""))
    if letters:
        texts.append(_text(letters, x, y + 12, max(7.0, min(16.0, width / 3)), " mark-letter"))
    return texts


def _text(text: str, x: float, y: float, size: float, style: str) -> str:
    return (
        f'<text class="tile-name{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle" '
        f'style="font-size:{size:.1f}px">{escape(text)}</text>'
    )
