"""Options that several commands share, and the types that turn x,y,z into z,y,x."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from teralign.errors import InputError
from teralign.grids import reverse_axes

F = TypeVar("F", bound=Callable[..., Any])


class AxesType(click.ParamType[tuple[Any, ...]]):
    """Numbers x,y,z (or one for all three axes), given to the command as z,y,x."""

    def __init__(self, number: type[int] | type[float]) -> None:
        self._number = number
        self.name = "x,y,z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:  # noqa: ANN401 - click's signature
        """Parse and reverse; all numbers must be positive."""
        if isinstance(value, tuple):
            return value
        kind = "whole numbers" if self._number is int else "numbers"
        try:
            numbers = [self._number(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is not x,y,z: give three {kind} with commas between them, or one.", param, ctx)
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3 or not all(0 < n < float("inf") for n in numbers):
            self.fail(f"{value!r} is not x,y,z: give three positive {kind} with commas between them.", param, ctx)
        return reverse_axes(numbers)


class RangesType(click.ParamType[tuple[Any, ...]]):
    """Ranges of voxels along x,y,z, given to the command as z,y,x: (first, end), None where an end is left open."""

    name = "a:b,c:d,e:f"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:  # noqa: ANN401 - click's signature
        """Parse and reverse; there must be three ranges of whole numbers from 0."""
        if isinstance(value, tuple):
            return value
        parts = [re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part) for part in str(value).split(",")]
        if len(parts) != 3 or None in parts:
            self.fail(f"{value!r} is not x,y,z ranges: give three, such as 100:200,0:50,: for all of z.", param, ctx)
        return reverse_axes([tuple(int(n) if n else None for n in part.groups()) for part in parts if part])


class NamesType(click.ParamType[tuple[Any, ...]]):
    """Names with commas between them."""

    name = "a,b,c"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ANN401 - click's signature
        """Split and strip; empty names are left out."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


class DiskPath(click.Path[Path]):
    """A path on a disk."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Refuse addresses, which a path would lose a slash of."""
        if "://" in str(value):
            self.fail(f"{value} is an address; only volumes have those, so give a path on a disk.", param, ctx)
        return super().convert(value, param, ctx)


class NumbersType(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "1,2,3"

    def __init__(self, what: str, least: int | None = None) -> None:
        self._what = what
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:  # noqa: ANN401 - click's signature
        """Split; there must be a number, none of them below the least."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} are no {self._what}: give whole numbers with commas between them.", param, ctx)
        if self._least is not None and min(numbers) < self._least:
            self.fail(f"{value!r} are no {self._what}: they count from {self._least}.", param, ctx)
        return numbers


VOXELS = AxesType(int)
MICROMETRES = AxesType(float)
RANGES = RangesType()
NAMES = NamesType()
LABELS = NumbersType("labels")
CHANNELS = NumbersType("channels", least=0)
PATH = DiskPath(path_type=Path)


def chain(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator out of several; the first one given is listed first in the help."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _set_up_logging(ctx: click.Context, param: click.Parameter, verbose: bool) -> None:
    """Log to stderr; with --verbose in detail, and with tracebacks."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("teralign")
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_up_logging,
    help="Log in detail, and show tracebacks.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Print blocks, bytes, the memory of a worker and about how long it takes, and write nothing.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads to compute with.  [default: the cores this task was given]"
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random."
)
fixed_option = click.option(
    "--fixed", required=True, metavar="URI", help="The volume that stays: PATH or s3://…[/DATASET]."
)
moving_option = click.option("--moving", required=True, metavar="URI", help="The volume to bring onto it.")
spacing_options = chain(
    click.option("--fixed-spacing", type=MICROMETRES, help="Voxel spacing in µm, instead of what the file says."),
    click.option("--moving-spacing", type=MICROMETRES, help="Likewise for the moving volume."),
)
channel_options = chain(
    click.option(
        "--fixed-channel", type=click.IntRange(min=0), default=0, show_default=True, help="Channel to align."
    ),
    click.option("--moving-channel", type=click.IntRange(min=0), default=0, show_default=True, help="Likewise."),
)
timepoint_options = chain(
    click.option(
        "--fixed-timepoint", type=click.IntRange(min=0), default=0, show_default=True, help="Timepoint to align."
    ),
    click.option("--moving-timepoint", type=click.IntRange(min=0), default=0, show_default=True, help="Likewise."),
)
mask_options = chain(
    click.option(
        "--fixed-mask",
        metavar="URI|auto",
        help="Where to look: voxels above 0 of a volume of any sampling; auto finds the tissue.",
    ),
    click.option("--moving-mask", metavar="URI|auto", help="Likewise for the moving volume."),
    click.option("--fixed-mask-labels", type=LABELS, help="The labels that count in it.  [default: all above 0]"),
    click.option("--moving-mask-labels", type=LABELS, help="Likewise for the moving mask."),
)
steps_options = chain(
    click.option(
        "--steps", type=NAMES, help="Steps in order: ransac, random, rigid, affine, deform.  [default: the config's]"
    ),
    click.option("--config", type=PATH, help="YAML file of the steps' parameters.  [default: built in]"),
)
transform_option = click.option(
    "--transform", "transforms", multiple=True, required=True, type=PATH, help="Repeats; outermost first."
)
transforms_argument = click.argument("transforms", nargs=-1, required=True, type=PATH)
node_options = chain(
    click.option("--fixed", metavar="URI", help="Nodes over this volume.  [default: over the fields]"),
    click.option("--fixed-spacing", type=MICROMETRES, help="Its voxel spacing in µm, instead of what the file says."),
    click.option(
        "--grid-spacing",
        type=MICROMETRES,
        help="Distance of the nodes in µm.  [default: 4 voxels of --fixed, or that of the finest field]",
    ),
)
ome_zarr_option = click.option(
    "--ome-zarr", type=click.Choice(["0.4", "0.5"]), help="Version of OME-Zarr, for a .zarr.  [default: 0.5]"
)
work_dir_option = click.option(
    "--work-dir", type=PATH, help="Where unfinished work lies, to go on from.  [default: OUTPUT.partial]"
)


def _one_cluster(function: F) -> F:
    """Refuse a size of workers beside a --scheduler; one from the environment goes before the sizes, silently."""

    @functools.wraps(function)
    def checked(*args: Any, **arguments: Any) -> Any:  # noqa: ANN401 - passed on
        sizes = [name for name in ("workers", "worker_cpus", "worker_mem_gb") if arguments[name] is not None]
        source = click.get_current_context().get_parameter_source("scheduler")
        if sizes and source is ParameterSource.COMMANDLINE:
            option = "--" + sizes[0].replace("_", "-")
            raise InputError(f"{option} is for workers to start, but --scheduler has its own; leave one of them out.")
        return function(*args, **arguments)

    return cast(F, checked)


cluster_options = chain(
    click.option(
        "--scheduler",
        metavar="ADDRESS_OR_FILE",
        envvar="TERALIGN_SCHEDULER",
        show_envvar=True,
        help="A Dask scheduler that runs.",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Workers to start on this machine."),
    click.option("--worker-cpus", type=click.IntRange(min=1), help="Cores of each of them."),
    click.option("--worker-mem-gb", type=click.FloatRange(min=0, min_open=True), help="Memory of each of them."),
    _one_cluster,
)


def print_result(result: dict[str, Any]) -> None:
    """Print the result as one JSON line on standard output."""
    click.echo(json.dumps(result))
