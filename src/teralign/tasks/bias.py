"""`estimate-bias` and `apply-bias`: the slow change of brightness over a whole volume, found and taken out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.addresses import absolute_uri
from teralign.cluster import Compute
from teralign.correction import apply_bias as multiply
from teralign.correction import estimate_bias as find
from teralign.errors import InputError
from teralign.filling import Filled, Filling, NewVolume, Part, fill, plan_fill, write_array
from teralign.grids import FloatTriple, Grid, Region
from teralign.plans import Plan
from teralign.results import write_json
from teralign.transforms import cast
from teralign.volumes import (
    OverviewSize,
    Volume,
    check_channel,
    open_level,
    open_volume,
    plan_output,
    plan_volume,
    read_overview,
    with_directions,
)

log = logging.getLogger(__name__)

_CELLS = 250_000  # of the coarse volume, at most: N4 takes 0.1 ms for each
_GAIN_SECONDS = 0.05e-6  # CPU time of a voxel read, corrected and written
_ALONG = 1.5  # voxels of the coarse grid that the volume may reach beyond it


@dataclass(frozen=True)
class EstimatedBias:
    """The file written, its voxel size (z, y, x) in µm, and the range of the gain."""

    output: str
    spacing: FloatTriple
    least_gain: float
    largest_gain: float


def estimate_bias(
    volume: str | Path,
    output: str | Path,
    *,
    channel: int = 0,
    resolution: float = 15.0,
    spacing: FloatTriple | None = None,
    overwrite: bool = False,
) -> EstimatedBias:
    """Write the gain that takes the bias out of a channel of a volume: a small float32 volume in the same space.

    The coarsest scale that is fine enough is read and averaged to about `resolution` µm, or coarser where that would
    be many voxels. Raises InputError for bad input.
    """
    source = open_volume(absolute_uri(volume), spacing=spacing)
    check_channel("", source, channel)
    plan_output(output, overwrite=overwrite)
    kept = math.ceil(min(_CELLS, max(1.0, math.prod(source.grid.extent) / resolution**3)))
    overview = read_overview(source, channel=channel, size=OverviewSize(kept=kept))
    gain = find(overview.array, overview.grid.spacing)
    layout = plan_volume(output, grid=overview.grid, dtype=np.float32, levels=1)
    write_array(str(output), with_directions(layout, str(output), source.directions), gain, overwrite=overwrite)
    log.info("wrote %s", output)
    return EstimatedBias(str(output), overview.grid.spacing, float(gain.min()), float(gain.max()))


def apply_bias(
    volume: str | Path,
    bias: str | Path,
    output: str | Path,
    *,
    channel: int | None = None,
    spacing: FloatTriple | None = None,
    compute: Compute = Compute(),
    overwrite: bool = False,
) -> Filled:
    """Write a volume times the gain of `estimate_bias`, with its pyramid, in the format of `output`'s ending.

    Values are rounded and saturate at the ends of the volume's type. `channel` is the one to write, which a volume of
    several needs. Raises InputError for bad input, and for a volume that was corrected before.
    """
    filling, record = _filling(str(volume), str(bias), str(output), channel, spacing, overwrite=overwrite)
    filled = fill(filling, compute)
    write_json(record, {"kind": "bias", "volume": str(volume), "bias": str(bias)})
    return filled


def plan_apply_bias(
    volume: str | Path,
    bias: str | Path,
    output: str | Path,
    *,
    channel: int | None = None,
    spacing: FloatTriple | None = None,
    compute: Compute = Compute(),
    overwrite: bool = False,
) -> Plan:
    """Return the plan of `apply_bias` with the same arguments; writes nothing."""
    filling, _ = _filling(str(volume), str(bias), str(output), channel, spacing, overwrite=overwrite)
    return plan_fill(filling, compute.capacity())


def _filling(
    volume: str, bias: str, output: str, channel: int | None, spacing: FloatTriple | None, *, overwrite: bool
) -> tuple[Filling, Path]:
    """Return the volume to make and the place of the record beside it, after all checks of the input."""
    source = open_volume(absolute_uri(volume), spacing=spacing)
    if channel is None and source.channels > 1:
        raise InputError(f"{volume} has {source.channels} channels; name the one of this bias with --channel.")
    check_channel("", source, channel or 0)
    target = plan_output(output, overwrite=overwrite)
    if not isinstance(target, Path):
        raise InputError(f"{output} is an address; the corrected volume is written to a disk, so name a path.")
    own = plan_output(volume, overwrite=True)
    if isinstance(own, Path) and _record(own).exists():
        raise InputError(f"{volume} has been corrected with a bias already: see {_record(own).name} beside it.")
    destination = NewVolume(output, overwrite)
    if destination.replaces(source.uri):
        raise InputError(f"{output} lies in the volume that is corrected; choose another output.")
    coarse = open_level(absolute_uri(bias))
    _check_place(source, coarse, bias)
    gain = np.asarray(coarse.read(coarse.grid.region), np.float32)
    if not (np.isfinite(gain).all() and (gain > 0).all()):
        raise InputError(f"{bias} is no gain: a value is not above 0.")
    layout = plan_volume(
        output,
        grid=source.grid,
        dtype=source.dtype,
        timepoints=source.timepoints,
        channel_names=[source.channel_names[channel or 0]],
        display=[source.display[channel or 0]],
        time_step=source.time_step,
    )
    key = {
        "task": "apply-bias",
        "version": teralign.__version__,
        "volume": source.digest(),
        "bias": coarse.digest(),
        "channel": channel or 0,
    }
    maker = _Evened(source, channel or 0, gain, coarse.grid)
    return Filling(destination, maker, with_directions(layout, output, source.directions), "correct", key), _record(
        target
    )


def _record(place: Path) -> Path:
    return place.with_suffix(".bias.json")


def _check_place(source: Volume, coarse: Volume, bias: str) -> None:
    """Raise InputError where the bias does not cover the volume."""
    size = np.array(coarse.grid.spacing)
    first, last = (source.grid.to_physical(np.array(index)) for index in ((0, 0, 0), np.array(source.grid.shape) - 1))
    low, high = coarse.grid.to_physical(np.array((0, 0, 0))), coarse.grid.to_physical(np.array(coarse.grid.shape) - 1)
    if (first < low - _ALONG * size).any() or (last > high + _ALONG * size).any():
        raise InputError(f"{bias} does not cover the volume {source.uri}; estimate it on this volume.")


@dataclass(frozen=True)
class _Evened:
    """Makes any write unit of the corrected volume; picklable."""

    source: Volume
    channel: int
    gain: NDArray[np.float32]
    coarse: Grid

    def part(self, core: Region) -> Part:
        """Return how to make a unit, of the same voxels of the volume."""
        return Part(core, core, partial(self._values, core))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel."""
        return self.source.dtype.itemsize

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel."""
        return _GAIN_SECONDS

    @property
    def hint(self) -> str:
        """None: units have the default size."""
        return ""

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of a unit as read, in floats and as written."""
        return part.core.size * (2 * self.source.dtype.itemsize + 4) + self.gain.nbytes

    def _values(self, core: Region, timepoint: int) -> Iterator[NDArray[np.generic]] | None:
        if self.source.is_blank(core, channel=self.channel, timepoint=timepoint):
            return None
        raw = np.asarray(self.source.read(core, channel=self.channel, timepoint=timepoint))
        return iter([cast(multiply(raw, self.source.grid, core, self.gain, self.coarse), self.source.dtype)])
