"""`report-alignment`: the verdict on an alignment, with pictures and numbers, as one page and as JSON."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teralign.alignment import ImageSource, Side, open_pair
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.evaluation import (
    LandmarkErrors,
    MeasuredSimilarity,
    Similarity,
    errors_at,
    landmark_pairs,
    measure_similarity,
)
from teralign.files import write_atomically, writing
from teralign.grids import Floats
from teralign.provenance import Run, own_name
from teralign.report import (
    BlockSummary,
    CloseImages,
    Column,
    Evidence,
    GlobalSummary,
    MeasuredField,
    MeasuredGeometry,
    PairReport,
    RecordedBlock,
    Seen,
    StepRecord,
    TaskCost,
    close_views,
    covered_box,
    inverse_consistency,
    measure_field,
    overlay_sheet,
    pair_page,
    read_record,
    read_trace,
    recorded_blocks,
    seen_through,
    states_of,
    summarise_blocks,
    summarise_steps,
)
from teralign.results import write_json
from teralign.tasks.advising import read_overviews, stated_spacing, with_advice
from teralign.tasks.verdicts import assess_volumes
from teralign.transforms import Resampler, Stack, StoredField, along_axes, load_stack
from teralign.trust import Assessment, Clues, ErrorEstimate, GateCheck, Gates, Measured, Verdict
from teralign.volumes import Overview, read_overview

log = logging.getLogger(__name__)

_FILES = ("index.html", "report.json", "overlay.png")
_GLOBAL, _LOCAL = "Global alignment", "Local alignment"


@dataclass(frozen=True)
class AlignmentReport:
    """The verdict, the estimated error, the gates, the files that were written, and the similarity in each state.

    The `assessment` is without its blocks, which are in the file `json`.
    """

    verdict: Verdict
    error_um: ErrorEstimate | None
    assessment: Assessment
    gates: GateCheck
    report: Path
    json: Path
    overlay: Path
    similarity: Mapping[str, Similarity]


@dataclass(frozen=True)
class ReportInputs:
    """The files that a report may use besides volumes and transforms; None is not given.

    `global_report` is the .json of a global alignment, `blocks` the .blocks.json of a local one. Landmarks are two
    tables of points with the same landmarks in the same order. `trace` is the table that Nextflow writes with
    -with-trace, of which the tasks of the pair are shown.
    """

    global_report: str | Path | None = None
    blocks: str | Path | None = None
    fixed_landmarks: str | Path | None = None
    moving_landmarks: str | Path | None = None
    trace: str | Path | None = None

    def landmarks(self) -> tuple[Floats, Floats] | None:
        """Return the landmarks (n, 3) in the fixed and in the moving volume.

        Raises InputError if only one table is given, or they are no pairs.
        """
        if self.fixed_landmarks is None and self.moving_landmarks is None:
            return None
        if self.fixed_landmarks is None or self.moving_landmarks is None:
            raise InputError("--fixed-landmarks and --moving-landmarks belong together; give both, or neither.")
        return landmark_pairs(Path(self.fixed_landmarks), Path(self.moving_landmarks))

    def records(self) -> dict[str, StepRecord]:
        """Return the records of the steps by the step's name, in the order of the steps."""
        given = {_GLOBAL: ("--global-report", self.global_report), _LOCAL: ("--blocks", self.blocks)}
        return {name: read_record(Path(path), option) for name, (option, path) in given.items() if path is not None}

    def tasks(self, pair: str) -> list[TaskCost]:
        """Return the tasks of a workflow run that worked for a pair."""
        return [] if self.trace is None else [task for task in read_trace(Path(self.trace)) if task.pair == pair]

    def named(self) -> dict[str, str | None]:
        """Return the files by the user's own names."""
        given = {
            "global_report": self.global_report,
            "blocks": self.blocks,
            "fixed_landmarks": self.fixed_landmarks,
            "moving_landmarks": self.moving_landmarks,
            "trace": self.trace,
        }
        return {name: None if path is None else own_name(path) for name, path in given.items()}


def report_alignment(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    output: str | Path,
    name: str | None = None,
    inputs: ReportInputs = ReportInputs(),
    gates: Gates = Gates(),
    threads: int | None = None,
    overwrite: bool = False,
) -> AlignmentReport:
    """Write the report of an alignment into the folder `output`: `index.html`, `report.json` and `overlay.png`.

    `transforms` are files, outermost first. Up to three states are compared: "before" has both volumes in the
    positions of their metadata, "global" applies the affines with which the transforms begin, "after" all transforms.
    Both volumes are read at a scale of some million voxels, whatever their size. The verdict is that of the record of
    these transforms in `inputs`, if it is there, and otherwise found here. `name` is the pair's, by default the
    folder's. The report says which of the `gates` failed; nothing is raised then.

    Raises InputError for bad input.
    """
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give a folder, which the report is written into.")
    if not overwrite and any((folder / file).exists() for file in _FILES):
        raise InputError(f"{folder} has a report already; choose another --output, or add --overwrite.")
    job = _ReportRequest.of(fixed, moving, transforms, name or folder.absolute().name, inputs, threads)
    content, evidence = job.measure(gates)
    page, facts, pictures = (folder / file for file in _FILES)
    text = pair_page(content, evidence)
    with writing(pictures) as file:
        Image.fromarray(evidence.sheet).save(file, format="PNG")
    write_json(facts, content)
    write_atomically(page, text.encode())
    return AlignmentReport(
        content.verdict,
        content.error_um,
        replace(content.assessment, blocks=()),
        content.gates,
        page,
        facts,
        pictures,
        content.similarity,
    )


