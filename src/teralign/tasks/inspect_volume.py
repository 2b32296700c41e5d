"""`inspect-volume`: the geometry, storage and values of a volume, and a check of its files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from teralign.addresses import absolute_uri, as_place
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.files import writing
from teralign.grids import FloatTriple, reverse_axes
from teralign.progress import Progress
from teralign.report import histogram, portrait, sample_voxels
from teralign.report.values import PERCENTILES
from teralign.tasks.inputs import check_new_file
from teralign.volumes import (
    Finding,
    Overview,
    OverviewSize,
    Volume,
    audit_volume,
    check_channel,
    check_timepoint,
    label_images,
    open_volume,
    read_overview,
    split_uri,
    storage,
    unfinished_slots,
)

log = logging.getLogger(__name__)

_PREVIEW = OverviewSize(kept=4_000_000)
_FAULTS_NAMED = 1000  # in one result
_UNFINISHED = "its voxels are incomplete until the same call with --slot has run again"


@dataclass(frozen=True)
class ScaleDescription:
    """Geometry and storage of one scale; lengths in µm, axes x, y, z; None is unknown, or not used.

    `direction` has the rows of the matrix from positions along oblique axes to the world; `orientation` is the
    anatomical one of each axis.
    """

    dataset: str
    shape: Sequence[int]
    spacing_um: Sequence[float] | None
    origin_um: Sequence[float] | None
    direction: Sequence[Sequence[float]] | None
    orientation: Sequence[str | None] | None
    chunk_shape: Sequence[int]
    shard_shape: Sequence[int] | None
    codecs: Sequence[str]
    manifest: bool
    files: int | None
    bytes: int | None


@dataclass(frozen=True)
class UnreadableScale:
    """A scale that the image names but that cannot be opened."""

    dataset: str
    error: str


@dataclass(frozen=True)
class ValueHistogram:
    """A histogram of a sample of one channel at one timepoint; `percentiles` by their percentage."""

    channel: int
    timepoint: int
    voxels: int
    not_finite: int
    low: float
    high: float
    mean: float
    percentiles: Mapping[str, float]
    edges: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True)
class Check:
    """The number of files in each state, and the lost and corrupt ones, of which the first thousand are named."""

    whole: int
    empty: int
    lost: int
    corrupt: int
    faults: Sequence[Finding]


@dataclass(frozen=True)
class Inspection:
    """The description of a volume and its scales; parts that were not requested are None.

    `labels` are the datasets of the label images that an OME-Zarr image lists; `unfinished` names the timepoints and
    channels that a call has begun to put into the image.
    """

    volume: str
    axes: Sequence[str]
    dtype: str
    channels: int
    channel_names: Sequence[str]
    timepoints: int
    scales: Sequence[ScaleDescription | UnreadableScale]
    labels: Sequence[str] = ()
    unfinished: Sequence[str] = ()
    histogram: ValueHistogram | None = None
    preview: str | None = None
    check: Check | None = None


def inspect_volume(
    volume: str | Path,
    *,
    spacing: FloatTriple | None = None,
    channel: int = 0,
    timepoint: int = 0,
    values: bool = False,
    preview: str | Path | None = None,
    check: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> Inspection:
    """Describe a volume: geometry, data type, scales, chunks, codecs, stored size.

    `spacing` (z, y, x) in µm overrides the metadata. `values` adds a histogram of one channel at one timepoint, from
    a sample. `preview` is a PNG to write, with the three middle planes. `check` reads all files of the volume, and of
    its other scales if the URI names an image rather than one scale, and names those that are lost or corrupt.

    Raises InputError for anything that is not a volume, DataError when voxels to show cannot be read.
    """
    volume, preview = str(volume), None if preview is None else Path(preview)
    scales = _scales(volume, spacing)
    named = scales[0]
    if named.volume is None:
        raise InputError(named.error)
    check_channel("", named.volume, channel)
    check_timepoint("", named.volume, timepoint)
    if preview is not None:
        if not named.measured:
            open_volume(volume)  # raises the error that asks for the voxel size
        check_new_file(preview, overwrite=overwrite, what="--preview")
    described = [scale.describe() for scale in scales]
    found = _histogram(named.volume, channel, timepoint) if values else None
    if preview is not None:
        _draw(named.volume, channel, timepoint, preview)
    checked = scales if _names_image(named.volume) else [named]
    return Inspection(
        volume=volume,
        axes=("x", "y", "z"),
        dtype=named.volume.dtype.name,
        channels=named.volume.channels,
        channel_names=named.volume.channel_names,
        timepoints=named.volume.timepoints,
        scales=described,
        labels=label_images(absolute_uri(volume)),
        unfinished=_unfinished(named.volume),
        histogram=found,
        preview=None if preview is None else str(preview),
        check=_check(checked, threads or worker_threads()) if check else None,
    )


@dataclass(frozen=True)
class _Scale:
    """A dataset and the volume in it, or the error of opening it; `measured` if the voxel size is known."""

    dataset: str
    volume: Volume | None
    measured: bool = True
    error: str = ""

    @classmethod
    def open(cls, uri: str, spacing: FloatTriple | None = None) -> _Scale:
        _, dataset = split_uri(uri)
        try:
            return cls(dataset, open_volume(uri, spacing=spacing))
        except InputError as error:
            try:
                return cls(dataset, open_volume(uri, spacing=(1.0, 1.0, 1.0)), measured=False)
            except InputError:
                return cls(dataset, None, error=str(error))

    def describe(self) -> ScaleDescription | UnreadableScale:
        """Return the geometry and storage of the scale, or its error."""
        if self.volume is None:
            return UnreadableScale(self.dataset, self.error)
        grid, stored = self.volume.grid, storage(self.volume)
        matrix, anatomical = self.volume.directions.matrix, self.volume.directions.anatomical
        return ScaleDescription(
            dataset=self.dataset or (self.volume.stored.places[0].name if self.volume.stored else ""),
            shape=reverse_axes(grid.shape),
            spacing_um=reverse_axes(grid.spacing) if self.measured else None,
            origin_um=reverse_axes(grid.origin) if self.measured else None,
            direction=None if matrix is None else [reverse_axes(row) for row in reverse_axes(matrix)],
            orientation=reverse_axes(anatomical) if any(anatomical) else None,
            chunk_shape=reverse_axes(stored.chunk_shape),
            shard_shape=None if stored.shard_shape is None else reverse_axes(stored.shard_shape),
            codecs=stored.codecs,
            manifest=stored.manifest,
            files=stored.files,
            bytes=stored.size,
        )


def _scales(uri: str, spacing: FloatTriple | None) -> list[_Scale]:
    """Return the named volume, then its other scales in the container.

    Datasets beside an N5 dataset may be anything, since N5 does not declare scales; only volumes count.
    """
    absolute = absolute_uri(uri)
    named = _Scale.open(absolute, spacing)
    if named.volume is None:
        return [named]
    container, _ = split_uri(absolute)
    beside = [_Scale.open(f"{container}/{scale}") for scale in named.volume.scales]
    declared = named.volume.stored is None or named.volume.stored.driver != "n5"
    return [named, *(scale for scale in beside if declared or scale.volume is not None)]


def _names_image(volume: Volume) -> bool:
    """Return whether the URI names an image with its scales rather than one scale."""
    return volume.stored is not None and volume.stored.places[0].name != as_place(volume.uri).name


def _unfinished(volume: Volume | None) -> list[str]:
    """Return the timepoints and channels that a call has begun to put into the image of a scale."""
    stored = None if volume is None else volume.stored
    return [] if stored is None or not stored.folders else unfinished_slots(stored.folders[0])


def _histogram(volume: Volume, channel: int, timepoint: int) -> ValueHistogram:
    found = histogram(sample_voxels(volume, channel=channel, timepoint=timepoint))
    return ValueHistogram(
        channel=channel,
        timepoint=timepoint,
        voxels=found.voxels,
        not_finite=found.not_finite,
        low=found.low,
        high=found.high,
        mean=found.mean,
        percentiles=dict(zip(map(str, PERCENTILES), found.percentiles, strict=True)),
        edges=found.edges,
        counts=found.counts,
    )


def _draw(volume: Volume, channel: int, timepoint: int, preview: Path) -> None:
    seen = read_overview(volume, channel=channel, timepoint=timepoint, size=_PREVIEW)
    shown = Overview(np.nan_to_num(seen.array), seen.grid)
    picture = Image.fromarray(portrait(shown.array, spacing=shown.grid.spacing, window=shown.window))
    with writing(preview) as file:
        picture.save(file, format="PNG")


def _check(scales: Sequence[_Scale], threads: int) -> Check:
    """Read every file of these scales, and count and name the damaged ones."""
    audits = [audit_volume(scale.volume) for scale in scales if scale.volume]
    progress = Progress(sum(audit.count for audit in audits), "checked", log)
    faults = [Finding(scale.dataset, "lost", scale.error) for scale in scales if scale.volume is None]
    faults += [Finding(slot, "lost", _UNFINISHED) for slot in _unfinished(scales[0].volume)]
    states: Counter[str] = Counter({"whole": 0, "empty": 0, "lost": len(faults), "corrupt": 0})
    for finding in (finding for audit in audits for finding in audit.findings(threads)):
        progress.advance()
        states[finding.state] += 1
        if finding.state in ("lost", "corrupt") and len(faults) < _FAULTS_NAMED:
            faults.append(finding)
    return Check(**states, faults=faults)
