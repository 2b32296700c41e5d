"""`evaluate-alignment`: scores of an alignment by labels, images, points and the field, for volumes of any size."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

import teralign
from teralign.alignment import ImageSource, Side, open_pair
from teralign.blockwise import Workspace
from teralign.cluster import Compute, worker_threads
from teralign.errors import InputError
from teralign.evaluation import (
    BLOCK,
    BLOCK_SIDE,
    FieldScores,
    ImageScores,
    LabelScore,
    LabelScores,
    LabelVolumes,
    LandmarkErrors,
    OnGrid,
    OnThreads,
    OnWorkers,
    OverBlocks,
    Still,
    Warped,
    check_same_grid,
    errors_at,
    landmark_pairs,
    score_field,
    score_images,
    score_labels,
)
from teralign.files import write_atomically
from teralign.grids import Floats, FloatTriple, Grid, Triple, reverse_axes
from teralign.provenance import Run, own_name
from teralign.results import write_json
from teralign.tasks.inputs import check_new_file
from teralign.tasks.node_grids import covered_grid, grid_over_volume
from teralign.transforms import Stack, along_axes, load_stack
from teralign.transforms.voxel_fields import VoxelField, split_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """The inputs: pairs of a fixed and a moving image, label volume, or table of points; None is not compared.

    `labels_before` is a label volume on the fixed grid as it was before an alignment that is done already.
    """

    images: tuple[Side, Side] | None = None
    labels: tuple[Side, Side] | None = None
    labels_before: Side | None = None
    points: tuple[Path, Path] | None = None

    def described(self) -> dict[str, object]:
        """Return the names of all inputs."""
        found: dict[str, object] = {}
        for name in ("images", "labels"):
            pair: tuple[Side, Side] | None = getattr(self, name)
            found[name] = None if pair is None else [own_name(side.uri) for side in pair]
        found["labels_before"] = None if self.labels_before is None else own_name(self.labels_before.uri)
        found["points"] = None if self.points is None else [own_name(path) for path in self.points]
        return found


@dataclass(frozen=True)
class Outputs:
    """The files to write besides the result: all of it as JSON, and tables of the labels and of the points."""

    result: Path | None = None
    label_table: Path | None = None
    point_table: Path | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise InputError when a file exists, or cannot be written."""
        for path in (self.result, self.label_table, self.point_table):
            if path is not None:
                check_new_file(path, overwrite=self.overwrite)


@dataclass(frozen=True)
class Measuring:
    """The way to measure: with HD95 or not, blocks of so many voxels, nodes of the field so many µm apart."""

    distances: bool = True
    block: Triple = BLOCK
    field_spacing: FloatTriple | None = None


@dataclass(frozen=True)
class PointScores:
    """The target registration error in µm: without any transform, and after all (None if none is given)."""

    before: LandmarkErrors
    after: LandmarkErrors | None
    per_point_um: Sequence[float]


@dataclass(frozen=True)
class ImagePairScores:
    """The similarity of the images, after alignment, and before it (None where they are on one grid already)."""

    after: ImageScores
    before: ImageScores | None


@dataclass(frozen=True)
class Evaluation:
    """The scores of an alignment; None for what was not compared. `run` is the origin of all this."""

    labels: LabelScores | None
    images: ImagePairScores | None
    points: PointScores | None
    field: FieldScores | None
    run: Run


