"""`inspect-volume`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from teralign.cli import options
from teralign.errors import DataError

_BAR = 40


@click.command()
@click.argument("volume", metavar="URI")
@click.option("--spacing", type=options.MICROMETRES, help="Voxel spacing in µm, instead of what the file says.")
@click.option("--channel", type=click.IntRange(min=0), default=0, show_default=True, help="Channel to show.")
@click.option("--timepoint", type=click.IntRange(min=0), default=0, show_default=True, help="Timepoint to show.")
@click.option("--histogram", "values", is_flag=True, help="Show the values of a sample of the voxels.")
@click.option("--preview", type=options.PATH, metavar="FILE.png", help="Draw the three middle planes.")
@click.option("--check", is_flag=True, help="Read all that is stored, and name what is lost or corrupt.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@options.threads_option
@options.overwrite_option
@options.verbose_option
def inspect_volume(volume: str, as_json: bool, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Describe a volume: geometry, type, scales, chunks, codecs, size on disk.

    With --check the exit code is 3 where anything is lost or corrupt. Lost files can be told from empty ones only in
    volumes with a manifest, which those written by Teralign have.
    """
    from teralign.tasks.inspect_volume import inspect_volume as task

    found = task(volume, **arguments)
    if as_json:
        options.print_result(found)
    else:
        click.echo("\n".join(_lines(found)))
    if faults := found.get("check", {}).get("faults"):
        check = found["check"]
        raise DataError(
            f"{volume} is damaged: {check['lost']} files are lost and {check['corrupt']} corrupt, the first is "
            f"{faults[0]['name']}; restore them, or make the volume again."
        )


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield found["volume"]
    names = ", ".join(found["channel_names"])
    yield f"  {found['dtype']}, channels: {found['channels']} ({names}), timepoints: {found['timepoints']}"
    for scale in found["scales"]:
        yield from _scale_lines(scale)
    if "histogram" in found:
        yield from _histogram_lines(found["histogram"])
    if "preview" in found:
        yield f"  preview: {found['preview']}"
    if "check" in found:
        yield from _check_lines(found["check"])


def _scale_lines(scale: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {scale['dataset'] or 'the image'}"
    if "error" in scale:
        yield f"    {scale['error']}"
        return
    yield f"    voxels (x, y, z)   {_times(scale['shape'])}"
    yield f"    spacing, µm        {_times(scale['spacing_um']) if scale['spacing_um'] else 'unknown'}"
    if scale["origin_um"]:
        yield f"    origin, µm         {', '.join(f'{v:g}' for v in scale['origin_um'])}"
    shards = f" in shards of {_times(scale['shard_shape'])}" if scale["shard_shape"] else ""
    yield f"    chunks             {_times(scale['chunk_shape'])}{shards}"
    if scale["codecs"]:
        yield f"    codecs             {', '.join(scale['codecs'])}"
    if scale["bytes"] is not None:
        manifest = ", with a manifest" if scale["manifest"] else ""
        yield f"    stored             {_size(scale['bytes'])} in {scale['files']} files{manifest}"


def _histogram_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"  values of {found['voxels']} voxels (channel {found['channel']}, timepoint {found['timepoint']})"
    if found["not_finite"]:
        yield f"    NaN or infinite    {found['not_finite']}"
    if not found["counts"]:
        return
    yield f"    least, mean, most  {found['low']:g}, {found['mean']:g}, {found['high']:g}"
    yield f"    percentiles        {', '.join(f'{p} %: {v:g}' for p, v in found['percentiles'].items())}"
    most = max(found["counts"])
    for edge, count in zip(found["edges"], found["counts"], strict=False):
        yield f"    {edge:>12g} {'#' * -(-_BAR * count // most)}"


def _check_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield "  check: " + ", ".join(f"{found[state]} {state}" for state in ("whole", "empty", "lost", "corrupt"))
    for fault in found["faults"]:
        yield f"    {fault['state']}: {fault['name']}: {fault['reason']}"
    unnamed = found["lost"] + found["corrupt"] - len(found["faults"])
    if unnamed:
        yield f"    and {unnamed} more"


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{v:.10g}" for v in values)


def _size(count: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
