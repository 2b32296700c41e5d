"""Alignments of volumes on disk or at addresses: the commands `global-align` and `local-align`, in turn."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from teralign.alignment import BlockOptions, Side, alignment_bytes, step_seconds
from teralign.api.loading import load
from teralign.api.registration import Registration
from teralign.api.saving import check_new_place
from teralign.api.starts import TransformLike, stack_of
from teralign.api.steps import ChosenSteps
from teralign.cluster import Capacity, Compute, available_memory
from teralign.errors import InputError
from teralign.grids import Grid, as_float_triple
from teralign.pipeline.levels import Budget, KnownScale, choose_global, pair_levels
from teralign.registration import StepReport
from teralign.tasks.global_align import global_align
from teralign.tasks.local_align import local_align
from teralign.transforms import FIELD_STRIDE, NODE_BYTES, Stack, StoredField, save_map
from teralign.volumes import Volume, coarser_levels

_FIELD_BYTES = 2 << 30  # of a field that comes into memory, where no output is given


@dataclass(frozen=True)
class Stored:
    """A checked alignment of two volumes; `output` None brings the map into memory."""

    sides: tuple[Side, Side]
    chosen: ChosenSteps
    initial: TransformLike | None
    blocks: BlockOptions
    seed: int
    compute: Compute
    output: Path | None
    overwrite: bool

    def run(self) -> Registration:
        """Align, and return the registration. Raises InputError before any long work for bad input."""
        volumes = self.sides[0].open("fixed"), self.sides[1].open("moving")
        start = stack_of(self.initial, volumes[0].grid)
        suffix = ".mat" if start.affine is not None and not self._deforms else ".zarr"
        if self.output is None:
            self._check_memory(volumes[0].grid)
        elif self.output.suffix not in (suffix, ".zarr"):
            raise InputError(f"output {self.output} must be a .zarr, since the map holds a displacement field.")
        if self.output is not None:
            check_new_place(self.output, overwrite=self.overwrite)
        with self._folder() as folder:
            output = self.output or folder / f"transform{suffix}"
            found = self._align(volumes, start, folder, output)
            return found if self.output else replace(found, transform=_in_memory(found.transform))

    @property
    def _deforms(self) -> bool:
        return bool(self.chosen.blocks) or any(step.name == "deform" for step in self.chosen.whole)

    def _align(self, volumes: tuple[Volume, Volume], start: Stack, folder: Path, output: Path) -> Registration:
        """Run the commands, with their intermediate files in `folder`, and return what they found."""
        initial, config = _saved(start, folder), self.chosen.mapping()
        steps: tuple[StepReport, ...] = ()
        if self.chosen.whole or not self.chosen.blocks:
            whole = folder / "whole.zarr" if self.chosen.blocks else output
            done = global_align(
                *self._coarse_sides(volumes),
                output=whole,
                initial_transforms=initial,
                config=config,
                threads=self.compute.threads,
                seed=self.seed,
                overwrite=self.overwrite,
            )
            initial, steps = [whole], done.steps
        if self.chosen.blocks:
            local_align(
                *self.sides,
                output=output,
                initial_transforms=initial,
                config=config,
                blocks=self.blocks,
                compute=self.compute,
                seed=self.seed,
                overwrite=self.overwrite,
            )
        found = load(output)
        fixed, moving = self.sides
        return replace(
            found, steps=steps, fixed=replace(found.fixed, side=fixed), moving=replace(found.moving, side=moving)
        )

    def _coarse_sides(self, volumes: tuple[Volume, Volume]) -> tuple[Side, Side]:
        """Return the sides at the scales that a global alignment has memory and time for, as the pipeline chooses."""
        levels = [_levels(volume) for volume in volumes]
        pairs = pair_levels(*([known for known, _ in found] for found in levels))
        chosen = choose_global(pairs, self._budget())
        names = chosen.fixed.name, chosen.moving.name
        return (
            _at_level(self.sides[0], dict(levels[0])[chosen.fixed], names[0]),
            _at_level(self.sides[1], dict(levels[1])[chosen.moving], names[1]),
        )

    def _budget(self) -> Budget:
        capacity = Capacity.here(self.compute.threads)

        def seconds(voxels: int) -> float:
            return capacity.seconds(step_seconds(self.chosen.whole, 1, voxels), 1)

        return Budget(available_memory(), alignment_bytes, seconds, seconds)

    def _check_memory(self, grid: Grid) -> None:
        """Raise InputError where a field would be too large to bring into memory."""
        spacing = self.blocks.field_spacing or tuple(FIELD_STRIDE * size for size in grid.spacing)
        field = NODE_BYTES * math.prod(extent / step for extent, step in zip(grid.extent, spacing, strict=True))
        if self._deforms and field > _FIELD_BYTES:
            raise InputError(
                f"the displacement field will have {field / 2**30:.0f} GiB: give a file, output='transform.zarr'."
            )

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        """Give a folder for intermediate files, which the workers of a running cluster see."""
        shared = Path.cwd() if self.compute.client is not None or self.compute.scheduler is not None else None
        place = self.output.absolute().parent if self.output is not None else shared
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".teralign-", dir=place) as folder:
            yield Path(folder)


def _saved(start: Stack, folder: Path) -> list[Path]:
    """Write initial transforms to a file, as the commands take them; none for none."""
    if not start.transforms:
        return []
    path = folder / "initial.zarr"
    save_map(path, start.simplified())
    return [path]


def _in_memory(stack: Stack) -> Stack:
    """Return a map whose fields are all in memory."""
    parts = (part.read() if isinstance(part, StoredField) else part for part in stack.transforms)
    return Stack(tuple(parts))


def _levels(volume: Volume) -> list[tuple[KnownScale, Volume]]:
    """Return a volume and its coarser levels, finest first, as the pipeline knows scales."""
    levels = sorted([volume, *coarser_levels(volume).values()], key=lambda level: -level.grid.region.size)
    return [
        (KnownScale(level.uri, level.grid.region.size, math.prod(level.grid.spacing) ** (1 / 3)), level)
        for level in levels
    ]


def _at_level(side: Side, level: Volume, uri: str) -> Side:
    """Return a side at another scale of its volume; its voxel size follows from the one that the user gave."""
    if side.spacing is None:
        return replace(side, uri=uri)
    return replace(side, uri=uri, spacing=as_float_triple(size * side.expansion for size in level.grid.spacing))
