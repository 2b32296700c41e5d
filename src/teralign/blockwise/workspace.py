"""The directory of an unfinished run, from which the same run resumes where it stopped.

    WORKSPACE/
        key.json                     all that the results depend on; results with another key are discarded
        lock.json                    the run that uses the directory
        records/STAGE/z003/NAME.json the outcome of a block, written after the block's other files
        payloads/STAGE/z003/NAME.npy the result of a block, if it is not part of the output already
        output/                      the unfinished output

Every file appears whole or not at all: it is written under another name, flushed to disk, and renamed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from teralign.addresses import Address
from teralign.blockwise.records import BlockRecord, R, parse_record
from teralign.errors import DataError, InputError
from teralign.files import UNFINISHED, on_file_system_of, put_in_place, remove, write_atomically
from teralign.lock import Lock
from teralign.results import to_json
from teralign.uploads import upload

log = logging.getLogger(__name__)

_KEY, _LOCK = "key.json", "lock.json"
_PARTS = ("records", "payloads", "output")


class Workspace:
    """The directory `path` of an unfinished run. Picklable: workers write into it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._lock: Lock | None = None

    @classmethod
    def of(cls, output: Path | Address, work_dir: str | Path | None) -> Workspace:
        """Return the workspace of an output.

        It is `work_dir`, else OUTPUT.partial beside the output, in the current directory if that is an address.
        """
        name = f"{output.name}.partial"
        return cls(work_dir or (output.with_name(name) if isinstance(output, Path) else name))

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_lock": None}

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def output(self) -> Path:
        """The directory in which the output is built."""
        return self.path / "output"

    def prepare(self, key: Mapping[str, object], overwrite: bool = False) -> bool:
        """Lock the directory for a run whose results depend on `key`; return whether a run with this key resumes.

        Results with another key are discarded; with `overwrite`, those with the same key too. The directory stays
        locked until `close` or `finish`, or until this process ends.
        Raises InputError when another run uses the directory, or when it contains other files than a run's; DataError
        when it cannot be written.
        """
        wanted = json.loads(to_json(key))
        try:
            self._check_own()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock.take_patiently(self.path / _LOCK)
            resumed = self._same_run(wanted, overwrite)
            if not resumed:
                self._discard()
            for part in _PARTS:
                (self.path / part).mkdir(exist_ok=True)
            _sweep(self.path)
            write_atomically(self.path / _KEY, to_json(key, indent=1).encode())
        except OSError as error:
            self.close()
            raise DataError(f"{self.path} cannot be used for unfinished work: {error.strerror}.") from error
        return resumed

    def payload(self, stage: str, name: str, suffix: str = ".npz") -> Path:
        """Return the path of a block's result in a stage; write it through `teralign.files`."""
        return self._place("payloads", stage, name, suffix)

    def record(self, stage: str, record: BlockRecord) -> None:
        """Write the record of a block, so that a resumed run skips it."""
        write_atomically(self._place("records", stage, record.block, ".json"), to_json(record, indent=1).encode())

    def load_record(self, stage: str, name: str) -> BlockRecord | None:
        """Return the common fields of a block's record; None if there is no whole record."""
        return self._load(stage, name, BlockRecord)

    def _load(self, stage: str, name: str, kind: type[R]) -> R | None:
        try:
            with self._place("records", stage, name, ".json").open("rb", buffering=0) as file:
                record = parse_record(kind, file.read())
        except (FileNotFoundError, ValueError):
            return None
        return record if record.block == name else None

    def recorded(self, stage: str) -> Container[str]:
        """Return the names of the blocks of a stage that have a record; fast for look-ups in the blocks' order."""
        return _Recorded(self.path / "records" / stage)

    def has_records(self, stage: str) -> bool:
        """Return whether any block of a stage has been run here."""
        return (self.path / "records" / stage).exists()

    def records(self, stage: str, kind: type[R]) -> Iterator[R]:
        """Yield the records of a stage, one at a time, ordered by the blocks' names."""
        folder = self.path / "records" / stage
        for plane in sorted(folder.iterdir()) if folder.is_dir() else ():
            for path in sorted(plane.glob("*.json")):
                record = self._load(stage, path.stem, kind)
                if record is not None:
                    yield record

    def finish(self, built: Path, output: Path | Address, *, overwrite: bool = False) -> None:
        """Rename `built`, the finished output, to `output`, or upload it to this address, and remove the workspace.

        Raises as `place` and `upload` do. During an upload the records stay, so that an interrupted run resumes.
        """
        if isinstance(output, Address):
            _sweep(built)
            upload(built, output, overwrite=overwrite)
        else:
            self.place(built, output, overwrite=overwrite)
        self.remove()

    def place(self, built: Path, output: Path, *, overwrite: bool = False) -> None:
        """Rename `built`, a finished part of the output, to `output`.

        From here on the records are void, since the files that they describe have moved: a run that is interrupted
        now starts anew. Raises InputError when `output` exists, unless `overwrite` is set; then the old output is
        removed once the new one is in place.
        """
        output = output.absolute()
        if output.exists() and not overwrite:
            raise InputError(f"{output} exists already; give --overwrite to replace it.")
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(built)  # workers may have been killed since the run began
        source = on_file_system_of(output, built)
        remove(self.path / _KEY)
        put_in_place(source, output)

    def remove(self) -> None:
        """Remove the workspace and all that it contains."""
        self._discard()
        self.close()

    def close(self) -> None:
        """Unlock the directory and leave its contents for a resumed run; remove it if it is empty."""
        if self._lock is None:
            return
        empty = not any(any((self.path / part).glob("*")) for part in _PARTS)
        if empty:
            self._discard()
        self._lock.release()
        self._lock = None
        if empty:
            with contextlib.suppress(OSError):  # the next run may use it already
                self.path.rmdir()

    def _check_own(self) -> None:
        """Raise InputError for a file, or a directory with a user's files, which a run would remove."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"{self.path} is a file; choose another --work-dir.")
        own = {_KEY, _LOCK, f"{_LOCK}.takeover", *_PARTS}
        foreign = [p.name for p in self.path.iterdir() if p.name not in own and p.suffix != UNFINISHED]
        if foreign:
            raise InputError(
                f"{self.path} holds {min(foreign)}, which is not a run's unfinished work; choose another --work-dir."
            )

    def _same_run(self, wanted: Mapping[str, object], overwrite: bool) -> bool:
        """Return whether the results here have the `wanted` key and are to be kept; the log says why not."""
        try:
            found = json.loads((self.path / _KEY).read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        if found == wanted:
            log.info("%s holds unfinished work of this run: %s", self.path, "discarded" if overwrite else "continued")
            return not overwrite
        changed = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        log.info("Discarding the unfinished work in %s: it was made with another %s", self.path, ", ".join(changed))
        return False

    def _discard(self) -> None:
        """Remove all but the lock; the key first, so that remains are never taken for results."""
        for name in (_KEY, *_PARTS):
            remove(self.path / name)

    def _place(self, part: str, stage: str, name: str, suffix: str) -> Path:
        """Return the path of a block's file; each plane of blocks has a folder, since large folders are slow."""
        return Path(f"{self.path}/{part}/{stage}/{_plane(name)}/{name}{suffix}")


def _sweep(folder: Path) -> None:
    """Remove the half-written files of killed writers."""
    for inner, _, files in os.walk(folder):
        for name in files:
            if name.endswith(UNFINISHED):
                Path(inner, name).unlink(missing_ok=True)


class _Recorded(Container[str]):
    """The names of the records below `folder`: lists each plane of blocks once, instead of checking each file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed, self._files = "", frozenset[str]()

    def __contains__(self, name: object) -> bool:
        plane = _plane(str(name))
        if plane != self._listed:
            folder = self._folder / plane
            self._listed, self._files = (
                plane,
                frozenset(p.name for p in folder.iterdir()) if folder.is_dir() else frozenset(),
            )
        return f"{name}.json" in self._files


def _plane(name: str) -> str:
    """Return the folder of a block, named after its plane of blocks."""
    return name.split("_", 1)[0]
