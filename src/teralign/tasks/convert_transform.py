"""`convert-transform`: transforms of ITK, ANTs, elastix, bigstream and RnR-ExM to those of Teralign, and back."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypedDict, Unpack

from teralign.alignment import Side
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid
from teralign.plans import Plan
from teralign.results import shallow, write_json
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tasks.new_transform import (
    SAMPLE_SECONDS,
    GridDescription,
    plan_copy,
    plan_field,
    run_of,
    sampler,
    write_chunks,
    write_field,
)
from teralign.tasks.node_grids import chosen_grid, open_fixed
from teralign.transforms import (
    CHUNK_SHAPE,
    Affine,
    DisplacementField,
    Ends,
    Residual,
    Stack,
    StoredField,
    Transform,
    bigstream,
    deviation,
    elastix,
    itk,
    itk_files,
    load_stack,
    map_ends,
    save_map,
    voxel_fields,
)
from teralign.transforms.foreign import Kind, kind_of
from teralign.transforms.voxel_fields import VoxelField
from teralign.volumes import Volume, split_uri

log = logging.getLogger(__name__)

UNITS = {"um": 1.0, "mm": 1000.0}


class Form(Enum):
    """The kinds of outputs; the value is for sentences."""

    AFFINE = "a text file of one affine"
    MAP = "a map of affines and fields"
    FIELD = "a displacement field"
    ITK_AFFINE = "an affine of ITK"
    ITK_TRANSFORM = "a transform of ITK"
    ITK_FIELD = "a displacement field of ITK"
    BIGSTREAM_FIELD = "a displacement field of bigstream"
    VOXEL_FIELD = "a displacement field of RnR-ExM, in voxels"


_FORMS: dict[str, dict[str, Form]] = {
    "teralign": {".mat": Form.AFFINE, ".txt": Form.AFFINE, ".zarr": Form.MAP},
    "itk": dict.fromkeys(itk_files.AFFINE_SUFFIXES, Form.ITK_AFFINE)
    | dict.fromkeys(itk_files.COMPOSITE_SUFFIXES, Form.ITK_TRANSFORM)
    | dict.fromkeys(itk_files.FIELD_SUFFIXES, Form.ITK_FIELD),
    "bigstream": {".mat": Form.AFFINE, ".n5": Form.BIGSTREAM_FIELD, ".zarr": Form.BIGSTREAM_FIELD},
    "rnr-exm": {".h5": Form.VOXEL_FIELD, ".hdf5": Form.VOXEL_FIELD},
}
_AT_EVERY_VOXEL = {Form.BIGSTREAM_FIELD, Form.VOXEL_FIELD}
_FIELDS = {Form.FIELD, Form.ITK_FIELD, *_AT_EVERY_VOXEL}
FORMATS = tuple(_FORMS)
"""The tools whose formats can be written; by default the first one that has the ending of the output."""


@dataclass(frozen=True)
class _Target:
    """The output and its format; `dataset` is inside a container of bigstream, or an HDF5 file."""

    output: Path
    form: Form
    dataset: str

    @classmethod
    def of(cls, output: Path, to: str | None) -> _Target:
        """Return the target by the ending of `output`, in the format `to`. Raises InputError for other endings."""
        in_hdf5 = voxel_fields.split_file(output)
        if in_hdf5 is not None and (in_hdf5[1] or to == "rnr-exm"):
            file, dataset = in_hdf5
            if to not in (None, "rnr-exm") or not dataset:
                raise InputError(f"{output} must name a field in the file for rnr-exm, such as {file}/pair5.")
            return cls(file, Form.VOXEL_FIELD, dataset)
        within = {part.suffix for part in (output, *output.parents)} & {".zarr", ".n5"}
        container, dataset = split_uri(output) if within else (output, "")
        for tool in (to,) if to else FORMATS:
            for suffix, form in _FORMS[tool].items():
                if container.name.endswith(suffix):
                    if dataset and form is not Form.BIGSTREAM_FIELD:
                        raise InputError(
                            f"the output {output} lies inside {container}; only bigstream has such fields."
                        )
                    return cls(container, form, dataset)
        endings = {suffix for tool in ((to,) if to else FORMATS) for suffix in _FORMS[tool]}
        raise InputError(f"the output {output} must end in one of {', '.join(sorted(endings))}.")

    @property
    def report(self) -> Path:
        """The file with the residuals of a field."""
        if self.form is Form.VOXEL_FIELD:  # a file may have several
            return self.output.with_suffix(f".{self.dataset.replace('/', '_')}.residual.json")
        return self.output.with_name(self.output.name.removesuffix(".gz")).with_suffix(".residual.json")

    @property
    def files(self) -> tuple[Path, ...]:
        """The output, and the report of a field; an HDF5 file gets a further field, and may exist."""
        if self.form is Form.VOXEL_FIELD:
            return (self.report,)
        return (self.output, self.report) if self.form in _FIELDS else (self.output,)

    def refuse_existing(self, *, overwrite: bool) -> None:
        """Raise InputError when a file exists, unless it is to be overwritten; writes nothing."""
        if self.form is Form.VOXEL_FIELD and not overwrite and voxel_fields.has_field(self.output, self.dataset):
            raise InputError(f"{self.output} has a field {self.dataset} already; name another, or add --overwrite.")
        for path in self.files:
            refuse_existing(path, overwrite=overwrite, what="output")

    def check_writable(self, *, overwrite: bool) -> None:
        """Raise InputError when a file exists, unless it is to be overwritten, or cannot be written."""
        for path in self.files:
            check_new_file(path, overwrite=overwrite, what="output")


@dataclass(frozen=True)
class _Frames:
    """The affines from our points to ITK's, of the fixed and of the moving image."""

    fixed: Affine
    moving: Affine

    @classmethod
    def of(cls, unit: str, fixed: str | Path | None, moving: str | Path | None) -> _Frames:
        """Return the frames of the images if they are given, else of straight axes in `unit`."""
        straight = itk.frame_of_unit(UNITS[unit])
        return cls(*(straight if image is None else itk.frame_of_image(image) for image in (fixed, moving)))


