"""Compiled loops: they run without the GIL, are kept on disk, and say in the log when they are compiled anew.

The first run on a machine spends up to a minute on this; later runs load the compiled code.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TypeVar, cast

import numba
from numba.core import event
from numba.core.caching import FunctionCache

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Return `function` compiled; its code is kept on disk if a folder for it can be written."""
    return _compiled(function, fastmath=False)


def compiled_fast(function: Function) -> Function:
    """Return `function` compiled, with sums in any order (numba's fastmath), which lets them be vectorised."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, *, fastmath: bool) -> Function:
    dispatcher = numba.njit(nogil=True, fastmath=fastmath)(function)
    try:
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined, no-untyped-call]
    except RuntimeError:  # no cache folder: both the installation and the home are read-only
        _say_that_nothing_is_kept()
    return cast("Function", dispatcher)


class _Cache(FunctionCache):
    """Compiled code on disk; code of another version of the loops is replaced.

    numba detects another version by its source file, but only after it has read the types of the arguments, which may
    have other names in this version.
    """

    def load_overload(self, sig: object, target_context: object) -> object:
        """Return the code for these types of arguments, None if no readable code exists."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError):
            self.flush()  # type: ignore[no-untyped-call]
            return None


@functools.cache
def _say_that_nothing_is_kept() -> None:
    log.info("compiled code cannot be kept for later runs: set NUMBA_CACHE_DIR to a folder that can be written")


@functools.cache
def _say_that_it_compiles() -> None:
    log.info("compiling numerical code for this machine, up to a minute; later runs load it")


class _Announcer(event.Listener):
    """Logs the first compilation of a process; numba reports none where it loads code from disk."""

    def on_start(self, event: event.Event) -> None:
        """Say it once."""
        _say_that_it_compiles()

    def on_end(self, event: event.Event) -> None:
        """Do nothing: the work itself logs its progress."""


event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]
