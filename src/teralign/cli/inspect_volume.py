"""`inspect-volume`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.errors import DataError
from teralign.grids import FloatTriple
from teralign.progress import counted

if TYPE_CHECKING:
    from teralign.tasks.inspect_volume import Check, Inspection, ScaleDescription, UnreadableScale, ValueHistogram

_BAR = 40


@click.command(epilog=options.example("inspect-volume stack.ome.tif --histogram --preview stack.png"))
@click.argument("volume", metavar="URI")
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm; overrides the file's metadata.")
@click.option("--channel", type=click.IntRange(min=0), default=0, show_default=True, help="Channel to show.")
@click.option("--timepoint", type=click.IntRange(min=0), default=0, show_default=True, help="Timepoint to show.")
@click.option("--histogram", is_flag=True, help="Show the distribution of the values, from a sample of the voxels.")
@click.option("--preview", type=values.PATH, metavar="FILE.png", help="Draw the three middle planes.")
@click.option("--check", is_flag=True, help="Read all files of the volume, and name those that are lost or corrupt.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of text.")
@options.threads_option
@options.overwrite_option
@options.verbose_option
def inspect_volume(
    volume: str,
    spacing: FloatTriple | None,
    channel: int,
    timepoint: int,
    histogram: bool,
    preview: Path | None,
    check: bool,
    as_json: bool,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Describe a volume: geometry, data type, scales, chunks, codecs, size on disk.

    With --check the exit code is 3 if any file is lost or corrupt. Lost files can be distinguished from empty chunks
    only in volumes with a manifest; volumes that Teralign wrote have a manifest.
    """
    from teralign.tasks.inspect_volume import inspect_volume as task

    found = task(
        volume,
        spacing=spacing,
        channel=channel,
        timepoint=timepoint,
        values=histogram,
        preview=preview,
        check=check,
        threads=threads,
        overwrite=overwrite,
    )
    if as_json:
        options.print_result({name: value for name, value in vars(found).items() if value is not None})
    else:
        click.echo("\n".join(_lines(found)))
    if found.check and found.check.faults:
        raise DataError(
            f"{volume} is damaged: {counted(found.check.lost, 'file')} lost and {found.check.corrupt} corrupt, the "
            f"first is {found.check.faults[0].name}; restore them, or make the volume again."
        )


def _lines(found: Inspection) -> Iterator[str]:
    yield found.volume
    names = ", ".join(found.channel_names)
    yield f"  {found.dtype}, channels: {found.channels} ({names}), timepoints: {found.timepoints}"
    for scale in found.scales:
        yield from _scale_lines(scale)
    if found.labels:
        yield f"  labels: {', '.join(found.labels)}"
    for slot in found.unfinished:
        yield f"  unfinished: {slot}"
    if found.histogram:
        yield from _histogram_lines(found.histogram)
    if found.preview:
        yield f"  preview: {found.preview}"
    if found.check:
        yield from _check_lines(found.check)


def _scale_lines(scale: ScaleDescription | UnreadableScale) -> Iterator[str]:
    from teralign.tasks.inspect_volume import UnreadableScale

    yield f"  {scale.dataset or 'the image'}"
    if isinstance(scale, UnreadableScale):
        yield f"    {scale.error}"
        return
    yield f"    voxels (x, y, z)   {_times(scale.shape)}"
    yield f"    spacing, µm        {_times(scale.spacing_um) if scale.spacing_um else 'unknown'}"
    if scale.origin_um:
        yield f"    origin, µm         {', '.join(f'{v:g}' for v in scale.origin_um)}"
    if scale.direction:
        yield f"    direction          {'; '.join(', '.join(f'{v:.4g}' for v in row) for row in scale.direction)}"
    if scale.orientation:
        yield f"    orientation        {', '.join(value or 'not given' for value in scale.orientation)}"
    shards = f" in shards of {_times(scale.shard_shape)}" if scale.shard_shape else ""
    yield f"    chunks             {_times(scale.chunk_shape)}{shards}"
    if scale.codecs:
        yield f"    codecs             {', '.join(scale.codecs)}"
    if scale.bytes is not None and scale.files is not None:
        manifest = ", with a manifest" if scale.manifest else ""
        yield f"    stored             {_size(scale.bytes)} in {counted(scale.files, 'file')}{manifest}"


def _histogram_lines(found: ValueHistogram) -> Iterator[str]:
    yield f"  values of {found.voxels} voxels (channel {found.channel}, timepoint {found.timepoint})"
    if found.not_finite:
        yield f"    NaN or infinite    {found.not_finite}"
    if not found.counts:
        return
    yield f"    min, mean, max     {found.low:g}, {found.mean:g}, {found.high:g}"
    yield f"    percentiles        {', '.join(f'{p} %: {v:g}' for p, v in found.percentiles.items())}"
    largest = max(found.counts)
    for edge, count in zip(found.edges, found.counts, strict=False):
        yield f"    {edge:>12g} {'#' * -(-_BAR * count // largest)}"


def _check_lines(found: Check) -> Iterator[str]:
    yield f"  check: {found.whole} whole, {found.empty} empty, {found.lost} lost, {found.corrupt} corrupt"
    for fault in found.faults:
        yield f"    {fault.state}: {fault.name}: {fault.reason}"
    unnamed = found.lost + found.corrupt - len(found.faults)
    if unnamed:
        yield f"    and {unnamed} more"


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{v:.10g}" for v in values)


def _size(count: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