@dataclass(frozen=True)
class ConvertedTransform:
    """The transform that was written: what it is, of which transforms, and in what order they act on a fixed point.

    `sampling_um` is the distance of B-splines from the fields that sample them, None if there are none. A field has a
    grid, and `residual_um`, the distance of its images from those of the transforms; all this is in `report`.
    """

    output: str
    kind: str
    transforms: Sequence[str]
    applied_first_to_last: Sequence[str]
    sampling_um: Residual | None
    grid: GridDescription | None = None
    residual_um: Residual | None = None
    report: str | None = None


class ConvertTransformOptions(TypedDict, total=False):
    """Options of `convert_transform`.

    `to` is one of FORMATS; by default it follows from the output's ending. ITK's coordinates are in `unit` (one of
    UNITS, µm by default) in the world of the volumes, or as in the images `itk_fixed` and `itk_moving`, which the
    other tool used. `fixed` and `grid_spacing` are as in `compose_transforms`; a field of bigstream or RnR-ExM has a
    vector at each voxel of `fixed`. `overwrite` replaces outputs that exist.
    """

    to: str | None
    unit: str
    itk_fixed: str | Path | None
    itk_moving: str | Path | None
    fixed: str | Path | Side | None
    grid_spacing: FloatTriple | None
    overwrite: bool


def convert_transform(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    **options: Unpack[ConvertTransformOptions],
) -> ConvertedTransform:
    """Write `transforms` (files of any readable format, outermost first) as one file or folder of another format.

    Transforms become a `.zarr` as they are: affines stay affines, fields are copied. Every other field, and a `.zarr`
    with `fixed` or `grid_spacing`, is sampled on the nodes that `compose_transforms` would take; `NAME.residual.json`
    beside it has its distance from the transforms, measured between its nodes.

    Raises InputError for bad input, before any long work.
    """
    conversion = _Conversion.of(transforms, Path(output), **options)
    target = conversion.target
    target.check_writable(overwrite=conversion.overwrite)
    applied = [str(path) for path in reversed(transforms)]
    log.info("A point of the fixed volume goes through %s", ", then ".join(applied))
    converted = ConvertedTransform(
        output=str(output),
        kind=target.form.value,
        transforms=[str(path) for path in transforms],
        applied_first_to_last=applied,
        sampling_um=conversion.sampling,
    )
    if conversion.grid is None:
        conversion.write_parts()
        return converted
    threads = threads or worker_threads()
    field = conversion.write_field(conversion.grid, threads=threads)
    converted = replace(
        converted,
        grid=GridDescription.of(conversion.grid),
        residual_um=deviation(Stack((field,)), conversion.stack, conversion.grid, threads=threads),
        report=str(target.report),
    )
    run = run_of(transforms, options.get("fixed"), grid_spacing_um=options.get("grid_spacing"))
    write_json(target.report, {**shallow(converted), "run": run})
    return converted


def plan_convert_transform(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    **options: Unpack[ConvertTransformOptions],
) -> Plan:
    """Return the plan of `convert_transform` with the same arguments; writes nothing."""
    conversion = _Conversion.of(transforms, Path(output), **options)
    if conversion.grid is None:
        return plan_copy(Path(output), conversion.stack)
    return plan_field(
        Path(output),
        conversion.stack,
        conversion.grid,
        what="conversion",
        node_seconds=SAMPLE_SECONDS,
        threads=threads or worker_threads(),
        chunk=conversion.grid.shape if conversion.target.form is Form.ITK_FIELD else CHUNK_SHAPE,
    )


