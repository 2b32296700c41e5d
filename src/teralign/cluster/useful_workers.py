"""The number of workers that the blocks of a command can use, for the workflow that starts them.

`TERALIGN_USEFUL_WORKERS_FILE` names a file. A driver empties it: its command is going to tell. The command then
writes the number. Without the file, or while it stays empty, the number is not known.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from teralign.files import write_atomically

USEFUL_WORKERS_VARIABLE = "TERALIGN_USEFUL_WORKERS_FILE"
"""The environment variable that names the file."""


def promise_useful_workers() -> None:
    """Say that a number is going to be told."""
    _write("")


def tell_useful_workers(count: int) -> None:
    """Tell how many workers can be used."""
    _write(f"{count}\n")


def _write(text: str) -> None:
    """Write the file, if the environment names one; one that cannot be written is no reason to stop."""
    if file := os.environ.get(USEFUL_WORKERS_VARIABLE):
        with contextlib.suppress(OSError):
            write_atomically(Path(file), text.encode())
