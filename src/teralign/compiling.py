"""Compiled loops: they run without the GIL, are kept on disk, and say in the log when they are compiled anew.

The first run on a machine spends up to a minute on this; later runs load the compiled code.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile

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
        cache = _Cache(function)
    except RuntimeError:  # no cache folder: both the installation and the home are read-only
        _say_that_nothing_is_kept()
    else:
        folder = Path(cache.cache_path)
        if _is_trusted(folder, Path(function.__code__.co_filename)):
            dispatcher._cache = cache  # type: ignore[attr-defined]
        else:
            _say_that_it_is_not_used(folder)
    return cast("Function", dispatcher)


def _is_trusted(folder: Path, source: Path) -> bool:
    """Return whether only this user, root or the owner of our source can have put code into a folder.

    numba runs what it finds there. In a folder such as /tmp/numba-NAME, another user may have been first.
    """
    real = folder.resolve()
    trusted = {os.geteuid(), 0, source.stat().st_uid}
    return all(place.stat().st_uid in trusted for place in (real, real.parent))


class _Cache(FunctionCache):
    """Compiled code on disk; code of another version of the loops is replaced.

    numba detects another version by its source file, but only after it has read the types of the arguments, which may
    have other names in this version.

    Code that lies beside the source is used too, even where it cannot be written: images of containers, and
    installations that many users share, have it there.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        """Keep the code of `function`; RuntimeError where no folder for it can be written."""
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._beside = IndexDataCacheFile(  # type: ignore[no-untyped-call]
            cache_path=str(Path(inspect.getfile(function)).parent / "__pycache__"),
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, sig: object, target_context: object) -> object:
        """Return the code for these types of arguments, None if no readable code exists."""
        try:
            kept = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError):
            self.flush()  # type: ignore[no-untyped-call]
            kept = None
        return self._load_beside(sig, target_context) if kept is None else kept

    def _load_beside(self, sig: object, target_context: object) -> object:
        """Return the code that lies beside the source, None if there is none for these types and this processor."""
        try:
            key = self._index_key(sig, target_context.codegen())  # type: ignore[attr-defined, no-untyped-call]
            stored = self._beside.load(key)  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError, OSError):  # of another version, or not ours to read
            return None
        return None if stored is None else self._impl.rebuild(target_context, stored)


@functools.cache
def _say_that_it_is_not_used(folder: Path) -> None:
    log.warning(
        "compiled code in %s is neither used nor kept, since the folder belongs to another user: set NUMBA_CACHE_DIR "
        "to a folder of your own",
        folder,
    )


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
