"""The `teralign` command and its subcommands, most of which are console scripts too.

A command is imported when it is called, so that `--help` does not wait for libraries.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from teralign import __version__
from teralign.cli.logs import say_error
from teralign.cli.names import in_users_names
from teralign.errors import TeralignError, as_line
from teralign.progress import close_bars

GROUPS = {
    "Align": {
        "global-align": "Align two whole volumes in memory.",
        "local-align": "Refine an alignment block by block.",
        "report-alignment": "Judge an alignment and show it in one page.",
        "index-reports": "List the reports of many pairs on one page.",
        "evaluate-alignment": "Score an alignment by labels, images and landmarks.",
        "compare-rounds": "Measure how consistent several rounds are.",
        "view-alignment": "Look at an alignment in Neuroglancer or napari.",
    },
    "Transforms": {
        "apply-transform": "Warp a volume onto the fixed grid, block by block.",
        "merge-rounds": "Write all channels of several rounds as one volume.",
        "transform-points": "Map points from fixed to moving, or back.",
        "compose-transforms": "Combine several transforms into one.",
        "invert-transform": "Write the inverse of transforms.",
        "convert-transform": "Convert to or from ITK, ANTs, elastix, bigstream.",
        "jacobian-map": "Map the local change of volume by transforms.",
    },
    "Volumes": {
        "convert-volume": "Write a volume, or a part of it, in another format.",
        "build-pyramid": "Add coarser scales to a volume.",
        "index-container": "List the images of a container for viewers.",
        "inspect-volume": "Describe a volume, and check its files for damage.",
    },
    "Tiles": {
        "import-tiles": "Read the positions and files of a microscope's tiles.",
        "export-tiles": "Write positions of tiles for another program.",
        "align-tiles": "Measure the shifts between overlapping tiles.",
        "solve-tiles": "Place all tiles as their shifts agree best.",
        "refine-tiles": "Measure how bent tiles are where they overlap.",
        "report-tiles": "Judge how tiles were stitched and show it in one page.",
        "fuse-tiles": "Write tiles as one volume, block by block.",
        "estimate-flatfield": "Find the uneven light and the dark level of tiles.",
        "apply-flatfield": "Write tiles in even light.",
        "balance-tiles": "Find the gain of each tile from the overlaps.",
        "estimate-bias": "Find the slow change of brightness over a volume.",
        "apply-bias": "Write a volume without its slow change of brightness.",
    },
    "Pipeline and cluster": {
        "resolve": "Show what a pipeline run will align.",
        "start-dask-scheduler": "Start a Dask scheduler, alone or around a command.",
        "start-dask-worker": "Start a worker that joins the scheduler of a folder.",
        "stop-dask-cluster": "Stop the cluster of a folder.",
    },
    "This machine": {
        "doctor": "Say what works on this machine, and what to install.",
    },
    "Demo": {
        "make-demo-data": "Make two imaging rounds with a known true transform.",
        "demo-score": "Score an alignment of the demo data against the truth.",
        "demo-tiles-score": "Score stitched tiles of the demo against the truth.",
    },
}
COMMANDS = [name for commands in GROUPS.values() for name in commands]


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the help."""
        return COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but suggest the closest name for an unknown one."""
        if args and args[0] not in COMMANDS:
            matches = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {matches[0]}?" if matches else " See teralign --help for the commands."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group, without importing them."""
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def load_command(name: str) -> click.Command:
    """Import the command of this name."""
    module = name.replace("-", "_")
    command = getattr(importlib.import_module(f"teralign.cli.{module}"), module)
    assert isinstance(command, click.Command)
    command.context_settings["help_option_names"] = ["-h", "--help"]
    return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Run teralign COMMAND --help for the options of a command and an example.",
)
@click.version_option(__version__, prog_name="teralign")
def group() -> None:
    """Register microscopy volumes too large for memory."""


def run(command: click.Command, arguments: Sequence[str] | None = None, *, name: str | None = None) -> int:
    """Run a command and return its exit code; an error is printed as one sentence."""
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say_error(in_users_names(shown.getvalue()))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say_error("Interrupted.")
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort of the whole program
        return _explain(error)
    finally:
        close_bars()
    return code if isinstance(code, int) else 0


def _leave(code: int) -> NoReturn:
    """End this process at once: shutting the libraries down takes a while, and waits for each of their threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the reader has gone
            stream.flush()
    os._exit(code)


def _explain(error: Exception) -> int:
    """Print one sentence about an error and return its exit code; print the traceback only with --verbose."""
    if isinstance(error, TeralignError):
        say_error(f"Error: {as_line(in_users_names(str(error)))}", error)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        say_error(as_line(f"Error: {error.filename or 'a file'} cannot be used: {error.strerror}."), error)
        return 2 if error.errno in _NAME_ERRORS else 3
    if isinstance(error, MemoryError):
        say_error("Error: not enough memory; use a coarser scale or smaller blocks.", error)
        return 3
    text = as_line(" ".join(str(error).split()))
    say_error(f"Error: unexpected {type(error).__name__}: {text} (run again with --verbose for details).", error)
    return 1


_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ELOOP}
_DISK_ERRORS = {
    *_NAME_ERRORS,
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOENT),
}


def main() -> None:
    """Entry point of `teralign`."""
    _leave(run(group, name="teralign"))


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return the entry point of a console script: `global_align` runs the command `global-align`."""
    command = name.replace("_", "-")
    if command not in COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda: _leave(run(load_command(command), name=command))
