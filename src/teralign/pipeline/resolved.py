"""Resolved pairs for the pipeline: the files to stage, the datasets to read, and the options of each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StagedVolume:
    """A volume of a run.

    `path` is the file or folder to stage, None for a volume at an `address`, which tasks read there. `datasets` has
    the dataset to read for each use ("global", "local", "apply", and "apply_2" for a second scale to warp): a path
    from the folder that `path` is staged into, or a whole address. `fingerprints` change when the dataset does; they
    are empty if the pipeline itself sees changes.
    """

    path: Path | None
    address: str | None
    name: str
    datasets: Mapping[str, str]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True)
class WarpedImage:
    """A volume to warp: the `name` of the result, and the options of apply-transform.

    `use` is the use of the datasets, of this volume and of the fixed one. apply-transform writes a `file`, which
    becomes the `output`, both below the folder of the pair's results.
    """

    name: str
    volume: StagedVolume
    options: str
    use: str
    file: str
    output: str


@dataclass(frozen=True)
class StagedTable:
    """A table of points of the moving round to map, and the `name` of the result."""

    name: str
    table: Path


@dataclass(frozen=True)
class StagedTransform:
    """A transform to stage, and a fingerprint that changes with it."""

    path: Path
    fingerprint: str


@dataclass(frozen=True)
class Transforms:
    """The transforms that a pair begins with, each list outermost first.

    The global alignment starts from `initial`. `reused` replaces its result, and so does the result of the pair
    `reused_pair`. `whole` replaces the results of both alignments. `global_name` is the name of the global
    alignment's result: affine.mat, or affine.zarr where a start holds a field.
    """

    initial: tuple[StagedTransform, ...] = ()
    reused: tuple[StagedTransform, ...] = ()
    reused_pair: str = ""
    whole: tuple[StagedTransform, ...] = ()
    global_name: str = "affine.mat"


@dataclass(frozen=True)
class Pair:
    """A pair to align; `options` has the options of the tasks "global", "local" and "report" except the volumes.

    `rounds` has the cells of the pair's row in a table of rounds, after its transform, for the uses "global" and
    "apply". `landmarks` are two tables of the same points, of the fixed and the moving volume, or none.
    `container` is the container that holds all warped volumes, "" if each has its own. `notes` say for the
    log what was chosen, reused and skipped.
    """

    id: str
    fixed: StagedVolume
    moving: StagedVolume
    fixed_mask: StagedVolume | None
    moving_mask: StagedVolume | None
    transforms: Transforms
    options: Mapping[str, str]
    rounds: Mapping[str, str]
    images: tuple[WarpedImage, ...]
    points: tuple[StagedTable, ...]
    landmarks: tuple[Path, ...]
    container: str
    notes: tuple[str, ...]
