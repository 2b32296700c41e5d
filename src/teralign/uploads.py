"""Folders stored in a bucket so that an incomplete one is never taken for whole: buckets have no renames.

During an upload the folder holds a mark, and the metadata are stored last, from the inside out; without them the
folder is no volume. A folder with a mark is the remainder of an interrupted upload, and may be replaced.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import tensorstore as ts

from teralign.addresses import REFUSED, Address, reason
from teralign.errors import DataError, InputError
from teralign.progress import Progress

log = logging.getLogger(__name__)

MARK = ".teralign-unfinished"
"""The file that marks a folder as incomplete."""

METADATA_NAMES = ("attributes.json", "zarr.json", ".zgroup", ".zattrs", ".zarray", "info")
"""The files that describe a volume in a folder: N5, Zarr and Neuroglancer precomputed."""

_PROBE = ".teralign-probe"
_WRITTEN = "s3://"
_AT_ONCE = 8

Write: TypeAlias = "ts.Future[ts.KvStore.TimestampedStorageGeneration]"


def plan_upload(output: Address, *, overwrite: bool) -> None:
    """Check that a folder may be stored at an address; nothing is written.

    Raises InputError for an address that cannot be written, and for an existing folder unless `overwrite` is set.
    """
    if not output.root.startswith(_WRITTEN):
        raise InputError(f"{output} cannot be written; outputs go to a disk or to s3://.")
    try:
        taken = not overwrite and not (output / MARK).exists() and _holds_anything(output)
    except REFUSED as error:
        raise InputError(f"{output} cannot be written: {reason(error)}.") from error
    if taken:
        raise InputError(f"{output} exists already; choose another output, or replace it whole with --overwrite.")


def probe_upload(output: Address) -> None:
    """Store a small file at an address and remove it. Raises InputError when the bucket refuses this."""
    try:
        store = output.open()
        store.write(_PROBE, b"").result()
        store.write(_PROBE, None).result()
    except REFUSED as error:
        raise InputError(f"{output} cannot be written: {reason(error)}.") from error


def upload(folder: Path, output: Address, *, overwrite: bool) -> None:
    """Store the files of a folder at an address, after removing the old files there.

    Raises InputError as `plan_upload` does, DataError when the upload fails; then the mark remains.
    """
    plan_upload(output, overwrite=overwrite)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    metadata = sorted((path for path in files if path.name in METADATA_NAMES), key=lambda path: -len(path.parts))
    chunks = [path for path in files if path.name not in METADATA_NAMES]
    progress = Progress(len(files), f"files stored at {output}", log)
    try:
        store = output.open()
        store.write(MARK, b"").result()
        _empty(store, output)
        for at_once, group in ((_AT_ONCE, chunks), (1, metadata)):
            requests = (store.write(path.relative_to(folder).as_posix(), path.read_bytes()) for path in group)
            _finish(requests, at_once, progress)
        store.write(MARK, None).result()
    except REFUSED as error:
        raise DataError(
            f"{output} could not be written: {reason(error)}; the same call continues from its finished work."
        ) from error


def _holds_anything(output: Address) -> bool:
    """Return whether an address is in use; a volume is recognised by its metadata, without a list of its chunks."""
    return any((output / name).exists() for name in METADATA_NAMES) or any(
        key.decode() != _PROBE for key in output.open().list().result()
    )


def _empty(store: ts.KvStore, output: Address) -> None:
    """Remove all but the mark: the metadata first, so that the rest is not read with chunks missing."""
    keys = [key.decode() for key in store.list().result() if key.decode() != MARK]
    metadata = [key for key in keys if Path(key).name in METADATA_NAMES]
    progress = Progress(len(keys), f"files removed from {output}", log)
    for group in (metadata, set(keys) - set(metadata)):
        _finish((store.write(key, None) for key in group), _AT_ONCE, progress)


def _finish(requests: Iterable[Write], at_once: int, progress: Progress) -> None:
    """Wait for requests, making them one by one, so that at most `at_once` are under way and in memory."""
    waiting: deque[Write] = deque()
    for request in requests:
        waiting.append(request)
        if len(waiting) == at_once:
            waiting.popleft().result()
            progress.advance()
    for request in waiting:
        request.result()
        progress.advance()
