"""Resolved pairs for the pipeline: the files to stage, the datasets to read, and the options of each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StagedVolume:
    """A volume of a run.

    `path` is the file or folder to stage, None for a volume at an `address`, which tasks read there. `datasets` has
    the dataset to read for each use ("global", "local", "apply"): a path from the folder that `path` is staged into,
    or a whole address. `fingerprints` change when the dataset does; they are empty if the pipeline itself sees
    changes.
    """

    path: Path | None
    address: str | None
    name: str
    datasets: Mapping[str, str]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True)
class WarpedImage:
    """A volume to warp: the `name` of the result, and the options of apply-transform."""

    name: str
    volume: StagedVolume
    options: str


@dataclass(frozen=True)
class StagedTable:
    """A table of points of the moving round to map, and the `name` of the result."""

    name: str
    table: Path


@dataclass(frozen=True)
class Pair:
    """A pair to align; `options` has the options of the tasks "global", "local" and "report" except the volumes."""

    id: str
    fixed: StagedVolume
    moving: StagedVolume
    fixed_mask: StagedVolume | None
    moving_mask: StagedVolume | None
    options: Mapping[str, str]
    images: tuple[WarpedImage, ...]
    points: tuple[StagedTable, ...]
