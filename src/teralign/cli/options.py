"""Options that several commands share, and decorators that make one value of several options."""

from __future__ import annotations

import functools
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import click
from click.core import ParameterSource

from teralign.cli.logs import JSON_LOG_VARIABLE, set_up_log
from teralign.cli.values import BOX, LABELS, MICROMETRES, NAMES, PATH, PORTS, SLOT, NumberRange
from teralign.errors import InputError

if TYPE_CHECKING:
    from teralign.trust import GateCheck, Verdict

log = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., object])
Body = Callable[..., object]
"""A command's function, whose parameters are other values than click's where a decorator builds them."""


def chain(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator for several; the first is listed first in the help."""

    def decorate(function: Command) -> Command:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def example(*lines: str) -> str:
    """Return the end of a command's help: an example, its continued lines indented."""
    return "\b\nExample:\n  " + " \\\n      ".join(lines)


def _log_setting(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Remember the value of --verbose or --json-log, and set up the log with those that are known so far."""
    settings = ctx.meta.setdefault("teralign.log", {"verbose": False, "as_json": False})
    settings["as_json" if param.name == "json_log" else "verbose"] = value
    set_up_log(**settings)


verbose_option = chain(
    click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_log_setting,
        help="Log in detail, and show tracebacks.",
    ),
    click.option(
        "--json-log",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_log_setting,
        envvar=JSON_LOG_VARIABLE,
        help="Log one JSON object a line.",
    ),
)


def _prefer_json(ctx: click.Context, param: click.Parameter, chosen: bool) -> None:
    """Note that the result is to be printed as JSON, for `print_result`."""
    ctx.meta[_JSON] = chosen


_JSON = "teralign.json"
json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_prefer_json,
    help="Print the result as one JSON object, as is done where standard output is no terminal.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Print the number of blocks, bytes, memory per worker and estimated time; write nothing.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads to compute with.  [default: the cores of this task]"
)
run_options = chain(dry_run_option, overwrite_option, json_option, verbose_option)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers."
)
fixed_option = click.option(
    "--fixed", required=True, metavar="URI", help="The fixed (reference) volume: PATH or s3://…[/DATASET]."
)
moving_option = click.option(
    "--moving", required=True, metavar="URI", help="The moving volume, to be aligned to the fixed volume."
)
spacing_options = chain(
    click.option("--fixed-spacing", type=MICROMETRES, help="Voxel size in µm; overrides the file's metadata."),
    click.option("--moving-spacing", type=MICROMETRES, help="Voxel size of the moving volume in µm."),
)
channel_options = chain(
    click.option(
        "--fixed-channel",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Channel of the fixed volume.",
    ),
    click.option(
        "--moving-channel",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Channel of the moving volume.",
    ),
)
timepoint_options = chain(
    click.option(
        "--fixed-timepoint",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Timepoint of the fixed volume.",
    ),
    click.option(
        "--moving-timepoint",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Timepoint of the moving volume.",
    ),
)
mask_options = chain(
    click.option(
        "--fixed-mask",
        metavar="URI|auto",
        help="Align only where this volume, of any voxel size, is above 0; auto finds the tissue.",
    ),
    click.option("--moving-mask", metavar="URI|auto", help="Mask of the moving volume, as for --fixed-mask."),
    click.option("--fixed-mask-labels", type=LABELS, help="Labels of the mask to use.  [default: all above 0]"),
    click.option("--moving-mask-labels", type=LABELS, help="Labels of the moving mask to use."),
)
roi_options = chain(
    click.option(
        "--fixed-roi",
        type=BOX,
        metavar="X,Y,Z,X,Y,Z",
        help="Align only in this box of the fixed volume: its low and its high corner in µm.",
    ),
    click.option("--moving-roi", type=BOX, metavar="X,Y,Z,X,Y,Z", help="Use only this box of the moving volume."),
)


def _as_both(ctx: click.Context, param: click.Parameter, value: float | None) -> float:
    """Return the moving expansion, by default that of both volumes, which click has parsed before."""
    return float(ctx.params["fixed_expansion"]) if value is None else value


expansion_option = click.option(
    "--expansion",
    "fixed_expansion",
    type=NumberRange(min=0, min_open=True),
    default=1.0,
    metavar="FACTOR",
    help="Expansion factor of the samples: lengths, such as voxel sizes, are divided by it.  [default: 1]",
)
expansion_options = chain(
    expansion_option,
    click.option(
        "--moving-expansion",
        type=NumberRange(min=0, min_open=True),
        callback=_as_both,
        metavar="FACTOR",
        help="Expansion factor of the moving sample.  [default: --expansion]",
    ),
)
side_options = chain(
    mask_options, roi_options, spacing_options, expansion_options, channel_options, timepoint_options
)
steps_options = chain(
    click.option(
        "--steps", type=NAMES, help="Steps in order: ransac, random, rigid, affine, deform.  [default: the config's]"
    ),
    click.option("--config", type=PATH, help="YAML file with the parameters of the steps.  [default: built in]"),
)
transform_option = click.option(
    "--transform",
    "transforms",
    multiple=True,
    required=True,
    type=PATH,
    help="A transform file; repeat for several, outermost (applied last) first.",
)
initial_option = click.option(
    "--initial-transform",
    "initial_transforms",
    multiple=True,
    type=PATH,
    help="The alignment to start from; repeat for several, outermost first.  [default: none]",
)
transforms_argument = click.argument("transforms", nargs=-1, required=True, type=PATH)
node_options = chain(
    click.option("--fixed", metavar="URI", help="Place the nodes over this volume.  [default: over the fields]"),
    click.option(
        "--fixed-spacing", type=MICROMETRES, help="Voxel size of --fixed in µm; overrides the file's metadata."
    ),
    expansion_option,
    click.option(
        "--grid-spacing",
        type=MICROMETRES,
        help="Distance between nodes in µm.  [default: 4 voxels of --fixed, or the spacing of the finest field]",
    ),
)
ome_zarr_option = click.option(
    "--ome-zarr", type=click.Choice(["0.4", "0.5"]), help="OME-Zarr version of a .zarr output.  [default: 0.5]"
)
into_options = chain(
    click.option(
        "--into", metavar="URI", help="Add to an existing container instead: CONTAINER/NAME, IMAGE.zarr/labels/NAME."
    ),
    click.option("--slot", type=SLOT, help="Fill this timepoint and channel of the existing image --into."),
)
work_dir_option = click.option(
    "--work-dir", type=PATH, help="Folder for unfinished work, which a rerun continues.  [default: OUTPUT.partial]"
)
worker_wait_option = click.option(
    "--worker-wait",
    type=NumberRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End with an error when no worker has started for so long.  [default: 600]",
)
cluster_options = chain(
    click.option(
        "--scheduler",
        metavar="ADDRESS_OR_FILE",
        envvar="TERALIGN_SCHEDULER",
        show_envvar=True,
        help="A running Dask scheduler to use.",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Workers to start on this machine."),
    click.option("--worker-cpus", type=click.IntRange(min=1), help="Cores of each worker."),
    click.option("--worker-mem-gb", type=NumberRange(min=0, min_open=True), help="Memory of each worker in GB."),
    worker_wait_option,
)
network_options = chain(
    click.option("--interface", metavar="NAME", help="Network interface to listen on, such as ib0."),
    click.option(
        "--ports", type=PORTS, help="Ports to listen on; each process takes a free one.  [default: any free port]"
    ),
)

_SIDE = ("spacing", "channel", "timepoint", "mask", "mask_labels", "roi", "expansion")
_WORKERS = ("workers", "worker_cpus", "worker_mem_gb")
_COMPUTE = ("scheduler", *_WORKERS, "threads", "work_dir", "worker_wait")


def side(role: Literal["fixed", "moving"]) -> Callable[[Body], Body]:
    """Return a decorator that gives the command a `Side` named `role` instead of the options of that side.

    The options are --ROLE, --ROLE-spacing and so on, if other decorators declare them. Without --ROLE it is None.
    """

    def decorate(command: Body) -> Body:
        @functools.wraps(command)
        def with_side(**arguments: Any) -> object:  # noqa: ANN401 - click passes options by name
            from teralign.alignment import Side

            uri = arguments.pop(role)
            own = {name: arguments.pop(f"{role}_{name}") for name in _SIDE if f"{role}_{name}" in arguments}
            return command(**arguments, **{role: None if uri is None else Side(uri, **own)})

        return with_side

    return decorate


def compute(command: Body) -> Body:
    """Give the command a `Compute` named `compute` instead of --scheduler, --workers, …, --threads and --work-dir.

    Raises InputError for a worker size beside --scheduler; a scheduler of the environment ignores sizes.
    """

    @functools.wraps(command)
    def with_compute(**arguments: Any) -> object:  # noqa: ANN401 - click passes options by name
        from teralign.cluster import Compute

        sizes = [name for name in _WORKERS if arguments.get(name) is not None]
        source = click.get_current_context().get_parameter_source("scheduler")
        if sizes and source is ParameterSource.COMMANDLINE:
            option = "--" + sizes[0].replace("_", "-")
            raise InputError(
                f"{option} is for new workers, but --scheduler has workers already; leave one of them out."
            )
        own = {name: arguments.pop(name) for name in _COMPUTE if name in arguments}
        return command(**arguments, compute=Compute(**own))

    return with_compute


_GATES: dict[str, Callable[[Command], Command]] = {
    "fail_on": click.option(
        "--fail-on",
        type=click.Choice(["bad", "doubtful", "never"]),
        default="never",
        show_default=True,
        help="Verdicts after which the command fails, with exit code 6: bad ones, or all that are not good. "
        "Results stay.",
    ),
    "min_correlation": click.option(
        "--min-correlation",
        type=NumberRange(-1, 1),
        help="Fail if the local correlation after alignment is below this, with exit code 6; results stay.",
    ),
    "max_folded": click.option(
        "--max-folded", type=NumberRange(0, 1), help="Fail if a larger share of the field folds; results stay."
    ),
    "max_failed_blocks": click.option(
        "--max-failed-blocks",
        type=NumberRange(0, 1),
        help="Fail if a larger share of blocks failed; results stay.",
    ),
    "max_error_um": click.option(
        "--max-error-um",
        type=NumberRange(min=0),
        help="Fail if the median of the estimated error in µm is larger; results stay.",
    ),
    "max_tre_um": click.option(
        "--max-tre-um",
        type=NumberRange(min=0),
        help="Fail if the median distance of the landmarks in µm is larger; results stay.",
    ),
}


def gates(*names: str) -> Callable[[Body], Body]:
    """Return a decorator that declares --fail-on and the named gates, and gives the command `gates: Gates`."""
    own = ("fail_on", *names)

    def decorate(command: Body) -> Body:
        @functools.wraps(command)
        def with_gates(**arguments: Any) -> object:  # noqa: ANN401 - click passes options by name
            from teralign.trust import FailOn, Gates

            given = {name: arguments.pop(name) for name in own}
            limits = Gates(fail_on=FailOn(given.pop("fail_on")), **given)
            return command(**arguments, gates=limits)

        return chain(*(_GATES[name] for name in own))(with_gates)

    return decorate


def wants_json() -> bool:
    """Return whether this command prints JSON: with --json, and where standard output is no terminal."""
    return bool(click.get_current_context().meta.get(_JSON)) or not sys.stdout.isatty()


def print_result(result: object) -> None:
    """Print the result, a dataclass or mapping, on standard output.

    It is a JSON document in one line; on a terminal, unless --json is given, it is a short text.
    """
    from teralign.results import document, to_json

    plain = document(result)
    if wants_json():
        click.echo(to_json(plain))
        return
    from teralign.cli.summaries import summary

    context = click.get_current_context()
    click.echo("\n".join(summary(context.info_name or "", plain, _of_the_images(context, sys.argv[1:]))))


def _of_the_images(context: click.Context, words: Sequence[str]) -> dict[str, str]:
    """Return the options on the images and the configuration as they stand on the command line."""
    names = {"config"} | {f"{role}_{name}" for role in ("fixed", "moving") for name in _SIDE}
    flags = {parameter.opts[0] for parameter in context.command.params if parameter.name in names}
    found = {}
    for word, following in itertools.pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        if flag in flags:
            found[flag] = value if equals else following
    return found


class Judged(Protocol):
    """The result of a command that judges an alignment."""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""

    @property
    def gates(self) -> GateCheck:
        """The limits of the command, and those that failed."""


def conclude(result: Judged, what: str = "the alignment") -> None:
    """Print the result of `what` is judged; the last line on standard error says if it is not good.

    Raises GateError if a gate failed.
    """
    print_result(result)
    result.gates.require()
    if result.verdict not in ("good", "unknown"):
        log.warning("%s is %s; its results are written all the same", what, result.verdict)