def evaluate_alignment(
    compared: Compared,
    *,
    transforms: Sequence[str | Path] = (),
    outputs: Outputs = Outputs(),
    measuring: Measuring = Measuring(),
    compute: Compute = Compute(),
) -> Evaluation:
    """Return the scores of an alignment.

    With `transforms` (files, outermost first) the moving images and labels are warped onto the fixed grid while they
    are read, and fixed points are mapped; without, images and labels must have the fixed grid. Memory holds a few
    blocks of voxels, whatever the size of the volumes; `evaluation.surfaces` says what HD95 holds besides.

    Blocks are computed by the workers of `compute` if it names a scheduler, a client, or workers to start, else on
    threads of this process. Workers need a folder for unfinished work that they can reach: the work directory, else
    RESULT.partial; the same call continues what is there. The figures do not depend on where they are computed.

    Raises InputError for bad input, before any long work, and for label volumes without a common label.
    """
    if not (compared.images or compared.labels or compared.points or transforms):
        raise InputError("there is nothing to compare: give images, label volumes, tables of points, or a transform.")
    _check(compared, outputs, measuring)
    stack = _stack(transforms, compared)
    points = None if compared.points is None else landmark_pairs(*compared.points)
    images = None if compared.images is None else _opened(compared.images, bool(transforms))
    labels = None if compared.labels is None else _label_volumes(compared, stack, bool(transforms))
    nodes = _nodes(stack, images or (None if compared.labels is None else _opened(compared.labels, True)), measuring)
    run = Run(
        inputs={**compared.described(), "transforms": [own_name(path) for path in transforms]},
        parameters={"block": reverse_axes(measuring.block), "field_spacing_um": measuring.field_spacing},
    )
    key = {
        "task": "evaluate-alignment",
        "version": teralign.__version__,
        "measuring": measuring,
        "volumes": [*(source.digest() for source in images or ()), *_digest(labels)],
        "transforms": stack.digest(),
    }
    with _computing(compute, outputs, key) as (over, folder):
        result = Evaluation(
            labels=None
            if labels is None
            else score_labels(
                labels,
                distances=measuring.distances,
                block=measuring.block,
                folder=folder,
                over=over,
            ),
            images=None if images is None else _image_scores(images, stack, bool(transforms), measuring.block, over),
            points=None if points is None else _point_scores(stack, points, bool(transforms), over.threads),
            field=None if nodes is None else score_field(nodes[0], nodes[1], over=over),
            run=run,
        )
    _write(result, outputs, points)
    return result


@contextmanager
def _computing(
    compute: Compute, outputs: Outputs, key: Mapping[str, object]
) -> Iterator[tuple[OverBlocks, Path | None]]:
    """Give the place where blocks are computed, and the folder of temporary files: workers, if `compute` has any."""
    threads = compute.threads or worker_threads()
    if not any((compute.scheduler, compute.client, compute.workers, compute.worker_cpus, compute.worker_mem_gb)):
        yield OnThreads(threads), None if compute.work_dir is None else Path(compute.work_dir)
        return
    with Workspace.of(outputs.result or Path("evaluation.json"), compute.work_dir) as workspace:
        workspace.prepare(key)
        with compute.connect() as client:
            yield OnWorkers(client, workspace, threads), workspace.output
        workspace.remove()


def _digest(labels: LabelVolumes | None) -> list[object]:
    """Return what identifies the label volumes."""
    if labels is None:
        return []
    volumes = [labels.fixed, labels.moving, *([labels.before] if isinstance(labels.before, Still) else [])]
    return [[still.volume.digest(), still.channel, still.timepoint] for still in volumes]


def _check(compared: Compared, outputs: Outputs, measuring: Measuring) -> None:
    """Raise InputError for options that would be without effect, and for outputs that cannot be written."""
    for option, given, needed, there in (
        ("--label-table", outputs.label_table, "--fixed-labels", compared.labels),
        ("--labels-before", compared.labels_before, "--fixed-labels", compared.labels),
        ("--point-table", outputs.point_table, "--fixed-points", compared.points),
    ):
        if given is not None and there is None:
            raise InputError(f"{option} needs {needed}, which it belongs to.")
    if any(n % BLOCK_SIDE for n in measuring.block):
        raise InputError(f"--block-size must be multiples of {BLOCK_SIDE} voxels, as the blocks of LNCC are.")
    outputs.check()


def _stack(transforms: Sequence[str | Path], compared: Compared) -> Stack:
    """Return the transforms of the files, outermost first; fields in voxels of RnR-ExM lie on the fixed volume.

    Raises InputError when a file holds none.
    """
    in_voxels = [path for path in transforms if (named := split_file(Path(path))) is not None and named[1]]
    if not in_voxels:
        return load_stack(transforms)
    pair = compared.images or compared.labels
    if pair is None:
        raise InputError(f"the field {in_voxels[0]} is in voxels of the fixed volume; give that by --fixed.")
    grid = pair[0].open("fixed").grid
    whole = Stack()
    for path in transforms:
        whole = whole @ (VoxelField.of(path, grid) if path in in_voxels else load_stack([path]))
    return whole