@dataclass(frozen=True)
class _Conversion:
    """Transforms that have been read, and what is to be made of them: a field on `grid`, or other than a field, None.

    `sampling` is the larger distance of a B-spline from the field that samples it, None if there are none.
    """

    target: _Target
    frames: _Frames
    stack: Stack
    sampling: Residual | None
    grid: Grid | None
    ends: Ends
    overwrite: bool

    @classmethod
    def of(
        cls,
        paths: Sequence[str | Path],
        output: Path,
        *,
        to: str | None = None,
        unit: str = "um",
        itk_fixed: str | Path | None = None,
        itk_moving: str | Path | None = None,
        fixed: str | Path | Side | None = None,
        grid_spacing: FloatTriple | None = None,
        overwrite: bool = False,
    ) -> _Conversion:
        """Read the transforms. Raises InputError when they cannot be read, or the output cannot hold them."""
        target = _Target.of(output, to)
        target.refuse_existing(overwrite=overwrite)
        frames = _Frames.of(unit, itk_fixed, itk_moving)
        volume = open_fixed(fixed)
        stack, sampling = _load(paths, frames, volume, grid_spacing)
        if target.form is Form.MAP and (fixed is not None or grid_spacing is not None):
            target = replace(target, form=Form.FIELD)
        if target.form in _AT_EVERY_VOXEL:
            grid: Grid | None = _every_voxel(volume)
        elif target.form in _FIELDS:
            grid = chosen_grid(stack, volume, grid_spacing)
        elif stack.affine is None and target.form not in {Form.ITK_TRANSFORM, Form.MAP}:
            raise InputError(
                f"the output {target.output} is {target.form.value}, but there are fields; choose another ending."
            )
        else:
            grid = None
        ends = map_ends(paths)
        return cls(target, frames, stack, sampling, grid, ends, overwrite)

    def write_parts(self) -> None:
        """Write transforms that need no grid."""
        if self.target.form is Form.MAP:
            save_map(self.target.output, self.stack.simplified(), ends=self.ends, overwrite=self.overwrite)
            return
        affine = self.stack.affine
        if affine is not None and self.target.form is Form.AFFINE:
            affine.save(self.target.output)
            return
        whole = self.stack if affine is None else Stack((affine,))
        itk_files.write_parts(self.target.output, itk.to_itk(whole, self.frames.fixed, self.frames.moving))

    def write_field(self, grid: Grid, *, threads: int) -> DisplacementField | StoredField:
        """Write the transforms at the nodes of a grid, chunk by chunk except in a file of ITK; return the field."""
        sampled = sampler(self.stack, grid, threads=threads)
        output = self.target.output
        if self.target.form is Form.ITK_FIELD:
            field = sampled(grid.region)
            itk_files.write_image(output, itk.field_image(field, self.frames.fixed, self.frames.moving))
            return field
        if self.target.form is Form.FIELD:
            return write_field(output, grid, sampled, what="conversion", ends=self.ends, overwrite=self.overwrite)
        if self.target.form is Form.VOXEL_FIELD:
            with voxel_fields.adding_field(output, self.target.dataset, grid) as adder:
                write_chunks(adder, grid, sampled, what="conversion")
            return VoxelField.of(output / self.target.dataset, grid)
        with bigstream.building_field(output, self.target.dataset, grid, overwrite=self.overwrite) as writer:
            write_chunks(writer, grid, sampled, what="conversion")
        return bigstream.open_field(writer.path, grid)


def _load(
    paths: Sequence[str | Path], frames: _Frames, volume: Volume | None, grid_spacing: FloatTriple | None
) -> tuple[Stack, Residual | None]:
    """Return the transforms of the files, and the largest distance of a field from the B-spline that it samples."""
    nodes = None if volume is None else chosen_grid(Stack(), volume, grid_spacing)
    kinds = [kind_of(Path(path)) for path in paths]
    for is_ours, run in itertools.groupby(zip(paths, kinds, strict=True), lambda item: item[1] is Kind.TERALIGN):
        if is_ours:  # raises where a whole map repeats an affine
            load_stack([path for path, _ in run])
    parts: list[Transform] = []
    sampling: Residual | None = None
    absolute = (Path(path).absolute() for path in paths)
    for number, (path, kind) in enumerate(zip(absolute, kinds, strict=True), start=1):
        if kind is Kind.TERALIGN:
            parts.extend(load_stack([path]).transforms)
        elif kind is Kind.BIGSTREAM:
            parts.append(bigstream.open_field(path, None if volume is None else _every_voxel(volume)))
        elif kind is Kind.VOXELS:
            parts.append(VoxelField.of(path, _every_voxel(volume)))
        else:
            foreign = (itk_files if kind is Kind.ITK else elastix).read_parts(path)
            found = itk.from_itk(foreign, frames.fixed, nodes if number == len(paths) else None)
            if not parts:  # the outermost transform ends in ITK's space of the moving image
                parts.extend(itk.between(frames.fixed.inverse(), frames.moving.inverse()))
            parts.extend(found.parts)
            sampling = itk.worse(sampling, found.sampling)
    return Stack(tuple(parts)), sampling


def _every_voxel(volume: Volume | None) -> Grid:
    """Return the voxels of the fixed volume. Raises InputError for oblique ones: such fields are of straight axes."""
    if volume is None:
        raise InputError(
            "fields of bigstream and RnR-ExM have a vector at each voxel of the fixed volume; give it by --fixed."
        )
    if volume.direction is not None:
        raise InputError(
            f"{volume.uri} has oblique axes, for which a field of bigstream or RnR-ExM has no place; convert to or "
            "from another format."
        )
    return volume.grid
