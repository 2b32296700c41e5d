"""`estimate-flatfield` and `apply-flatfield`: the uneven light of a scan's planes, found and taken out."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.blockwise import Workspace
from teralign.cluster import Compute
from teralign.correction import FlatField, Shading, estimate_shading, read_flatfield, write_flatfield
from teralign.errors import DataError, InputError
from teralign.filling import Filling, NewVolume, Part, fill_volume, plan_fill
from teralign.grids import Region
from teralign.plans import Plan
from teralign.progress import counted
from teralign.results import write_json
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tiles import Tile, TileReader, TileSet, TileSource, read_tiles, write_tiles
from teralign.transforms import cast
from teralign.volumes import open_volume, plan_volume

log = logging.getLogger(__name__)

RECORD = "flatfield.json"
"""The record beside corrected tiles, for which a second correction is refused."""
_VOXEL_SECONDS = 0.03e-6  # CPU time of a voxel read, corrected and written


@dataclass(frozen=True)
class EstimatedFlatField:
    """The file written, and for each channel the planes used, gains, dark levels, errors and the share of spots.

    `gain_error_percent` is the standard deviation of the smooth gain; `dark_error` that of the dark level in counts,
    0 where it was given. `sections` counts the parts of the depth with a gain of their own, and `added_light` says
    where light is added to the planes, which leaves a channel with one.
    """

    output: str
    channels: tuple[str, ...]
    planes: tuple[int, ...]
    sections: tuple[int, ...]
    added_light: tuple[bool, ...]
    least_gain: tuple[float, ...]
    largest_gain: tuple[float, ...]
    dark: tuple[float, ...]
    gain_error_percent: tuple[float, ...]
    dark_error: tuple[float, ...]
    spots: tuple[float, ...]


@dataclass(frozen=True)
class CorrectedTiles:
    """The folder of the corrected tiles, their tiles.json, and how many tiles were written and left out."""

    output: str
    tiles: str
    written: int
    left_out: int


def estimate_flatfield(
    tiles: str | Path,
    output: str | Path,
    *,
    dark: float | None = None,
    dark_image: str | Path | None = None,
    planes: int = 500,
    sections: int = 1,
    skip_unreadable: bool = False,
    overwrite: bool = False,
) -> EstimatedFlatField:
    """Write the gain and dark level of every channel of a `tiles.json` to `output`, an .npz.

    `planes` of each channel are read, spread evenly over tiles and depth. The dark level is `dark` in counts, or that
    of each pixel in `dark_image`, or is found. Tiles get a gain in each of `sections` parts of their depth.

    Raises InputError for bad input and planes that do not tell, DataError for tiles that cannot be read, unless
    `skip_unreadable`.
    """
    path = check_new_file(Path(output), overwrite=overwrite, what="output")
    found, reader = _opened(tiles)
    chosen, depth = _readable(found, reader, skip=skip_unreadable)
    frame = dark if dark_image is None else _dark_frame(str(dark_image), chosen[0].shape[1:])
    shadings: list[Shading] = []
    for channel in range(len(found.channels)):
        sample = _TilePlanes(reader, channel, _sample(chosen, planes))
        parts = [
            [n for n, (_, z) in enumerate(sample.places) if z * sections // depth == part] for part in range(sections)
        ]
        shadings.append(estimate_shading(sample, dark=frame, sections=parts if sections > 1 else ()))
        if sections > 1 and shadings[-1].added:
            log.warning(
                "light is added to the planes of channel %s, so that its %d sections have one gain",
                found.channels[channel].name,
                sections,
            )
    centres = (np.arange(sections) + 0.5) * depth / sections - 0.5
    plane = shadings[0].gain.shape[1:]
    field = FlatField(
        np.stack([np.broadcast_to(shading.gain, (sections, *plane)) for shading in shadings]),
        np.stack([shading.dark for shading in shadings]),
        centres,
        tuple(channel.name for channel in found.channels),
    )
    write_flatfield(path, field)
    log.info("wrote %s", path)
    return EstimatedFlatField(
        output=str(output),
        channels=field.channels,
        planes=tuple(shading.planes for shading in shadings),
        sections=tuple(len(shading.gain) for shading in shadings),
        added_light=tuple(shading.added for shading in shadings),
        least_gain=tuple(float(shading.gain.min()) for shading in shadings),
        largest_gain=tuple(float(shading.gain.max()) for shading in shadings),
        dark=tuple(float(shading.dark.mean()) for shading in shadings),
        gain_error_percent=tuple(shading.error for shading in shadings),
        dark_error=tuple(shading.dark_error for shading in shadings),
        spots=tuple(shading.spots for shading in shadings),
    )


def apply_flatfield(
    tiles: str | Path,
    flatfield: str | Path,
    output: str | Path,
    *,
    skip_unreadable: bool = False,
    compute: Compute = Compute(),
    overwrite: bool = False,
) -> CorrectedTiles:
    """Write the tiles in even light to the folder `output`, one OME-Zarr a tile, with a `tiles.json` for them.

    Values are rounded and saturate at the ends of the tiles' own type. The folder appears when it is whole; the same
    call continues unfinished work. Raises InputError for bad input, and for tiles that were corrected before.
    """
    work = _Application.of(tiles, flatfield, output, skip_unreadable=skip_unreadable, overwrite=overwrite)
    place = Path(output)
    with Workspace.of(place, compute.work_dir) as workspace:
        workspace.prepare(work.key)
        missing = [tile for tile in work.chosen if not (workspace.output / work.names[tile.name]).exists()]
        with compute.connect() as client:
            for tile in missing:
                fill_volume(work.filling(tile, workspace.output), connect=partial(nullcontext, client), work_dir=None)
        write_tiles(workspace.output / "tiles.json", work.corrected())
        write_json(workspace.output / RECORD, {"kind": "flatfield", **work.key})
        workspace.finish(workspace.output, place, overwrite=overwrite)
    log.info("%s has %s", place, counted(len(work.chosen), "corrected tile"))
    left = len(work.tiles.tiles) - len(work.chosen)
    return CorrectedTiles(str(output), str(place / "tiles.json"), len(work.chosen), left)


def plan_apply_flatfield(
    tiles: str | Path,
    flatfield: str | Path,
    output: str | Path,
    *,
    skip_unreadable: bool = False,
    compute: Compute = Compute(),
    overwrite: bool = False,
) -> Plan:
    """Return the plan of `apply_flatfield` with the same arguments, from that of one tile; writes nothing."""
    work = _Application.of(tiles, flatfield, output, skip_unreadable=skip_unreadable, overwrite=overwrite)
    plan, count = plan_fill(work.filling(work.chosen[0], Path(output)), compute.capacity()), len(work.chosen)
    return replace(
        plan,
        output=str(output),
        blocks={name: blocks * count for name, blocks in plan.blocks.items()},
        read_bytes=plan.read_bytes * count,
        write_bytes=plan.write_bytes * count,
        estimated_seconds=plan.estimated_seconds * count,
    )


def refuse_corrected(tiles: TileSet, folder: Path) -> None:
    """Raise InputError for tiles that apply-flatfield has written, whose light is even already.

    `folder` is that of tiles.json, from which relative paths of sources count.
    """
    parents = {Path(folder, source.uri).parent for tile in tiles.tiles for source in tile.sources}
    for parent in sorted(parents):
        if (parent / RECORD).exists():
            raise InputError(
                f"the tiles in {parent} have been corrected with a flat field already: see {RECORD} there."
            )


@dataclass(frozen=True)
class _TilePlanes:
    """Planes of one channel: a tile and a slice of it for each."""

    reader: TileReader
    channel: int
    places: Sequence[tuple[Tile, int]]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> NDArray[np.generic]:
        tile, z = self.places[index]
        return np.asarray(self.reader.read(tile, self.channel, Region((z, 0, 0), (z + 1, *tile.shape[1:])))[0])


@dataclass(frozen=True)
class _Application:
    """A flat field to be applied: the tiles chosen of all, and the name of each in the output."""

    tiles: TileSet
    reader: TileReader
    field: FlatField
    chosen: Sequence[Tile]
    names: dict[str, str]
    key: dict[str, object]

    @classmethod
    def of(
        cls, tiles: str | Path, flatfield: str | Path, output: str | Path, *, skip_unreadable: bool, overwrite: bool
    ) -> _Application:
        """Return the work after all checks of the input."""
        refuse_existing(Path(output), overwrite=overwrite, what="output")
        field = read_flatfield(flatfield)
        found, reader = _opened(tiles)
        refuse_corrected(found, reader.folder)
        chosen, _ = _readable(found, reader, skip=skip_unreadable)
        check_fits(field, found)
        safe = [re.sub(r"[^\w.-]", "_", tile.name) for tile in chosen]
        if len({name.lower() for name in safe}) < len(safe):
            safe = [f"{n:05d}_{name}" for n, name in enumerate(safe)]
        names = {tile.name: f"{name}.zarr" for tile, name in zip(chosen, safe, strict=True)}
        key: dict[str, object] = {
            "task": "apply-flatfield",
            "version": teralign.__version__,
            "flatfield": field.digest(),
            "tiles": {
                tile.name: [reader.volume(tile, c).digest() for c in range(len(tile.sources))] for tile in chosen
            },
        }
        return cls(found, reader, field, chosen, names, key)

    def filling(self, tile: Tile, folder: Path) -> Filling:
        """Return the volume to make of a tile in a folder."""
        uri = str(folder / self.names[tile.name])
        dtype = np.result_type(*(self.reader.volume(tile, c).dtype for c in range(len(tile.sources))))
        grid = self.tiles.grid(tile)
        names = [channel.name for channel in self.tiles.channels]
        layout = plan_volume(uri, grid=grid, dtype=dtype, channels=len(names), channel_names=names, levels=1)
        source = _Corrected(self.reader, tile, self.field, dtype)
        return Filling(NewVolume(uri, False), source, layout, "correct", {**self.key, "tile": tile.name})

    def corrected(self) -> TileSet:
        """Return the tiles with the corrected volumes as sources; those left out have none."""
        made = []
        for tile in self.tiles.tiles:
            if tile.name in self.names:
                sources = tuple(TileSource(self.names[tile.name], c) for c in range(len(tile.sources)))
                made.append(replace(tile, sources=sources))
            else:
                made.append(replace(tile, sources=(), state="unreadable" if tile.sources else tile.state))
        return replace(self.tiles, tiles=tuple(made))


@dataclass(frozen=True)
class _Corrected:
    """Makes any write unit of a corrected tile; picklable."""

    reader: TileReader
    tile: Tile
    field: FlatField
    dtype: np.dtype[np.generic]

    def part(self, core: Region) -> Part:
        """Return how to make a unit, of the same voxels of the tile."""
        return Part(core, core, partial(self._values, core))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel in all channels."""
        return self.dtype.itemsize * len(self.tile.sources)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel."""
        return _VOXEL_SECONDS

    @property
    def hint(self) -> str:
        """None: units are a part of a tile."""
        return ""

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of a channel as read, in floats and as written."""
        return part.core.size * (2 * self.dtype.itemsize + 4)

    def _values(self, core: Region, _timepoint: int) -> Iterator[NDArray[np.generic]]:
        for channel in range(len(self.tile.sources)):
            raw = np.asarray(self.reader.read(self.tile, channel, core))
            yield cast(self.field.correct(raw, channel, core), self.dtype)