def _opened(sides: tuple[Side, Side], warped: bool) -> tuple[ImageSource, ImageSource]:
    """Open two volumes. Raises InputError when they cannot be opened, or, if not `warped`, have different grids."""
    fixed, moving = open_pair(sides)
    if not warped:
        check_same_grid(fixed.volume, moving.volume)
    return fixed, moving


def _label_volumes(compared: Compared, stack: Stack, warped: bool) -> LabelVolumes:
    assert compared.labels is not None
    fixed, moving = _opened(compared.labels, warped)
    for source in (fixed, moving):
        if source.volume.dtype.kind == "c":
            raise InputError(f"{source.volume.uri} holds complex numbers, so it is no label volume.")
    before: OnGrid | None = _on_grid(fixed, moving, Stack()) if warped else None
    if compared.labels_before is not None:
        start = compared.labels_before.open("moving")
        check_same_grid(fixed.volume, start)
        before = Still(start, compared.labels_before.channel, compared.labels_before.timepoint)
    return LabelVolumes(
        fixed=_still(fixed),
        aligned=_on_grid(fixed, moving, stack) if warped else _still(moving),
        before=before,
        moving=_still(moving) if warped or not isinstance(before, Still) else before,
    )


def _still(source: ImageSource) -> Still:
    return Still(source.volume, source.channel, source.timepoint)


def _on_grid(fixed: ImageSource, moving: ImageSource, stack: Stack) -> Warped:
    """Return the moving image as the fixed grid sees it through a stack between points of the world."""
    through = along_axes(stack, fixed.direction, moving.direction)
    return Warped(moving.volume, through, fixed.grid, moving.channel, moving.timepoint)


def _image_scores(
    pair: tuple[ImageSource, ImageSource], stack: Stack, warped: bool, block: Triple, over: OverBlocks
) -> ImagePairScores:
    fixed, moving = pair
    states = (
        {"before": _on_grid(*pair, Stack()), "after": _on_grid(*pair, stack)} if warped else {"after": _still(moving)}
    )
    found = {
        name: score_images(_still(fixed), state, fixed.grid.shape, block=block, over=over, stage=name)
        for name, state in states.items()
    }
    return ImagePairScores(after=found["after"], before=found.get("before"))


def _point_scores(stack: Stack, points: tuple[Floats, Floats], warped: bool, threads: int) -> PointScores:
    before = errors_at(Stack(), *points)
    after = errors_at(stack, *points, threads=threads) if warped else None
    return PointScores(
        before=LandmarkErrors.of(before),
        after=None if after is None else LandmarkErrors.of(after),
        per_point_um=np.round(before if after is None else after, 6).tolist(),
    )


def _nodes(
    stack: Stack, pair: tuple[ImageSource, ImageSource] | None, measuring: Measuring
) -> tuple[Stack, Grid] | None:
    """Return the map and the points at which its smoothness is measured; None where there is neither field nor grid.

    They are the voxels of the fixed volume, or a lattice over it, or the nodes of the field without a volume.
    """
    if not stack.transforms:
        return None
    if pair is None:
        return (stack, covered_grid(stack)) if stack.grids else None
    fixed, moving = pair
    spacing = measuring.field_spacing
    grid = fixed.grid if spacing is None else grid_over_volume(fixed.grid, None, spacing)
    return along_axes(stack, fixed.direction, moving.direction), grid


def _write(result: Evaluation, outputs: Outputs, points: tuple[Floats, Floats] | None) -> None:
    """Write the files that are asked for."""
    if outputs.label_table is not None and result.labels is not None:
        names = [field.name for field in fields(LabelScore)]
        rows = [[getattr(score, name) for name in names] for score in result.labels.per_label]
        _write_table(outputs.label_table, names, rows)
    if outputs.point_table is not None and result.points is not None and points is not None:
        errors = result.points.per_point_um
        placed = [[*reversed(point), error] for point, error in zip(points[0].tolist(), errors, strict=True)]
        _write_table(outputs.point_table, ["x", "y", "z", "error_um"], placed)
    if outputs.result is not None:
        write_json(outputs.result, result)


def _write_table(path: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(rows)
    write_atomically(path, text.getvalue().encode())
