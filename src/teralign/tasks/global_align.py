"""`global-align`: two whole volumes in memory, one affine matrix out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from teralign.alignment import (
    ImageSource,
    Side,
    alignment_bytes,
    described_steps,
    open_pair,
    step_seconds,
    why_empty,
)
from teralign.cluster import Capacity, worker_threads
from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.filling import write_array
from teralign.grids import Grid
from teralign.plans import Plan
from teralign.provenance import Run, config_content, own_name
from teralign.registration import Alignment, Image, StepConfig, StepReport, align
from teralign.results import shallow, write_json
from teralign.tasks.advising import stated_spacing, with_advice
from teralign.tasks.inputs import check_new_file, passed, refuse_existing
from teralign.tasks.verdicts import NOTHING_ALIGNED, log_verdict
from teralign.transforms import (
    FIELD_STRIDE,
    NODE_BYTES,
    DisplacementField,
    Stack,
    along_axes,
    folding,
    in_world,
    load_stack,
    save_map,
    warp,
)
from teralign.trust import (
    Assessment,
    Clues,
    ErrorEstimate,
    GateCheck,
    Gates,
    Measured,
    Verdict,
    assess,
    estimate_whole,
    not_assessed,
    with_errors,
)
from teralign.volumes import Direction, PyramidLayout, check_output, plan_output, plan_volume, with_directions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GlobalAlignment:
    """The result of a global alignment: its outputs, and the report of each step.

    The transform begins with those of the files `started_from`, outermost first. A `skipped` alignment has no steps:
    these transforms, or the identity, pass through, and the verdict on them is "unknown". The `assessment` is without
    its blocks, which are in the report.
    """

    output: str
    aligned: str | None
    fixed: str
    moving: str
    started_from: tuple[str, ...]
    skipped: bool
    seed: int
    steps: tuple[StepReport, ...]
    verdict: Verdict
    error_um: ErrorEstimate | None
    gates: GateCheck
    assessment: Assessment


def global_align(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    output: str | Path,
    initial_transforms: Sequence[str | Path] = (),
    steps: Sequence[str] | None = None,
    config: str | Path | Mapping[str, object] | None = None,
    aligned: str | Path | None = None,
    ome_zarr: str | None = None,
    gates: Gates = Gates(),
    threads: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> GlobalAlignment:
    """Align the whole moving volume to the whole fixed one and write the transform from fixed to moving points.

    The steps begin at `initial_transforms` (files, outermost first), which the transform written includes; without
    any step it is these transforms, or the identity. Regions of interest are read instead of the whole volumes.
    `output` is a `.mat` (4×4 text, z, y, x in µm) or, needed with a deform step or an initial field, a `.zarr`. A
    report of the steps goes beside it with the ending `.json`. `aligned` is a volume to write: moving on the fixed
    grid; a .zarr is OME-Zarr of version `ome_zarr` (None: 0.5). `steps` replaces the list of steps of `config`, a
    YAML file or a mapping of the same shape. The report says which of the `gates` failed; nothing is raised then.

    Raises InputError and DataError before any long work for bad input.
    """
    options = GlobalAlignOptions(
        initial_transforms=initial_transforms,
        steps=steps,
        config=config,
        aligned=aligned,
        ome_zarr=ome_zarr,
        seed=seed,
        overwrite=overwrite,
    )
    job = _GlobalRequest.of(fixed, moving, output, options, writes=True)
    threads = threads or worker_threads()
    images = [_read(source) for source in job.sources] if job.steps else []
    found = job.align(*images, threads=threads) if images else job.pass_through()
    assessment = not_assessed(NOTHING_ALIGNED)
    if images:
        assessment = job.assess(images[0], images[1], found, threads=threads)
    _save(found.transform, job.output, overwrite=overwrite)
    if job.aligned is not None:
        image = images[1] if images else job.moving.read()
        array = warp(
            image.array,
            image.grid,
            grid=job.grid,
            region=job.grid.region,
            transform=along_axes(found.transform, *job.directions),
            threads=threads,
        )
        write_array(*job.aligned, array, overwrite=overwrite)
    result = GlobalAlignment(
        output=str(output),
        aligned=None if aligned is None else str(aligned),
        fixed=own_name(job.sides[0].uri),
        moving=own_name(job.sides[1].uri),
        started_from=tuple(own_name(path) for path in initial_transforms),
        skipped=not job.steps,
        seed=seed,
        steps=tuple(replace(report, seconds=round(report.seconds, 3)) for report in found.reports),
        verdict=assessment.verdict,
        error_um=assessment.error_um,
        gates=(gates if images else Gates()).check(_measured(found, assessment)),
        assessment=replace(assessment, blocks=()),
    )
    own = replace(result, output=own_name(output), aligned=None if aligned is None else own_name(aligned))
    write_json(job.report, {**shallow(own), "assessment": assessment, "run": job.run()})
    return result


class GlobalAlignOptions(TypedDict, total=False):
    """The keyword arguments of `global_align` besides `output`, all of them optional."""

    initial_transforms: Sequence[str | Path]
    steps: Sequence[str] | None
    config: str | Path | Mapping[str, object] | None
    aligned: str | Path | None
    ome_zarr: str | None
    gates: Gates
    threads: int | None
    seed: int
    overwrite: bool


def plan_global_align(
    fixed: str | Path | Side, moving: str | Path | Side, *, output: str | Path, **options: Unpack[GlobalAlignOptions]
) -> Plan:
    """Return the plan of `global_align` with the same arguments, all in this process; writes nothing."""
    job = _GlobalRequest.of(fixed, moving, output, options, writes=False)
    fixed_voxels, moving_voxels = (source.box.size for source in job.sources)
    warped = fixed_voxels if job.aligned is not None else 0
    voxels = (fixed_voxels, moving_voxels) if job.steps else (0, moving_voxels if warped else 0)
    field = NODE_BYTES * job.grid.nodes((FIELD_STRIDE,) * 3).region.size if job.deforms else 0
    capacity = Capacity.here(options.get("threads"))
    return Plan(
        output=str(output),
        blocks={"align": 1} if job.steps else {},
        read_bytes=sum(n * source.voxel_bytes for n, source in zip(voxels, job.sources, strict=True)),
        write_bytes=field + warped * job.moving.voxel_bytes,
        worker_memory_bytes=alignment_bytes(sum(voxels)),
        estimated_seconds=round(capacity.seconds(step_seconds(job.steps, 1, voxels[0]), 1)),
    ).checked(capacity)


@dataclass(frozen=True)
class _GlobalRequest:
    """A checked request: volumes that are open, the steps, and what to write; `aligned` is a URI and its layout.

    `start` holds the initial transforms, whose files are `transforms`.
    """

    sides: tuple[Side, Side]
    sources: tuple[ImageSource, ImageSource]
    transforms: tuple[str, ...]
    start: Stack
    steps: Sequence[StepConfig]
    dropped_steps: Sequence[str]
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
        transforms = options.get("initial_transforms", ())
        settings = load_config(config)
        chosen = settings.steps("global_align", options.get("steps"))
        sides = Side.of(fixed), Side.of(moving)
        sources = open_pair(sides)
        start, target = load_stack(transforms), Path(output)
        for path in (target, target.with_suffix(".json")):
            (check_new_file if writes else refuse_existing)(path, overwrite=overwrite)
        deforms = any(step.name == "deform" for step in chosen)
        if target.suffix not in {".mat", ".txt", ".zarr"} or (deforms and target.suffix != ".zarr"):
            wanted = "a .zarr, for a deform step" if deforms else "affine.mat, or a .zarr"
            raise InputError(f"--output {target} must be {wanted}.")
        if start.affine is None and target.suffix != ".zarr":
            raise InputError(f"--output {target} must be a .zarr, since the initial transforms hold a field.")
        if aligned is None and ome_zarr is not None:
            raise InputError(f"--ome-zarr {ome_zarr} is the version of an --aligned volume; give its name too.")
        planned = None
        if aligned is not None:
            (check_output if writes else plan_output)(aligned, overwrite=overwrite)
            volume, channel = sources[1].volume, sources[1].channel
            layout = plan_volume(
                aligned,
                grid=sources[0].grid.crop(sources[0].box),
                dtype=volume.dtype,
                channel_names=[volume.channel_names[channel]],
                display=[volume.display[channel]],
                ome_zarr=ome_zarr,
            )
            planned = str(aligned), with_directions(layout, aligned, sources[0].volume.directions)
        files = tuple(map(str, transforms))
        dropped = settings.dropped_steps("global_align", options.get("steps"))
        return cls(sides, sources, files, start, chosen, dropped, config, target, planned, options.get("seed", 0))

    @property
    def fixed(self) -> ImageSource:
        """The fixed image."""
        return self.sources[0]

    @property
    def moving(self) -> ImageSource:
        """The moving image."""
        return self.sources[1]

    @property
    def directions(self) -> tuple[Direction | None, Direction | None]:
        """The directions of the fixed and the moving volume's axes."""
        return self.fixed.direction, self.moving.direction

    @property
    def grid(self) -> Grid:
        """The grid of the fixed image, which is that of its region of interest."""
        return self.fixed.grid.crop(self.fixed.box)

    @property
    def deforms(self) -> bool:
        """True if a step finds a displacement field."""
        return any(step.name == "deform" for step in self.steps)

    @property
    def report(self) -> Path:
        """The file with the report of the steps."""
        return self.output.with_suffix(".json")

    def align(self, fixed: Image, moving: Image, *, threads: int) -> Alignment:
        """Return the whole transform, and the reports of the steps that found it."""
        log.info(
            "aligning %s to %s: %s", self.sides[1].uri, self.sides[0].uri, ", ".join(step.name for step in self.steps)
        )
        start = along_axes(self.start, *self.directions)
        found = align(
            fixed,
            moving,
            self.steps,
            initial_transform=start,
            field_grid=self.grid.nodes((FIELD_STRIDE,) * 3) if self.deforms else None,
            seed=self.seed,
            threads=threads,
        )
        return replace(found, transform=in_world(start @ found.transform, *self.directions))

    def assess(self, fixed: Image, moving: Image, found: Alignment, *, threads: int) -> Assessment:
        """Return the verdict on the whole transform with its estimated error and advice, in the log too."""
        transform = along_axes(found.transform, *self.directions)
        result = assess(fixed, moving, transform, threads=threads)
        if result.verdict is not Verdict.BAD:  # of a wrong map no estimate is right
            errors = estimate_whole(fixed, moving, transform.simplified(), steps=self.steps, threads=threads)
            result = with_errors(result, errors)
        log_verdict(result)
        clues = Clues(
            verdict=result.verdict,
            transform=transform,
            fixed=fixed.grid,
            moving=moving.grid,
            spacing=stated_spacing(self.moving, self.sides[1]),
            started=bool(self.transforms),
            steps=found.reports,
        )
        return with_advice(result, clues, lambda: (fixed, moving), threads=threads)

    def pass_through(self) -> Alignment:
        """Return the initial transforms as the whole transform, without reports."""
        log.info("no steps: nothing is aligned, and %s becomes %s", passed(self.transforms), self.output)
        return Alignment(self.start, ())

    def run(self) -> Run:
        """Return the origin of the transform, for the report."""
        fixed, moving = self.sides
        return Run(
            inputs={
                "fixed": self.fixed.described(fixed),
                "moving": self.moving.described(moving),
                "initial_transforms": [own_name(path) for path in self.transforms],
            },
            parameters={
                "steps": described_steps(self.steps),
                "dropped_steps": self.dropped_steps,
                "seed": self.seed,
            },
            config=config_content(self.config),
        )


def _measured(found: Alignment, assessment: Assessment) -> Measured:
    """Return what gates judge: the correlation is the metric after the last step that measured one."""
    metrics = [m for report in found.reports for m in (report.metric_before, report.metric_after) if math.isfinite(m)]
    fields = [part for part in found.transform.transforms if isinstance(part, DisplacementField)]
    return Measured(
        verdict=assessment.verdict,
        correlation=metrics[-1] if metrics else None,
        folded=max((folding(field).share for field in fields), default=0.0),
        error_um=None if assessment.error_um is None else assessment.error_um.median,
    )


def _read(source: ImageSource) -> Image:
    """Return the whole image; InputError when there is nothing in it to align."""
    image = source.read()
    if reason := why_empty(image):
        given = {"channel": True, "mask": source.mask is not None, "roi": source.roi is not None}
        options = " and ".join(f"--{source.role}-{name}" for name, used in given.items() if used)
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
