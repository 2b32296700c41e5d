"""`align`: two images in, a `Registration` out."""

from __future__ import annotations

import difflib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from teralign.alignment import BlockOptions, ImageSource, StageRunner, plan_stages, why_empty
from teralign.api.frames import Frame
from teralign.api.images import GivenImage, ImageLike, MaskLike
from teralign.api.registration import Registration
from teralign.api.starts import TransformLike, stack_of
from teralign.api.steps import ChosenSteps, ConfigLike, StepLike
from teralign.blockwise import Workspace
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.registration import Image, StepConfig, StepReport
from teralign.registration import align as align_images
from teralign.transforms import FIELD_STRIDE, Stack, along_axes, in_world

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


class AlignOptions(TypedDict, total=False):
    """The further options of `align`."""

    threads: int
    client: Client
    blocks: BlockOptions


def align(
    fixed: ImageLike,
    moving: ImageLike,
    *,
    spacing: float | Sequence[float] | None = None,
    fixed_spacing: float | Sequence[float] | None = None,
    moving_spacing: float | Sequence[float] | None = None,
    steps: Sequence[StepLike] | None = None,
    config: ConfigLike | None = None,
    fixed_mask: MaskLike | None = None,
    moving_mask: MaskLike | None = None,
    initial_transform: TransformLike | None = None,
    seed: int = 0,
    **options: Unpack[AlignOptions],
) -> Registration:
    """Align the moving image to the fixed one."""
    _check_names(options)
    given = (
        GivenImage.of("fixed", fixed, spacing if fixed_spacing is None else fixed_spacing, fixed_mask),
        GivenImage.of("moving", moving, spacing if moving_spacing is None else moving_spacing, moving_mask),
    )
    chosen = ChosenSteps.of(steps, config)
    sources = given[0].source(), given[1].source()
    start = stack_of(initial_transform, sources[0].grid)
    blocks = options.get("blocks", BlockOptions()).completed(chosen.config.block_size, chosen.config.block_overlap)
    return _InMemory(sources, chosen, start, blocks, seed, options.get("threads") or worker_threads()).run()


def _check_names(options: AlignOptions) -> None:
    known = (
        *AlignOptions.__annotations__,
        *(name for name in align.__annotations__ if name not in ("options", "return")),
    )
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(f"align has no option {name}{f'; did you mean {near[0]}?' if near else '.'}")


@dataclass(frozen=True)
class _InMemory:
    """An alignment in this process, by the code of `global-align` and then that of `local-align`."""

    sources: tuple[ImageSource, ImageSource]
    chosen: ChosenSteps
    start: Stack
    blocks: BlockOptions
    seed: int
    threads: int

    def run(self) -> Registration:
        fixed, moving = self.sources
        images = self._read(fixed), self._read(moving)
        transform, reports = self._whole(*images)
        if self.chosen.blocks:
            transform = self._in_blocks(transform)
        return Registration(transform, _frame(fixed), _frame(moving), reports)

    def _whole(self, fixed: Image, moving: Image) -> tuple[Stack, tuple[StepReport, ...]]:
        """Return the map of world points that the steps on the whole images found, and their reports."""
        steps: Sequence[StepConfig] = self.chosen.whole
        if not steps:
            return self.start.simplified(), ()
        axes = self.sources[0].direction, self.sources[1].direction
        start = along_axes(self.start, *axes)
        deforms = any(step.name == "deform" for step in steps)
        found = align_images(
            fixed,
            moving,
            steps,
            initial_transform=start,
            field_grid=fixed.grid.nodes((FIELD_STRIDE,) * 3) if deforms else None,
            seed=self.seed,
            threads=self.threads,
        )
        return in_world(start @ found.transform, *axes).simplified(), found.reports

    def _in_blocks(self, whole: Stack) -> Stack:
        """Return the map of world points after the steps in blocks, which start from `whole`."""
        fixed, moving = self.sources
        start = along_axes(whole, fixed.direction, moving.direction)
        stages = plan_stages(fixed, moving, self.chosen.blocks, self.blocks)
        with tempfile.TemporaryDirectory(prefix="teralign-") as folder, Workspace(Path(folder, "work")) as workspace:
            workspace.prepare({"task": "align"})
            runner = StageRunner(None, workspace, start, self.seed, self.threads)
            *_, finest = runner.run_all(stages, "transform.zarr", self.blocks.max_failed)
            field = finest.field.read()
            workspace.remove()
        return (whole @ in_world(Stack((field,)), fixed.direction, fixed.direction)).simplified()

    def _read(self, source: ImageSource) -> Image:
        image = source.read()
        if reason := why_empty(image):
            raise InputError(f"{source.volume.uri} {reason}: there is nothing to align.")
        return image


def _frame(source: ImageSource) -> Frame:
    uri = source.volume.uri if source.volume.description.files else None
    return Frame(source.grid, source.direction, uri)