def check_fits(field: FlatField, tiles: TileSet) -> None:
    """Raise InputError where a flat field has other channels or another plane than the tiles."""
    if len(field.channels) != len(tiles.channels):
        raise InputError(
            f"the flat field has {counted(len(field.channels), 'channel')}, the tiles have {len(tiles.channels)}."
        )
    for tile in tiles.present:
        if tile.shape[1:] != field.plane:
            found, wanted = (" x ".join(str(n) for n in reversed(shape)) for shape in (field.plane, tile.shape[1:]))
            raise InputError(
                f"the flat field is for planes of {found} voxels (x, y), the tile {tile.name} has {wanted}."
            )


def _opened(tiles: str | Path) -> tuple[TileSet, TileReader]:
    found = read_tiles(tiles)
    return found, TileReader(found, Path(tiles).absolute().parent)


def _readable(tiles: TileSet, reader: TileReader, *, skip: bool) -> tuple[list[Tile], int]:
    """Return the tiles that can be read, all of one plane, and the largest depth."""
    chosen = []
    for tile in tiles.present:
        try:
            reader.check(tile)
        except DataError as error:
            if not skip:
                raise
            log.warning("left out: %s", error)
            continue
        chosen.append(tile)
    if not chosen:
        raise InputError("no tile of the scan can be read, so that there is no light to even out.")
    other = next((tile for tile in chosen if tile.shape[1:] != chosen[0].shape[1:]), None)
    if other is not None:
        raise InputError(
            f"the planes of {chosen[0].name} and {other.name} differ in size, so that they share no light."
        )
    return chosen, max(tile.shape[0] for tile in chosen)


def _sample(tiles: Sequence[Tile], planes: int) -> list[tuple[Tile, int]]:
    """Return up to `planes` slices, spread over the tiles, and over the depth with another start in every tile."""
    each = math.ceil(planes / len(tiles))
    if len(tiles) > planes:
        tiles = [tiles[n * len(tiles) // planes] for n in range(planes)]
    places = []
    for n, tile in enumerate(tiles):
        count = min(each, tile.shape[0])
        start = (n * 0.618) % 1  # spread by the golden ratio
        places += [(tile, int((k + start) * tile.shape[0] / count)) for k in range(count)]
    return places


def _dark_frame(uri: str, plane: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the mean (y, x) of the planes of a dark image; InputError where it has another size."""
    volume = open_volume(uri, spacing=(1.0, 1.0, 1.0))
    if volume.grid.shape[1:] != plane:
        found, wanted = (" x ".join(str(n) for n in reversed(shape)) for shape in (volume.grid.shape[1:], plane))
        raise InputError(f"the dark image {uri} has planes of {found} voxels (x, y), the tiles {wanted}.")
    frame: NDArray[np.float32] = np.asarray(volume.read(volume.grid.region), np.float32).mean(axis=0)
    return frame
