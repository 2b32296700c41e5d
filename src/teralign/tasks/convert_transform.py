"""`convert-transform`: transforms of ITK, ANTs, elastix and bigstream to ours, and ours to theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tasks.new_transform import (
    SAMPLE_SECONDS,
    GridDescription,
    plan_affine,
    plan_field,
    sampler,
    write_chunks,
    write_field,
    write_report,
)
from teralign.tasks.node_grids import chosen_grid, fixed_grid
from teralign.transforms import (
    CHUNK_SHAPE,
    Affine,
    DisplacementField,
    Residual,
    Stack,
    StoredField,
    Transform,
    bigstream,
    deviation,
    elastix,
    itk,
    itk_files,
    load_transform,
)
from teralign.transforms.foreign import Kind, kind_of
from teralign.volumes import split_uri

UNITS = {"um": 1.0, "mm": 1000.0}


class Form(Enum):
    """What an output is: the value says it in a sentence."""

    AFFINE = "a text file of one affine"
    FIELD = "a displacement field"
    ITK_AFFINE = "an affine of ITK"
    ITK_TRANSFORM = "a transform of ITK"
    ITK_FIELD = "a displacement field of ITK"
    BIGSTREAM_FIELD = "a displacement field of bigstream"


_FORMS: dict[str, dict[str, Form]] = {
    "teralign": {".mat": Form.AFFINE, ".txt": Form.AFFINE, ".zarr": Form.FIELD},
    "itk": dict.fromkeys(itk_files.AFFINE_SUFFIXES, Form.ITK_AFFINE)
    | dict.fromkeys(itk_files.COMPOSITE_SUFFIXES, Form.ITK_TRANSFORM)
    | dict.fromkeys(itk_files.FIELD_SUFFIXES, Form.ITK_FIELD),
    "bigstream": {".mat": Form.AFFINE, ".n5": Form.BIGSTREAM_FIELD, ".zarr": Form.BIGSTREAM_FIELD},
}
_FIELDS = {Form.FIELD, Form.ITK_FIELD, Form.BIGSTREAM_FIELD}
OWNERS = tuple(_FORMS)
"""Whose transforms can be written; the first that knows an ending gets it where nobody says."""


@dataclass(frozen=True)
class _Target:
    """What is to be written, and where; `dataset` is inside a container of bigstream."""

    output: Path
    form: Form
    dataset: str

    @classmethod
    def of(cls, output: Path, to: str | None) -> _Target:
        """From the ending of `output`, for an owner. Raises InputError where none has such an ending."""
        within = {part.suffix for part in (output, *output.parents)} & {".zarr", ".n5"}
        container, dataset = split_uri(output) if within else (output, "")
        for owner in (to,) if to else OWNERS:
            for suffix, form in _FORMS[owner].items():
                if container.name.endswith(suffix):
                    if dataset and form is not Form.BIGSTREAM_FIELD:
                        raise InputError(f"the output {output} lies inside {container}; only bigstream's fields may.")
                    return cls(container, form, dataset)
        endings = {suffix for owner in ((to,) if to else OWNERS) for suffix in _FORMS[owner]}
        raise InputError(f"the output {output} must end in one of {', '.join(sorted(endings))}.")

    @property
    def report(self) -> Path:
        """Where to tell how far a field is from what it was sampled from."""
        return self.output.with_name(self.output.name.removesuffix(".gz")).with_suffix(".residual.json")

    def check(self, *, overwrite: bool, dry_run: bool) -> None:
        """Raise InputError when it, or its report, cannot be written; with `dry_run` nothing is tried."""
        for path in (self.output, self.report) if self.form in _FIELDS else (self.output,):
            (refuse_existing if dry_run else check_new_file)(path, overwrite=overwrite, what="output")


@dataclass(frozen=True)
class _Frames:
    """Where ITK's points of the fixed and of the moving image are among ours."""

    fixed: Affine
    moving: Affine

    @classmethod
    def of(cls, unit: str, fixed: Path | None, moving: Path | None) -> _Frames:
        """From the images where they are given, else straight axes in `unit`."""
        straight = itk.frame_of_unit(UNITS[unit])
        return cls(*(straight if image is None else itk.frame_of_image(image) for image in (fixed, moving)))


