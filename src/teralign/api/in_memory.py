"""Alignments of arrays, in this process or on workers, by the code of `global-align` and then `local-align`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teralign.alignment import BlockOptions, ImageSource, StageRunner, StageSummary, plan_stages, why_empty
from teralign.api.arrays import ArrayPixels, SpilledPixels
from teralign.api.images import frame_of_source
from teralign.api.registration import Registration
from teralign.api.steps import ChosenSteps
from teralign.blockwise import Workspace
from teralign.cluster import Compute, worker_threads
from teralign.errors import InputError
from teralign.registration import Image, StepReport, align
from teralign.tasks.verdicts import NOTHING_ALIGNED, assess_volumes
from teralign.transforms import FIELD_STRIDE, Stack, along_axes, in_world
from teralign.trust import not_assessed

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class InMemory:
    """A checked alignment of two images that this process reads; `compute` None aligns blocks in this process."""

    sources: tuple[ImageSource, ImageSource]
    chosen: ChosenSteps
    start: Stack
    blocks: BlockOptions
    seed: int
    threads: int | None
    compute: Compute | None

    def run(self) -> Registration:
        """Align, and return the registration. Raises InputError where there is nothing to align."""
        fixed, moving = self.sources
        images = _read(fixed), _read(moving)
        transform, reports = self._whole(*images)
        summary = None
        if self.chosen.blocks:
            transform, summary = self._in_blocks(transform)
        frames = frame_of_source(fixed), frame_of_source(moving)
        if self.chosen.whole or self.chosen.blocks:
            assessment = assess_volumes(fixed, moving, transform, threads=self.threads or worker_threads())
        else:
            assessment = not_assessed(NOTHING_ALIGNED)
        return Registration(transform, *frames, reports, summary, assessment, self.sources)

    @property
    def _axes(self) -> tuple[ImageSource, ImageSource]:
        return self.sources

    def _whole(self, fixed: Image, moving: Image) -> tuple[Stack, tuple[StepReport, ...]]:
        """Return the map of world points that the steps on the whole images found, and their reports."""
        steps, axes = self.chosen.whole, [source.direction for source in self.sources]
        if not steps:
            return self.start.simplified(), ()
        start = along_axes(self.start, *axes)
        deforms = any(step.name == "deform" for step in steps)
        found = align(
            fixed,
            moving,
            steps,
            initial_transform=start,
            field_grid=fixed.grid.nodes((FIELD_STRIDE,) * 3) if deforms else None,
            seed=self.seed,
            threads=self.threads or worker_threads(),
        )
        return in_world(start @ found.transform, *axes).simplified(), found.reports

    def _in_blocks(self, whole: Stack) -> tuple[Stack, StageSummary]:
        """Return the map of world points after the steps in blocks, which start from `whole`, and their summary."""
        with self._folder() as folder, Workspace(folder / "work") as workspace, self._workers() as client:
            workspace.prepare({"task": "align"})
            sources = [source if client is None else _spilled(source, folder) for source in self.sources]
            fixed, moving = sources
            start = along_axes(whole, fixed.direction, moving.direction)
            stages = plan_stages(fixed, moving, self.chosen.blocks, self.blocks)
            runner = StageRunner(client, workspace, start, self.seed, self.threads)
            *_, finest = runner.run_all(stages, "transform.zarr", self.blocks.max_failed)
            field = finest.field.read()
            workspace.remove()
        axes = fixed.direction
        return (whole @ in_world(Stack((field,)), axes, axes)).simplified(), finest.summary

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        """Give a folder for the time of the alignment: one that workers on other machines see, if there are such."""
        place = (self.compute.work_dir or Path.cwd()) if self.compute is not None else None
        with tempfile.TemporaryDirectory(prefix="teralign-", dir=place) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def _workers(self) -> Iterator[Client | None]:
        if self.compute is None:
            yield None
        else:
            with self.compute.connect() as client:
                yield client


def _read(source: ImageSource) -> Image:
    image = source.read()
    if reason := why_empty(image):
        raise InputError(f"{source.volume.uri} {reason}: there is nothing to align.")
    return image


def _spilled(source: ImageSource, folder: Path) -> ImageSource:
    """Return an image whose voxels other processes can read: those of an array go to a file in `folder`."""
    volume = source.volume
    if not isinstance(volume.description.pixels, ArrayPixels):
        return source
    path = folder / f"{source.role}.npy"
    np.save(path, volume.read())
    stored = replace(volume, description=replace(volume.description, pixels=SpilledPixels(path)))
    return replace(source, volume=stored)
