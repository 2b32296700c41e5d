"""`local-align`: blocks of the fixed volume, each aligned in memory, merged into one displacement field."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import teralign
from teralign.alignment import (
    ERROR_ENDING,
    AlignedBlock,
    BlockOptions,
    ImageSource,
    Side,
    Stage,
    StageRunner,
    StageSummary,
    described_steps,
    open_pair,
    plan_alignment,
    plan_stages,
    write_error_volume,
)
from teralign.blockwise import BlockState, Workspace
from teralign.cluster import Compute, worker_threads
from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.files import remove
from teralign.plans import CHECKED, SAMPLED, Plan
from teralign.provenance import Run, config_content, own_name
from teralign.registration import StepConfig
from teralign.results import shallow, write_json
from teralign.tasks.advising import read_overviews, stated_spacing, warn_of_bad_starts, with_advice
from teralign.tasks.inputs import check_new_file, passed, refuse_existing
from teralign.tasks.new_transform import plan_copy
from teralign.tasks.verdicts import NOTHING_ALIGNED, assess_volumes
from teralign.transforms import Stack, StoredField, along_axes, finish_map, in_world, load_stack, save_map
from teralign.trust import (
    Assessment,
    Clues,
    ErrorEstimate,
    ErrorMap,
    GateCheck,
    Gates,
    Measured,
    Verdict,
    not_assessed,
)

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalAlignment(StageSummary):
    """The result of a local alignment: its outputs and the summary of the finest stage.

    `coarser` has the summaries of the coarser stages; `report` is the file with the state and metrics of each block,
    `error_volume` the volume of estimated errors, None if they were not asked for;
    `resumed` blocks were finished by an earlier run. The map begins with the transforms of the files `started_from`,
    outermost first. A `skipped` alignment has no steps and no blocks: it is these transforms, or the identity,
    and the verdict on it is "unknown". The `assessment` is without its blocks, which are in the report.
    """

    output: str
    fixed: str
    moving: str
    started_from: tuple[str, ...]
    skipped: bool
    coarser: tuple[StageSummary, ...]
    resumed: int
    seconds: float
    report: str
    error_volume: str | None
    verdict: Verdict
    error_um: ErrorEstimate | None
    gates: GateCheck
    assessment: Assessment


def local_align(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    output: str | Path,
    initial_transforms: Sequence[str | Path] = (),
    steps: Sequence[str] | None = None,
    config: str | Path | Mapping[str, object] | None = None,
    blocks: BlockOptions = BlockOptions(),
    gates: Gates = Gates(),
    compute: Compute = Compute(),
    seed: int = 0,
    error: bool = True,
    overwrite: bool = False,
) -> LocalAlignment:
    """Refine `initial_transforms` block by block and write the whole map from fixed to moving points.

    `output` is a `.zarr` group: the field u in µm on a grid of nodes, followed by the initial transforms (files,
    outermost first), so that x_moving = initial(x + u(x)). `steps` replaces the list of steps of `config`, a YAML
    file or a mapping of the same shape. `NAME.blocks.json` beside it has the state and metrics of each block.
    Blocks that fail are filled from their neighbours and counted; beyond the fixed region of interest the map returns
    to the initial transforms. Unfinished work stays in the work directory of `compute`, and the same call goes on.
    Without any step the map is the initial transforms, or the identity, and no worker starts. With `error`, the error
    that remains is estimated: in the records of the blocks, and in cubes in `NAME.error.zarr` beside the map. The
    report says which of the `gates` failed, and nothing is raised then; `max_failed_blocks` is that of `blocks`.

    Raises InputError before any long work for bad input, AlignmentError when too many blocks fail.
    """
    options = LocalAlignOptions(
        initial_transforms=initial_transforms,
        steps=steps,
        config=config,
        blocks=blocks,
        gates=gates,
        seed=seed,
        error=error,
        overwrite=overwrite,
    )
    job = _LocalRequest.of(fixed, moving, output, options)
    job.plan(compute, samples=CHECKED)
    warn_of_bad_starts(job.transforms)
    for path in job.outputs:
        check_new_file(path, overwrite=overwrite)
    if not job.steps:
        log.info("no steps: nothing is aligned, and %s becomes %s", passed(job.transforms), job.output)
        save_map(job.output, load_stack(job.transforms).simplified(), overwrite=overwrite)
        none = not_assessed(NOTHING_ALIGNED)
        return job.write_report(job.result(StageSummary.none(job.sources[0].grid), none), (), none)
    with Workspace.of(job.output, compute.work_dir) as workspace:
        workspace.prepare(job.key(), overwrite=False)
        with compute.connect() as client:
            runner = StageRunner(client, workspace, job.start, seed, compute.threads, error)
            *coarser, finest = runner.run_all(job.stages, job.output.name, job.blocks.max_failed)
            errors = job.write_errors(client, workspace) if error else None
        built = workspace.output / job.output.name
        finish_map(built, job.whole(finest.field))
        remove(job.error_volume)  # an older map's, which nothing may take for that of this one
        if error:
            workspace.place(workspace.output / job.error_volume.name, job.error_volume)
        workspace.finish(built, job.output, overwrite=overwrite)
    if not set(finest.summary.states) - {BlockState.MASKED, BlockState.OUTSIDE, BlockState.EMPTY}:
        log.warning(
            "all blocks are masked, empty or outside the moving volume: nothing was aligned, and %s became %s; "
            "check masks, regions of interest and the start",
            passed(job.transforms),
            job.output,
        )
    whole = load_stack([job.output])
    threads = compute.threads or worker_threads()
    assessment = assess_volumes(*job.sources, whole, threads=threads, errors=errors, estimate=error)
    assessment = job.advised(assessment, whole, finest.summary, threads=threads)
    result = replace(
        job.result(finest.summary, assessment),
        coarser=tuple(stage.summary for stage in coarser),
        resumed=finest.resumed,
        seconds=round(finest.seconds, 1),
    )
    # After the output: a report without one would keep a run that was cut off here from going on.
    return job.write_report(result, finest.records, assessment)


class LocalAlignOptions(TypedDict, total=False):
    """The keyword arguments of `local_align` besides `output`, all of them optional."""

    initial_transforms: Sequence[str | Path]
    steps: Sequence[str] | None
    config: str | Path | Mapping[str, object] | None
    blocks: BlockOptions
    gates: Gates
    compute: Compute
    seed: int
    error: bool
    overwrite: bool


def plan_local_align(
    fixed: str | Path | Side, moving: str | Path | Side, *, output: str | Path, **options: Unpack[LocalAlignOptions]
) -> Plan:
    """Return the plan of `local_align` with the same arguments; writes nothing and starts no worker."""
    return _LocalRequest.of(fixed, moving, output, options).plan(options.get("compute", Compute()), samples=SAMPLED)


@dataclass(frozen=True)
class _LocalRequest:
    """A checked request: volumes that are open, the steps, and the stages that they make."""

    sides: tuple[Side, Side]
    sources: tuple[ImageSource, ImageSource]
    output: Path
    transforms: tuple[str, ...]
    start: Stack
    steps: Sequence[StepConfig]
    dropped_steps: Sequence[str]
    config: str | Path | Mapping[str, object] | None
    blocks: BlockOptions
    gates: Gates
    stages: Sequence[Stage]
    seed: int
    error: bool

    @classmethod
    def of(
        cls, fixed: str | Path | Side, moving: str | Path | Side, output: str | Path, options: LocalAlignOptions
    ) -> _LocalRequest:
        """Open and check everything; InputError for what is wrong."""
        config, transforms = options.get("config"), options.get("initial_transforms", ())
        settings = load_config(config)
        steps = settings.steps("local_align", options.get("steps"))
        sides = Side.of(fixed), Side.of(moving)
        sources = open_pair(sides)
        start = along_axes(load_stack(transforms), sources[0].direction, sources[1].direction)
        target = Path(output)
        if target.suffix != ".zarr":
            raise InputError(f"--output {target} must be a .zarr: it becomes a map with a displacement field.")
        blocks = options.get("blocks", BlockOptions()).completed(settings.block_size, settings.block_overlap)
        job = cls(
            sides=sides,
            sources=sources,
            output=target,
            transforms=tuple(map(str, transforms)),
            start=start,
            steps=steps,
            dropped_steps=settings.dropped_steps("local_align", options.get("steps")),
            config=config,
            blocks=blocks,
            gates=replace(options.get("gates", Gates()), max_failed_blocks=blocks.max_failed) if steps else Gates(),
            stages=plan_stages(*sources, steps, blocks) if steps else (),
            seed=options.get("seed", 0),
            error=options.get("error", True) and bool(steps),
        )
        for path in job.outputs:
            refuse_existing(path, overwrite=options.get("overwrite", False))
        return job

    def whole(self, field: StoredField) -> Stack:
        """Return the map of world points: a field along the axes of the fixed volume, then the initial transforms."""
        axes = self.sources[0].direction
        return load_stack(self.transforms) @ in_world(Stack((field,)), axes, axes)

    @property
    def report(self) -> Path:
        """The file with the state and metrics of each block."""
        return self.output.with_suffix(".blocks.json")

    @property
    def error_volume(self) -> Path:
        """The volume of the estimated errors."""
        return self.output.with_suffix(ERROR_ENDING)

    @property
    def outputs(self) -> Sequence[Path]:
        """All that is written."""
        return (self.output, self.report, *([self.error_volume] if self.steps else []))

    def write_errors(self, client: Client | None, workspace: Workspace) -> ErrorMap | None:
        """Write the volume of the estimated errors in the workspace, and return them."""
        built = workspace.output / self.error_volume.name
        return write_error_volume(self.stages[-1], client, workspace, built, self.sources[0].volume.directions)

    def plan(self, compute: Compute, *, samples: int) -> Plan:
        """Return the plan. Raises InputError when a block is too large for a worker."""
        if not self.steps:
            return plan_copy(self.output, self.start)
        return plan_alignment(str(self.output), self.stages, self.start, compute.capacity(), samples=samples)

    def key(self) -> dict[str, object]:
        """Return all that the field depends on."""
        fixed, moving = self.sources
        return {
            "task": "local-align",
            "version": teralign.__version__,
            "output": self.output.name,
            "fixed": fixed.digest(),
            "moving": moving.digest(),
            "start": self.start.digest(),
            "steps": described_steps(self.steps),
            "stages": [stage.digest() for stage in self.stages],
            "seed": self.seed,
            "error": self.error,
        }

    def run(self) -> Run:
        """Return the origin of the field, for the report."""
        (fixed, moving), (fixed_source, moving_source) = self.sides, self.sources
        return Run(
            inputs={
                "fixed": fixed_source.described(fixed),
                "moving": moving_source.described(moving),
                "initial_transforms": [own_name(path) for path in self.transforms],
            },
            parameters={
                "steps": described_steps(self.steps),
                "dropped_steps": self.dropped_steps,
                "stages": [stage.described() for stage in self.stages],
                "blocks": self.blocks,
                "seed": self.seed,
                "error": self.error,
            },
            config=config_content(self.config),
        )

    def advised(self, assessment: Assessment, whole: Stack, finest: StageSummary, *, threads: int) -> Assessment:
        """Return the assessment of the whole map of world points with advice, in the log too."""
        fixed, moving = self.sources
        clues = Clues(
            verdict=assessment.verdict,
            transform=along_axes(whole, fixed.direction, moving.direction),
            fixed=fixed.grid,
            moving=moving.grid,
            spacing=stated_spacing(moving, self.sides[1]),
            started=bool(self.transforms),
            blocks={str(state): count for state, count in finest.states.items()},
            min_jacobian=finest.min_jacobian,
            gain=finest.gain,
        )
        return with_advice(assessment, clues, lambda: read_overviews(fixed, moving), threads=threads)

    def result(self, finest: StageSummary, assessment: Assessment) -> LocalAlignment:
        """Return the result of the command, of one stage that took no time."""
        return LocalAlignment(
            **shallow(finest),
            output=str(self.output),
            fixed=own_name(self.sides[0].uri),
            moving=own_name(self.sides[1].uri),
            started_from=tuple(own_name(path) for path in self.transforms),
            skipped=not self.steps,
            coarser=(),
            resumed=0,
            seconds=0.0,
            report=str(self.report),
            error_volume=str(self.error_volume) if self.error else None,
            verdict=assessment.verdict,
            error_um=assessment.error_um,
            gates=self.gates.check(_measured(finest, assessment)),
            assessment=replace(assessment, blocks=()),
        )

    def write_report(
        self, result: LocalAlignment, records: Sequence[AlignedBlock], assessment: Assessment
    ) -> LocalAlignment:
        """Write the report of a result and its blocks, and return the result."""
        volume = own_name(self.error_volume) if self.error else None
        report = replace(result, output=own_name(self.output), report=own_name(self.report), error_volume=volume)
        summaries = [record.summary() for record in records]
        content = {**shallow(report), "assessment": assessment, "run": self.run(), "records": summaries}
        write_json(self.report, content)
        return result


def _measured(finest: StageSummary, assessment: Assessment) -> Measured:
    """Return what gates judge: the correlation is the median metric of the blocks."""
    return Measured(
        verdict=assessment.verdict,
        correlation=finest.metric_after,
        folded=finest.folded_share,
        failed_blocks=finest.states.get(BlockState.FAILED, 0) / max(1, finest.blocks),
        error_um=None if assessment.error_um is None else assessment.error_um.median,
    )