def convert_transform(
    transforms: Sequence[Path],
    output: Path,
    *,
    to: str | None = None,
    unit: str = "um",
    itk_fixed: Path | None = None,
    itk_moving: Path | None = None,
    fixed: str | None = None,
    fixed_spacing: FloatTriple | None = None,
    grid_spacing: FloatTriple | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `transforms` (anybody's files, outermost first) as one file or folder of the owner `to`.

    The owner (one of OWNERS) follows from the ending where it is None. ITK's coordinates are in `unit` (one of UNITS)
    along the axes of the arrays; where the images that the other tool saw are given by `itk_fixed` and `itk_moving`,
    their own units and turned axes hold instead. A field is sampled on the nodes that `compose_transforms` would
    take; one of bigstream has a vector at each voxel of `fixed`. Beside it, `NAME.residual.json` tells how far it is
    from the transforms between its nodes.

    Returns what was written, and what the report holds, with `dry_run` what would be done. Raises InputError for bad
    input.
    """
    target = _Target.of(output, to)
    target.check(overwrite=overwrite, dry_run=dry_run)
    frames = _Frames.of(unit, itk_fixed, itk_moving)
    voxels = fixed_grid(fixed, fixed_spacing)
    stack, sampling = _load(transforms, frames, voxels, grid_spacing)
    result: dict[str, Any] = {"output": str(output), "kind": target.form.value}
    result["transforms"] = [str(path) for path in transforms]
    if sampling is not None:
        result["sampling_um"] = asdict(sampling)
    if target.form not in _FIELDS:
        affine = _affine_for(target, stack)
        if dry_run:
            return asdict(plan_affine(output))
        _write_parts(target, stack, affine, frames)
        return result
    grid = _every_voxel(voxels) if target.form is Form.BIGSTREAM_FIELD else chosen_grid(stack, voxels, grid_spacing)
    threads = threads or worker_threads()
    if dry_run:
        whole = grid.shape if target.form is Form.ITK_FIELD else CHUNK_SHAPE
        return asdict(
            plan_field(
                output, stack, grid, what="conversion", node_seconds=SAMPLE_SECONDS, threads=threads, chunk=whole
            )
        )
    field = _write_field(target, stack, grid, frames, threads=threads, overwrite=overwrite)
    residual = deviation(Stack((field,)), stack, grid, threads=threads)
    return write_report(target.report, result | {"grid": GridDescription.of(grid), "residual_um": asdict(residual)})


def _load(
    paths: Sequence[Path], frames: _Frames, voxels: Grid | None, grid_spacing: FloatTriple | None
) -> tuple[Stack, Residual | None]:
    """The transforms of the files, and how far the worst of the fields is from the B-spline it was sampled from."""
    nodes = None if voxels is None else chosen_grid(Stack(), voxels, grid_spacing)
    parts: list[Transform] = []
    sampling: Residual | None = None
    for number, path in enumerate((path.absolute() for path in paths), start=1):
        kind = kind_of(path)
        if kind is Kind.OURS:
            parts.append(load_transform(path))
        elif kind is Kind.BIGSTREAM:
            parts.append(bigstream.open_field(path, voxels))
        else:
            theirs = (itk_files if kind is Kind.ITK else elastix).read_parts(path)
            found = itk.to_ours(theirs, frames.fixed, nodes if number == len(paths) else None)
            if not parts:  # what ends in ITK's space of the moving image has to come from there
                parts.extend(itk.between(frames.fixed.inverse(), frames.moving.inverse()))
            parts.extend(found.parts)
            sampling = itk.worse(sampling, found.sampling)
    return Stack(tuple(parts)), sampling


def _every_voxel(voxels: Grid | None) -> Grid:
    if voxels is None:
        raise InputError("a field of bigstream has a vector at each voxel of the fixed volume; give it by --fixed.")
    return voxels


def _affine_for(target: _Target, stack: Stack) -> Affine | None:
    """The stack as one affine, if it is one; InputError where there are fields and the output can hold none."""
    affine = stack.affine
    if affine is None and target.form is not Form.ITK_TRANSFORM:
        raise InputError(
            f"the output {target.output} is {target.form.value}, but there are fields; choose another ending."
        )
    return affine


def _write_parts(target: _Target, stack: Stack, affine: Affine | None, frames: _Frames) -> None:
    """Write transforms that need no grid."""
    if affine is not None and target.form is Form.AFFINE:
        affine.save(target.output)
        return
    whole = stack if affine is None else Stack((affine,))
    itk_files.write_parts(target.output, itk.to_itk(whole, frames.fixed, frames.moving))


def _write_field(
    target: _Target, stack: Stack, grid: Grid, frames: _Frames, *, threads: int, overwrite: bool
) -> DisplacementField | StoredField:
    """Write the transforms at the nodes of a grid, chunk by chunk except in a file of ITK, and give the field."""
    sampled = sampler(stack, grid, threads=threads)
    if target.form is Form.ITK_FIELD:
        field = sampled(grid.region)
        itk_files.write_image(target.output, itk.field_image(field, frames.fixed, frames.moving))
        return field
    if target.form is Form.FIELD:
        return write_field(target.output, grid, sampled, what="conversion", overwrite=overwrite)
    with bigstream.building_field(target.output, target.dataset, grid, overwrite=overwrite) as writer:
        write_chunks(writer, grid, sampled, what="conversion")
    return bigstream.open_field(writer.path, grid)
