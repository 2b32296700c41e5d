"""Every error that a user can meet, each with its exit code.

A message says what is wrong, where (URI, block, option) and what to do next, in one sentence.
"""

from __future__ import annotations


class TeralignError(Exception):
    """Root of all errors that Teralign raises on purpose; a command exits with `exit_code`."""

    exit_code = 1


class InputError(TeralignError, ValueError):
    """What the user asked for cannot be done: an option, a path, a configuration key."""

    exit_code = 2


class DataError(TeralignError):
    """Stored data cannot be read or written as it should be: corrupt chunks, a full disk, no permission."""

    exit_code = 3


class AlignmentError(TeralignError):
    """The alignment failed: nothing to go on, or too many failed blocks."""

    exit_code = 4


class ClusterError(TeralignError):
    """The Dask cluster cannot be reached, or was lost."""

    exit_code = 5
