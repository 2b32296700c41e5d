"""`global-align`: two whole volumes in memory, one affine matrix out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from teralign.alignment import Side, Source, alignment_bytes, nothing_in, open_source, step_reports, step_seconds
from teralign.blockwise import Workspace
from teralign.cluster import Capacity, worker_threads
from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.filling import building
from teralign.grids import FloatTriple, Grid
from teralign.plans import Plan
from teralign.registration import Image, StepConfig, align
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.transforms import FIELD_STRIDE, Stack, as_field, save_field, warp
from teralign.volumes import PyramidLayout, check_output, plan_output, plan_volume, split_uri

log = logging.getLogger(__name__)


def global_align(
    fixed: str,
    moving: str,
    *,
    output: Path,
    steps: Sequence[str] | None = None,
    config: Path | None = None,
    aligned: str | None = None,
    ome_zarr: str | None = None,
    fixed_mask: str | None = None,
    moving_mask: str | None = None,
    fixed_mask_labels: Sequence[int] | None = None,
    moving_mask_labels: Sequence[int] | None = None,
    fixed_spacing: FloatTriple | None = None,
    moving_spacing: FloatTriple | None = None,
    fixed_channel: int = 0,
    moving_channel: int = 0,
    fixed_timepoint: int = 0,
    moving_timepoint: int = 0,
    threads: int | None = None,
    seed: int = 0,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Align the whole moving volume to the whole fixed one and write what maps fixed to moving points.

    `output` is a `.mat` (4×4 text, z,y,x in µm) or, needed with a deform step, a `.zarr` displacement field. A report
    of the steps goes beside it with the ending `.json`. `aligned` is a volume to write: moving on the fixed grid; a
    .zarr is OME-Zarr of version `ome_zarr` (None: 0.5).

    Returns what was written and the report, with `dry_run` what would be done. Raises InputError and
    DataError before any long work, for bad input.
    """
    plan = load_config(config).steps("global_align", steps)
    source_fixed = open_source(
        "fixed", Side(fixed, fixed_spacing, fixed_channel, fixed_timepoint, fixed_mask, fixed_mask_labels)
    )
    source_moving = open_source(
        "moving", Side(moving, moving_spacing, moving_channel, moving_timepoint, moving_mask, moving_mask_labels)
    )
    report_file = output.with_suffix(".json")
    for path in (output, report_file):
        (refuse_existing if dry_run else check_new_file)(path, overwrite=overwrite)
    deforms = any(step.name == "deform" for step in plan)
    if output.suffix not in {".mat", ".txt", ".zarr"} or (deforms and output.suffix != ".zarr"):
        wanted = "a .zarr field, for a deform step" if deforms else "affine.mat, or a .zarr field"
        raise InputError(f"--output {output} must be {wanted}.")
    if aligned is not None:
        (plan_output if dry_run else check_output)(aligned, overwrite=overwrite)
        layout = plan_volume(aligned, grid=source_fixed.grid, dtype=source_moving.volume.dtype, ome_zarr=ome_zarr)
    elif ome_zarr is not None:
        raise InputError(f"--ome-zarr {ome_zarr} is the version of an --aligned volume; give its name too.")

    threads = threads or worker_threads()
    if dry_run:
        return asdict(
            _plan(source_fixed, source_moving, plan, output, deforms=deforms, aligned=aligned, threads=threads)
        )

    image_fixed, image_moving = _read(source_fixed), _read(source_moving)
    log.info("aligning %s to %s: %s", moving, fixed, ", ".join(step.name for step in plan))
    nodes = source_fixed.grid.coarsen((FIELD_STRIDE,) * 3) if deforms else None
    found = align(image_fixed, image_moving, plan, start=Stack(), field_grid=nodes, seed=seed, threads=threads)
    _save(found.transform, output, source_fixed.grid, overwrite=overwrite)
    if aligned is not None:
        array = warp(
            image_moving.array,
            image_moving.grid,
            grid=image_fixed.grid,
            region=image_fixed.grid.region,
            transform=found.transform,
            threads=threads,
        )
        _write_aligned(aligned, array, layout, overwrite=overwrite)
    report = {
        "output": str(output),
        "aligned": aligned,
        "fixed": fixed,
        "moving": moving,
        "seed": seed,
        "steps": step_reports(found),
    }
    write_atomically(report_file, (json.dumps(report, indent=1) + "\n").encode())
    return report


def _plan(
    fixed: Source,
    moving: Source,
    steps: Sequence[StepConfig],
    output: Path,
    *,
    deforms: bool,
    aligned: str | None,
    threads: int,
) -> Plan:
    """Return the plan of reading, aligning and writing, all in this process."""
    voxels = [source.grid.region.size for source in (fixed, moving)]
    field = 3 * 4 * fixed.grid.coarsen((FIELD_STRIDE,) * 3).region.size if deforms else 0
    capacity = Capacity.here(threads)
    return Plan(
        output=str(output),
        blocks={"align": 1},
        read_bytes=sum(n * source.voxel_bytes for n, source in zip(voxels, (fixed, moving), strict=True)),
        write_bytes=field + (voxels[0] * moving.voxel_bytes if aligned is not None else 0),
        worker_memory_bytes=alignment_bytes(sum(voxels)),
        estimated_seconds=round(capacity.seconds(step_seconds(steps, 1, voxels[0]), 1)),
    ).checked(capacity)


def _read(source: Source) -> Image:
    """The whole image; InputError when there is nothing in it to align."""
    image = source.read()
    if reason := nothing_in(image):
        options = f"--{source.role}-channel" + (f" and --{source.role}-mask" if source.mask else "")
        raise InputError(
            f"the {source.role} volume {source.volume.uri} {reason}: there is nothing to align; "
            f"check the dataset, {options}."
        )
    return image


def _save(transform: Stack, output: Path, grid: Grid, *, overwrite: bool) -> None:
    if output.suffix == ".zarr":
        save_field(output, as_field(transform, grid.coarsen((FIELD_STRIDE,) * 3)), overwrite=overwrite)
        return
    affine = transform.affine
    if affine is None:
        raise InputError(f"--output {output} must be a .zarr field, since the steps found more than an affine.")
    affine.save(output)


def _write_aligned(uri: str, array: NDArray[Any], layout: PyramidLayout, *, overwrite: bool) -> None:
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