@dataclass(frozen=True)
class _ReportRequest:
    """A checked request: volumes that are open, the transforms by state along the volumes' axes, and the records."""

    name: str
    sides: tuple[Side, Side]
    sources: tuple[ImageSource, ImageSource]
    transforms: tuple[str, ...]
    stack: Stack
    states: Mapping[str, Stack]
    inputs: ReportInputs
    steps: GlobalSummary | None
    blocks: BlockSummary | None
    recorded: Sequence[RecordedBlock]
    records: Mapping[str, StepRecord]
    landmarks: tuple[Floats, Floats] | None
    tasks: Sequence[TaskCost]
    threads: int

    @classmethod
    def of(
        cls,
        fixed: str | Path | Side,
        moving: str | Path | Side,
        transforms: Sequence[str | Path],
        name: str,
        inputs: ReportInputs,
        threads: int | None,
    ) -> _ReportRequest:
        """Open and check everything; InputError for what is wrong."""
        stack = load_stack(transforms)
        sides = Side.of(fixed), Side.of(moving)
        sources = open_pair(sides)
        axes = sources[0].direction, sources[1].direction
        return cls(
            name=name,
            sides=sides,
            sources=sources,
            transforms=tuple(map(str, transforms)),
            stack=stack,
            states={state: along_axes(part, *axes) for state, part in states_of(stack).items()},
            inputs=inputs,
            steps=None if inputs.global_report is None else summarise_steps(Path(inputs.global_report)),
            blocks=None if inputs.blocks is None else summarise_blocks(Path(inputs.blocks)),
            recorded=() if inputs.blocks is None else recorded_blocks(Path(inputs.blocks)),
            records=inputs.records(),
            landmarks=inputs.landmarks(),
            tasks=inputs.tasks(name),
            threads=threads or worker_threads(),
        )

    def measure(self, gates: Gates) -> tuple[PairReport, Evidence]:
        """Return the content of the report, and what its page shows besides."""
        shown = [_overview(source) for source in self.sources]
        fixed, moving = shown
        seen = {state: seen_through(part, fixed, moving, threads=self.threads) for state, part in self.states.items()}
        alike = {state: measure_similarity(fixed.array, one.array, one.covered) for state, one in seen.items()}
        errors = self.landmark_errors()
        fields = self.fields()
        assessment = self.assess(fields)
        after = list(alike)[-1]
        tre = LandmarkErrors.of(errors[after]).median if errors else None
        content = PairReport(
            verdict=assessment.verdict,
            error_um=assessment.error_um,
            gates=gates.check(self.measured(assessment, alike[after].summary, fields, tre)),
            name=self.name,
            assessment=assessment,
            fixed=_geometry(self.sources[0], fixed),
            moving=_geometry(self.sources[1], moving),
            transforms=[own_name(path) for path in self.transforms],
            similarity={state: found.summary for state, found in alike.items()},
            fields={name: field.summary for name, field in fields.items()},
            inverse=inverse_consistency(self.stack, self.sources[0].grid, threads=self.threads),
            landmarks={state: LandmarkErrors.of(found) for state, found in errors.items()},
            global_steps=self.steps,
            blocks=self.blocks,
            commands=[record.command for record in self.records.values() if record.command],
            tasks=self.tasks,
            seconds=self.seconds(),
            workflow=None,
            run=self.run(shown),
        )
        evidence = Evidence(
            fixed=fixed,
            moving_window=moving.window,
            seen=seen,
            sheet=self.sheet(fixed, moving, seen, alike),
            similarity=alike,
            fields=fields,
            zooms=close_views(
                assessment.blocks,
                alike,
                fixed,
                self.close_images(),
                (fixed.window, moving.window),
                threads=self.threads,
            ),
            landmarks=errors,
            recorded=self.recorded,
            records=self.records,
        )
        return content, evidence

    def measured(
        self, assessment: Assessment, after: Similarity, fields: Mapping[str, MeasuredField], tre: float | None
    ) -> Measured:
        """Return what gates judge; a map without fields folds nowhere."""
        blocks = self.blocks
        return Measured(
            verdict=assessment.verdict,
            correlation=after.lncc_mean,
            folded=max((field.summary.jacobian.folded_share for field in fields.values()), default=0.0),
            failed_blocks=None if blocks is None else blocks.states.get("failed", 0) / max(1, blocks.blocks),
            error_um=None if assessment.error_um is None else assessment.error_um.median,
            tre_um=tre,
        )

    def seconds(self) -> float | None:
        """Return the time of all recorded steps, None where it is not known."""
        times = [record.seconds for record in self.records.values()]
        known = [time for time in times if time is not None]
        return sum(known) if known and len(known) == len(times) else None

    def landmark_errors(self) -> dict[str, Floats]:
        """Return the errors (n,) in µm at the landmarks in each state, nothing without landmarks."""
        pairs = self.landmarks
        if pairs is None:
            return {}
        return {state: errors_at(part, *pairs, threads=self.threads) for state, part in states_of(self.stack).items()}

    def assess(self, fields: Mapping[str, MeasuredField]) -> Assessment:
        """Return the assessment in the record of the transforms, or else a new one, with advice."""
        names = {Path(path).name for path in self.transforms}
        for record in self.records.values():
            if record.assessment is not None and {record.output} == names:
                return record.assessment
        fixed, moving = self.sources
        found = assess_volumes(fixed, moving, self.stack, threads=self.threads)
        clues = Clues(
            verdict=found.verdict,
            transform=self.states[list(self.states)[-1]],
            fixed=fixed.grid,
            moving=moving.grid,
            spacing=stated_spacing(moving, self.sides[1]),
            started=True,
            min_jacobian=min((field.summary.jacobian.min for field in fields.values()), default=None),
        )
        return with_advice(found, clues, lambda: read_overviews(fixed, moving), threads=self.threads)

    def close_images(self) -> CloseImages:
        """Return the images at the scale that is given."""
        fixed, moving = self.sources
        return CloseImages(
            fixed.volume,
            fixed.channel,
            fixed.timepoint,
            {state: Resampler(moving.volume, part, fixed.grid) for state, part in self.states.items()},
            moving.channel,
            moving.timepoint,
        )

    def sheet(
        self, fixed: Overview, moving: Overview, seen: Mapping[str, Seen], alike: Mapping[str, MeasuredSimilarity]
    ) -> NDArray[np.uint8]:
        """Return the picture of all states."""
        skipped = self.steps is not None and self.steps.skipped
        titles = {"global": "global (skipped)"} if skipped else {}
        box = covered_box(list(seen.values())[-1].covered)
        z, y, x = ((a + b - 1) // 2 for a, b in zip(box.start, box.stop, strict=True))
        return overlay_sheet(
            fixed.array,
            [Column(titles.get(state, state), _note(alike[state].summary), one.array) for state, one in seen.items()],
            spacing=fixed.grid.spacing,
            at=(z, y, x),
            fixed_window=fixed.window,
            moving_window=moving.window,
        )

    def fields(self) -> dict[str, MeasuredField]:
        """Measure each field, by the name of its file; further fields of a file have numbers, from 2 on."""
        found: dict[str, MeasuredField] = {}
        for path in self.transforms:
            fields = [part for part in load_stack([path]).transforms if isinstance(part, StoredField)]
            for number, field in enumerate(reversed(fields), start=1):
                name = own_name(path) + (f" ({number})" if number > 1 else "")
                found[name] = measure_field(field, threads=self.threads)
        return found

    def run(self, shown: Sequence[Overview]) -> Run:
        """Return the origin of the report; a volume's digest is that of its overview's voxels."""
        described = {
            source.role: {**source.described(side), "digest": _digest(overview)}
            for source, side, overview in zip(self.sources, self.sides, shown, strict=True)
        }
        transforms = [own_name(path) for path in self.transforms]
        return Run(inputs={**described, "transforms": transforms, **self.inputs.named()}, parameters={})


def _geometry(source: ImageSource, shown: Overview) -> MeasuredGeometry:
    """Return the geometry of a source with this overview."""
    grid = source.grid
    return MeasuredGeometry(
        own_name(source.volume.uri),
        source.channel,
        grid.shape,
        grid.spacing,
        grid.origin,
        shown.grid.shape,
        shown.grid.spacing,
    )


def _overview(source: ImageSource) -> Overview:
    return read_overview(source.volume, channel=source.channel, timepoint=source.timepoint)


def _digest(overview: Overview) -> str:
    """Return a digest of the voxels and the grid of an overview, wherever the volume lies."""
    digest = hashlib.blake2b(repr(overview.grid).encode(), digest_size=16)
    digest.update(overview.array.tobytes())
    return digest.hexdigest()


def _note(alike: Similarity) -> str:
    """Return the similarity as the text above a column."""
    named = (("NCC", alike.ncc), ("LNCC", alike.lncc_mean))
    shown = [f"{name} {value:.3f}" for name, value in named if value is not None]
    return "   ".join(shown) or "no overlap"
