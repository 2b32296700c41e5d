"""The `teralign` command with its subcommands; each but `report` and `resolve` is a console script as well.

Commands are imported when they are called, so that `--help` does not wait for anybody's libraries.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from teralign import __version__
from teralign.errors import TeralignError

COMMANDS = {
    "global-align": "Align two whole volumes in memory.",
    "local-align": "Refine an alignment block by block.",
    "apply-transform": "Warp a volume onto the fixed grid, block by block.",
    "transform-points": "Map points through transforms, or back.",
    "compose-transforms": "Write a stack of transforms as one.",
    "invert-transform": "Write the inverse of transforms.",
    "convert-transform": "Convert transforms of ITK, ANTs, elastix and bigstream, or to them.",
    "jacobian-map": "Map by what factor transforms scale volume.",
    "convert-volume": "Write a volume, or a part of it, as OME-Zarr or N5.",
    "build-pyramid": "Add coarser scales to a volume.",
    "inspect-volume": "Describe a volume, and check whether it is whole.",
    "start-dask-scheduler": "Start a Dask scheduler, alone or around a command.",
    "start-dask-worker": "Start a worker that joins the scheduler of a directory.",
    "stop-dask-cluster": "Stop the cluster of a directory.",
    "make-demo-data": "Make two imaging rounds with a known true map.",
    "resolve": "Look up what a pipeline run aligns.",
    "report": "Draw before/after pictures and collect metrics.",
    "demo-score": "Score an alignment of the demo data against the truth.",
}


class LazyGroup(click.Group):
    """A group that knows its subcommands' names and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the near miss offered."""
        if args and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " See teralign --help for the commands."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load_command(name: str) -> click.Command:
    """Import the command of this name."""
    module = name.replace("-", "_")
    command = getattr(importlib.import_module(f"teralign.cli.{module}"), module)
    assert isinstance(command, click.Command)
    command.context_settings["help_option_names"] = ["-h", "--help"]
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="teralign")
def group() -> None:
    """Register microscopy volumes too large for memory."""


def run(command: click.Command, arguments: Sequence[str] | None = None, *, name: str | None = None) -> int:
    """Run a command and give its exit code, after one sentence where something is wrong."""
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort of the whole program
        return _explain(error)
    return code if isinstance(code, int) else 0


def _leave(code: int) -> NoReturn:
    """End this process at once: taking the libraries down takes a while, and must wait for each of their threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code)


def _explain(error: Exception) -> int:
    """Say what went wrong in one sentence and give the exit code; the traceback only if it was asked for."""
    if logging.getLogger("teralign").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    if isinstance(error, TeralignError):
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        click.echo(f"Error: {error.filename or 'a file'} cannot be used: {error.strerror}.", err=True)
        return 3
    if isinstance(error, MemoryError):
        click.echo("Error: not enough memory; use a coarser scale or smaller blocks.", err=True)
        return 3
    text = " ".join(str(error).split())
    click.echo(f"Error: unexpected {type(error).__name__}: {text} (run again with --verbose for details).", err=True)
    return 1


_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOENT}


def main() -> None:
    """Entry point of `teralign`."""
    _leave(run(group, name="teralign"))


def _script(name: str) -> None:
    _leave(run(load_command(name), name=name))


def global_align() -> None:
    """Entry point of `global-align`."""
    _script("global-align")


def local_align() -> None:
    """Entry point of `local-align`."""
    _script("local-align")


def apply_transform() -> None:
    """Entry point of `apply-transform`."""
    _script("apply-transform")


def transform_points() -> None:
    """Entry point of `transform-points`."""
    _script("transform-points")


def compose_transforms() -> None:
    """Entry point of `compose-transforms`."""
    _script("compose-transforms")


def invert_transform() -> None:
    """Entry point of `invert-transform`."""
    _script("invert-transform")


def convert_transform() -> None:
    """Entry point of `convert-transform`."""
    _script("convert-transform")


def jacobian_map() -> None:
    """Entry point of `jacobian-map`."""
    _script("jacobian-map")


def convert_volume() -> None:
    """Entry point of `convert-volume`."""
    _script("convert-volume")


def build_pyramid() -> None:
    """Entry point of `build-pyramid`."""
    _script("build-pyramid")


def inspect_volume() -> None:
    """Entry point of `inspect-volume`."""
    _script("inspect-volume")


def start_dask_scheduler() -> None:
    """Entry point of `start-dask-scheduler`."""
    _script("start-dask-scheduler")


def start_dask_worker() -> None:
    """Entry point of `start-dask-worker`."""
    _script("start-dask-worker")


def stop_dask_cluster() -> None:
    """Entry point of `stop-dask-cluster`."""
    _script("stop-dask-cluster")


def make_demo_data() -> None:
    """Entry point of `make-demo-data`."""
    _script("make-demo-data")


def demo_score() -> None:
    """Entry point of `demo-score`."""
    _script("demo-score")
