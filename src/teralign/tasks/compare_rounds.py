"""`compare-rounds`: the consistency of several aligned rounds with one another."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.alignment import ImageSource, open_source
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.evaluation.rounds import (
    Closure,
    RoundTriple,
    close_by_images,
    close_by_maps,
    closed_triangles,
    open_triangles,
)
from teralign.grids import as_float_triple
from teralign.progress import Progress, counted
from teralign.provenance import Run, own_name
from teralign.results import write_json
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tasks.rounds_table import AlignedRound, read_rounds
from teralign.transforms import Stack, along_axes
from teralign.trust import Verdict
from teralign.volumes import OverviewSize, create_volume, read_overview

log = logging.getLogger(__name__)

_OVERVIEW = OverviewSize(kept=1_500_000, read=2_000_000_000)


@dataclass(frozen=True)
class RoundPair:
    """A pair of the group: its id, and the names of its volumes."""

    id: str
    fixed: str
    moving: str


@dataclass(frozen=True)
class TriangleErrors:
    """The consistency around a triangle: errors in µm at `points` points of its first volume.

    It is closed by three "maps", or by the "images" of the two moving volumes; then `verdict` judges how these agree.
    `errors_um` is the file of the errors as a volume, NaN where the triangle does not close. Medians are None if no
    point closes.
    """

    rounds: RoundTriple
    closed_by: str
    points: int
    median_um: float | None
    p95_um: float | None
    max_um: float | None
    verdict: Verdict | None
    errors_um: str | None
    seconds: float


@dataclass(frozen=True)
class RoundsReport:
    """The content of rounds.json: the volumes and pairs of a group, and the consistency around its triangles.

    `not_closed` are triangles of a fixed and two moving volumes, between which there is no map.
    """

    rounds: Sequence[str]
    pairs: Sequence[RoundPair]
    triangles: Sequence[TriangleErrors]
    not_closed: Sequence[RoundTriple]
    run: Run


def compare_rounds(
    table: str | Path,
    *,
    output: str | Path | None = None,
    maps: str | Path | None = None,
    close_triangles: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> RoundsReport:
    """Return the consistency of the rounds in a table (`teralign.tasks.rounds_table`) around each triangle.

    Triangles of three aligned pairs are closed by their maps, from transforms and the sizes of the volumes alone.
    With `close_triangles` those of one fixed and two moving volumes are closed too, by an affine registration of the
    two at a coarse scale. `output` is a file for the result, `maps` a folder for the errors of each triangle as
    OME-Zarr.

    Raises InputError for bad input, before any long work.
    """
    rounds = read_rounds(table)
    links = {(one.fixed.uri, one.moving.uri): one for one in rounds}
    names = _names([uri for link in links for uri in link])
    closed, ajar = closed_triangles(list(links)), open_triangles(list(links))
    if len(names) < 3:
        raise InputError(f"{table} has {counted(len(names), 'volume')}; three make a group that can be consistent.")
    output = None if output is None else check_new_file(Path(output), overwrite=overwrite)
    folder = None if maps is None else Path(maps)
    if folder is not None:
        refuse_existing(folder, overwrite=False, what="--maps")
    group = _Group(links, threads or worker_threads())
    work = [(order, "maps") for order in closed] + [(order, "images") for order in ajar if close_triangles]
    progress, triangles = Progress(len(work), "triangles", log), []
    for order, way in work:
        began = time.monotonic()
        found = group.by_maps(order) if way == "maps" else group.by_images(order)
        shown = (names[order[0]], names[order[1]], names[order[2]])
        triangles.append(_errors(shown, way, found, folder, time.monotonic() - began))
        progress.advance()
    report = RoundsReport(
        rounds=list(names.values()),
        pairs=[RoundPair(one.id, names[one.fixed.uri], names[one.moving.uri]) for one in rounds],
        triangles=triangles,
        not_closed=[] if close_triangles else [(names[a], names[b], names[c]) for a, b, c in ajar],
        run=Run(
            inputs={one.id: [own_name(path) for path in one.transforms] for one in rounds},
            parameters={"close_triangles": close_triangles},
        ),
    )
    if output is not None:
        write_json(output, report)
    return report


class _Group:
    """The volumes and maps of a table, opened once, when they are needed."""

    def __init__(self, links: dict[tuple[str, str], AlignedRound], threads: int) -> None:
        self._sources: dict[str, ImageSource] = {}
        self._maps: dict[tuple[str, str], Stack] = {}
        self._threads = threads
        for link, one in links.items():
            for role, side in (("fixed", one.fixed), ("moving", one.moving)):
                if side.uri not in self._sources:
                    self._sources[side.uri] = open_source(role, side)
            fixed, moving = (self._sources[uri] for uri in link)
            self._maps[link] = along_axes(one.load(), fixed.direction, moving.direction)

    def by_maps(self, order: RoundTriple) -> Closure:
        """Close a triangle by its three maps."""
        grids = {name: source.grid for name, source in self._sources.items()}
        return close_by_maps(order, self._maps, grids, threads=self._threads)

    def by_images(self, order: RoundTriple) -> Closure:
        """Close a triangle by the images of its two moving volumes, at a coarse scale."""
        fixed, *moving = (self._sources[name] for name in order)
        grid = fixed.grid
        size = (np.prod(grid.extent) / _OVERVIEW.kept) ** (1 / 3)
        coarse = grid.downsample(grid.factors_to(as_float_triple((size, size, size))))
        seen = [
            read_overview(one.volume, channel=one.channel, timepoint=one.timepoint, size=_OVERVIEW) for one in moving
        ]
        maps = [self._maps[order[0], name] for name in order[1:]]
        images = [(one.array, one.grid, through) for one, through in zip(seen, maps, strict=True)]
        return close_by_images(coarse, images, threads=self._threads)


def _errors(order: RoundTriple, way: str, found: Closure, folder: Path | None, seconds: float) -> TriangleErrors:
    """Return the statistics of a triangle, and write its errors as a volume if there is a folder for them."""
    known = found.known
    middle, p95 = np.percentile(known, (50, 95)).tolist() if len(known) else (None, None)
    file = None
    if folder is not None:
        file = folder / f"{'_'.join(order)}.zarr"
        writer = create_volume(file, grid=found.grid, dtype=np.float32, channel_names=["error in µm"], levels=1)
        for region in found.grid.region.split(writer.write_shape):
            writer.write(region, np.ascontiguousarray(found.errors[region.slices]))
    return TriangleErrors(
        rounds=order,
        closed_by=way,
        points=len(known),
        median_um=middle,
        p95_um=p95,
        max_um=float(known.max()) if len(known) else None,
        verdict=found.verdict,
        errors_um=None if file is None else str(file),
        seconds=round(seconds, 2),
    )


def _names(uris: Sequence[str]) -> dict[str, str]:
    """Return a short name of each volume: what tells the users' own names apart, without slashes."""
    own = {uri: own_name(uri).rstrip("/") for uri in uris}
    for parts in range(1, 12):
        short = {uri: "-".join(name.split("/")[-parts:]) for uri, name in own.items()}
        if len(set(short.values())) == len(own):
            return short
    return {uri: name.replace("/", "-") for uri, name in own.items()}
