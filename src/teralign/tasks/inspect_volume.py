"""`inspect-volume`: what a volume is, how it is stored, and whether it is whole."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from teralign.addresses import absolute_uri, as_place
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.files import writing
from teralign.grids import FloatTriple, reverse_axes
from teralign.progress import Progress
from teralign.report import Overview, histogram, portrait, read_overview, sample_voxels
from teralign.report.values import PERCENTILES
from teralign.tasks.inputs import check_new_file
from teralign.volumes import (
    Finding,
    Volume,
    audit_volume,
    check_channel,
    check_timepoint,
    open_volume,
    split_uri,
    storage,
)

log = logging.getLogger(__name__)

_SHOWN_VOXELS = 4_000_000
_FAULTS_NAMED = 1000


def inspect_volume(
    volume: str,
    *,
    spacing: FloatTriple | None = None,
    channel: int = 0,
    timepoint: int = 0,
    values: bool = False,
    preview: Path | None = None,
    check: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Describe a volume: geometry, type, scales, chunks, codecs, size as stored; lengths in µm, axes x, y, z.

    `values` adds a histogram of one channel at one timepoint, from a sample; `preview` is a PNG to be written of its
    three middle planes. With `check` everything that is stored of the volume is read, and of its other scales too
    where the URI names an image and not one scale; what is lost or corrupt is named.

    Raises InputError for what is no volume, DataError when voxels that are to be shown cannot be read.
    """
    scales = _scales(volume, spacing)
    named = scales[0]
    if named.volume is None:
        raise InputError(named.error)
    check_channel("", named.volume, channel)
    check_timepoint("", named.volume, timepoint)
    if preview is not None:
        if not named.measured:
            open_volume(volume)  # says what to do where nobody knows how large voxels are
        check_new_file(preview, overwrite=overwrite, what="--preview")
    found: dict[str, Any] = {
        "volume": volume,
        "axes": ["x", "y", "z"],
        "dtype": named.volume.dtype.name,
        "channels": named.volume.channels,
        "channel_names": named.volume.channel_names,
        "timepoints": named.volume.timepoints,
        "scales": [scale.describe() for scale in scales],
    }
    if values:
        found["histogram"] = _histogram(named.volume, channel, timepoint)
    if preview is not None:
        _draw(named.volume, channel, timepoint, preview)
        found["preview"] = str(preview)
    if check:
        found["check"] = _check(scales if _names_image(named.volume) else [named], threads or worker_threads())
    return found


@dataclass(frozen=True)
class _Scale:
    """A dataset and the volume in it, or why there is none; `measured` where the size of its voxels is known."""

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

    def describe(self) -> dict[str, Any]:
        """Geometry and storage; lengths in µm, axes x, y, z."""
        if self.volume is None:
            return {"dataset": self.dataset, "error": self.error}
        grid, stored = self.volume.grid, storage(self.volume)
        return {
            "dataset": self.dataset or (self.volume.stored.places[0].name if self.volume.stored else ""),
            "shape": reverse_axes(grid.shape),
            "spacing_um": reverse_axes(grid.spacing) if self.measured else None,
            "origin_um": reverse_axes(grid.origin) if self.measured else None,
            "chunk_shape": reverse_axes(stored.chunk_shape),
            "shard_shape": None if stored.shard_shape is None else reverse_axes(stored.shard_shape),
            "codecs": stored.codecs,
            "manifest": stored.manifest,
            "files": stored.files,
            "bytes": stored.size,
        }


def _scales(uri: str, spacing: FloatTriple | None) -> list[_Scale]:
    """The volume that was named, then what its container holds of it at other scales.

    What lies beside an N5 dataset may be anything: nothing says that it is a scale, so only volumes count.
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
    """Whether the URI is that of an image with its scales, and not of one scale."""
    return volume.stored is not None and volume.stored.places[0].name != as_place(volume.uri).name


def _histogram(volume: Volume, channel: int, timepoint: int) -> dict[str, Any]:
    found = asdict(histogram(sample_voxels(volume, channel=channel, timepoint=timepoint)))
    found["percentiles"] = dict(zip(map(str, PERCENTILES), found["percentiles"], strict=True))
    return {"channel": channel, "timepoint": timepoint} | found


def _draw(volume: Volume, channel: int, timepoint: int, preview: Path) -> None:
    seen = read_overview(volume, channel=channel, timepoint=timepoint, voxels=_SHOWN_VOXELS)
    shown = Overview(np.nan_to_num(seen.array), seen.grid)
    picture = Image.fromarray(portrait(shown.array, spacing=shown.grid.spacing, window=shown.window))
    with writing(preview) as file:
        picture.save(file, format="PNG")


def _check(scales: Sequence[_Scale], threads: int) -> dict[str, Any]:
    """Look at every file of these scales; names the first thousand of what is lost or corrupt, and counts all."""
    audits = [audit_volume(scale.volume) for scale in scales if scale.volume]
    progress = Progress(sum(audit.count for audit in audits), "checked", log)
    faults = [Finding(scale.dataset, "lost", scale.error) for scale in scales if scale.volume is None]
    states = Counter({"whole": 0, "empty": 0, "lost": len(faults), "corrupt": 0})
    for finding in (finding for audit in audits for finding in audit.findings(threads)):
        progress.advance()
        states[finding.state] += 1
        if finding.state in ("lost", "corrupt") and len(faults) < _FAULTS_NAMED:
            faults.append(finding)
    return dict(states) | {"faults": [asdict(fault) for fault in faults]}
