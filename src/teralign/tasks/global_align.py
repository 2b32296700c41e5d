"""`global-align`: two whole volumes in memory, one affine matrix out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from teralign.alignment import (
    ImageSource,
    Side,
    alignment_bytes,
    described_steps,
    open_source,
    step_seconds,
    why_empty,
)
from teralign.blockwise import Workspace
from teralign.cluster import Capacity, worker_threads
from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.filling import building
from teralign.plans import Plan
from teralign.provenance import Run, config_content, own_name
from teralign.registration import Image, StepConfig, StepReport, align
from teralign.results import shallow, write_json
from teralign.tasks.inputs import check_new_file, check_steps, refuse_existing
from teralign.transforms import FIELD_STRIDE, NODE_BYTES, Stack, along_axes, in_world, save_map, warp
from teralign.volumes import PyramidLayout, check_output, plan_output, plan_volume, split_uri, with_directions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GlobalAlignment:
    """The result of a global alignment: its outputs, and the report of each step."""

    output: str
    aligned: str | None
    fixed: str
    moving: str
    seed: int
    steps: tuple[StepReport, ...]


def global_align(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    output: str | Path,
    steps: Sequence[str] | None = None,
    config: str | Path | Mapping[str, object] | None = None,
    aligned: str | Path | None = None,
    ome_zarr: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> GlobalAlignment:
    """Align the whole moving volume to the whole fixed one and write the transform from fixed to moving points.

    `output` is a `.mat` (4×4 text, z, y, x in µm) or, needed with a deform step, a `.zarr` map. A
    report of the steps goes beside it with the ending `.json`. `aligned` is a volume to write: moving on the fixed
    grid; a .zarr is OME-Zarr of version `ome_zarr` (None: 0.5). `steps` replaces the list of steps of `config`, a
    YAML file or a mapping of the same shape.

    Raises InputError and DataError before any long work for bad input.
    """
    options = GlobalAlignOptions(
        steps=steps, config=config, aligned=aligned, ome_zarr=ome_zarr, seed=seed, overwrite=overwrite
    )
    job = _GlobalRequest.of(fixed, moving, output, options, writes=True)
    threads = threads or worker_threads()
    image_fixed, image_moving = (_read(source) for source in job.sources)
    log.info("aligning %s to %s: %s", job.sides[1].uri, job.sides[0].uri, ", ".join(step.name for step in job.steps))
    nodes = job.fixed.grid.nodes((FIELD_STRIDE,) * 3) if job.deforms else None
    directions = job.fixed.direction, job.moving.direction
    start = along_axes(Stack(), *directions)
    found = align(
        image_fixed, image_moving, job.steps, initial_transform=start, field_grid=nodes, seed=seed, threads=threads
    )
    whole = start @ found.transform
    _save(in_world(whole, *directions), job.output, overwrite=overwrite)
    if job.aligned is not None:
        array = warp(
            image_moving.array,
            image_moving.grid,
            grid=image_fixed.grid,
            region=image_fixed.grid.region,
            transform=whole,
            threads=threads,
        )
        _write_aligned(*job.aligned, array, overwrite=overwrite)
    result = GlobalAlignment(
        output=str(output),
        aligned=None if aligned is None else str(aligned),
        fixed=own_name(job.sides[0].uri),
        moving=own_name(job.sides[1].uri),
        seed=seed,
        steps=tuple(replace(report, seconds=round(report.seconds, 3)) for report in found.reports),
    )
    own = replace(result, output=own_name(output), aligned=None if aligned is None else own_name(aligned))
    write_json(job.report, {**shallow(own), "run": job.run()})
    return result


class GlobalAlignOptions(TypedDict, total=False):
    """The keyword arguments of `global_align` besides `output`, all of them optional."""

    steps: Sequence[str] | None
    config: str | Path | Mapping[str, object] | None
    aligned: str | Path | None
    ome_zarr: str | None
    threads: int | None
    seed: int
    overwrite: bool


def plan_global_align(
    fixed: str | Path | Side, moving: str | Path | Side, *, output: str | Path, **options: Unpack[GlobalAlignOptions]
) -> Plan:
    """Return the plan of `global_align` with the same arguments, all in this process; writes nothing."""
    job = _GlobalRequest.of(fixed, moving, output, options, writes=False)
    voxels = [source.grid.region.size for source in job.sources]
    field = NODE_BYTES * job.fixed.grid.nodes((FIELD_STRIDE,) * 3).region.size if job.deforms else 0
    capacity = Capacity.here(options.get("threads"))
    return Plan(
        output=str(output),
        blocks={"align": 1},
        read_bytes=sum(n * source.voxel_bytes for n, source in zip(voxels, job.sources, strict=True)),
        write_bytes=field + (voxels[0] * job.moving.voxel_bytes if job.aligned is not None else 0),
        worker_memory_bytes=alignment_bytes(sum(voxels)),
        estimated_seconds=round(capacity.seconds(step_seconds(job.steps, 1, voxels[0]), 1)),
    ).checked(capacity)


@dataclass(frozen=True)
class _GlobalRequest:
    """A checked request: volumes that are open, the steps, and what to write; `aligned` is a URI and its layout."""

    sides: tuple[Side, Side]
    sources: tuple[ImageSource, ImageSource]
    steps: Sequence[StepConfig]
    config: str | Path | Mapping[str, object] | None
    output: Path
    aligned: tuple[str, PyramidLayout] | None
    seed: int

    @classmethod
    def of(
        cls,
        fixed: str | Path | Side,
        moving: str | Path | Side,
        output: str | Path,
        options: GlobalAlignOptions,
        *,
        writes: bool,
    ) -> _GlobalRequest:
        """Open and check everything; InputError for what is wrong. A job that `writes` tries its output folders."""
        config, overwrite = options.get("config"), options.get("overwrite", False)
        aligned, ome_zarr = options.get("aligned"), options.get("ome_zarr")
        chosen = load_config(config).steps("global_align", options.get("steps"))
        check_steps(chosen, "global_align")
        sides = Side.of(fixed), Side.of(moving)
        sources = open_source("fixed", sides[0]), open_source("moving", sides[1])
        target = Path(output)
        for path in (target, target.with_suffix(".json")):
            (check_new_file if writes else refuse_existing)(path, overwrite=overwrite)
        deforms = any(step.name == "deform" for step in chosen)
        if target.suffix not in {".mat", ".txt", ".zarr"} or (deforms and target.suffix != ".zarr"):
            wanted = "a .zarr, for a deform step" if deforms else "affine.mat, or a .zarr"
            raise InputError(f"--output {target} must be {wanted}.")
        if aligned is None and ome_zarr is not None:
            raise InputError(f"--ome-zarr {ome_zarr} is the version of an --aligned volume; give its name too.")
        planned = None
        if aligned is not None:
            (check_output if writes else plan_output)(aligned, overwrite=overwrite)
            volume, channel = sources[1].volume, sources[1].channel
            layout = plan_volume(
                aligned,
                grid=sources[0].grid,
                dtype=volume.dtype,
                channel_names=[volume.channel_names[channel]],
                display=[volume.display[channel]],
                ome_zarr=ome_zarr,
            )
            planned = str(aligned), with_directions(layout, aligned, sources[0].volume.directions)
        return cls(sides, sources, chosen, config, target, planned, options.get("seed", 0))

    @property
    def fixed(self) -> ImageSource:
        """The fixed image."""
        return self.sources[0]

    @property
    def moving(self) -> ImageSource:
        """The moving image."""
        return self.sources[1]

    @property
    def deforms(self) -> bool:
        """True if a step finds a displacement field."""
        return any(step.name == "deform" for step in self.steps)

    @property
    def report(self) -> Path:
        """The file with the report of the steps."""
        return self.output.with_suffix(".json")

    def run(self) -> Run:
        """Return the origin of the transform, for the report."""
        fixed, moving = self.sides
        return Run(
            inputs={"fixed": self.fixed.described(fixed), "moving": self.moving.described(moving)},
            parameters={"steps": described_steps(self.steps), "seed": self.seed},
            config=config_content(self.config),
        )


def _read(source: ImageSource) -> Image:
    """Return the whole image; InputError when there is nothing in it to align."""
    image = source.read()
    if reason := why_empty(image):
        options = f"--{source.role}-channel" + (f" and --{source.role}-mask" if source.mask else "")
        raise InputError(
            f"the {source.role} volume {source.volume.uri} {reason}: there is nothing to align; "
            f"check the dataset, {options}."
        )
    return image


def _save(transform: Stack, output: Path, *, overwrite: bool) -> None:
    if output.suffix == ".zarr":
        save_map(output, transform.simplified(), overwrite=overwrite)
        return
    affine = transform.affine
    if affine is None:
        raise InputError(f"--output {output} must be a .zarr, since the steps found more than an affine.")
    affine.save(output)


def _write_aligned(uri: str, layout: PyramidLayout, array: NDArray[np.generic], *, overwrite: bool) -> None:
    target = check_output(uri, overwrite=overwrite)
    _, dataset = split_uri(uri)
    with Workspace.of(target, None) as workspace:
        workspace.prepare({"task": "global-align"}, overwrite=True)
        with building(target, dataset, layout, workspace, overwrite=overwrite) as writer:
            stored = []
            for level, grid in enumerate(writer.levels):
                for region in grid.region.split(writer.write_shape):
                    if level == 0:
                        stored += writer.write(region, array[region.slices])
                    else:
                        stored += writer.build_level_region(level, region)
            writer.finish(stored)
