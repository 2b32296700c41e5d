"""Checks of whether all voxels of a volume are present and undamaged.

An array with a manifest is compared with it: each file must have the bytes that were written, and no other file may
exist. Without a manifest, the existing files are decoded, chunk by chunk, which finds the damage that the checksums
of their codecs find; a missing file counts as empty, since stores leave out chunks of zeros. A volume that is no
chunked array is read piece by piece.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import tensorstore as ts

from teralign.addresses import REFUSED, Place, reason
from teralign.errors import DataError
from teralign.grids import Region, Triple, as_triple
from teralign.volumes.arrays import open_array
from teralign.volumes.blosc import BloscChunks
from teralign.volumes.chunk_files import ChunkFiles, checksum
from teralign.volumes.chunk_names import Index
from teralign.volumes.manifest import Manifest
from teralign.volumes.volume import Volume

_PIECE_VOXELS = 4 << 20
_WAITING = 4  # places that each thread has before it

State = Literal["whole", "empty", "lost", "corrupt"]


@dataclass(frozen=True)
class Finding:
    """The state of a file, or of a piece of one: `empty` was never stored, `lost` was stored and is missing."""

    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Audit:
    """The checks of a volume: the number of places, and a check of each."""

    count: int
    looks: Iterable[Callable[[], Finding]]

    def findings(self, threads: int) -> Iterator[Finding]:
        """Yield the finding of each check, in order; a few places for each thread are in memory at any time."""
        ahead: deque[Future[Finding]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            for look in self.looks:
                ahead.append(pool.submit(look))
                if len(ahead) > _WAITING * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def audit_volume(volume: Volume) -> Audit:
    """Return the audit of a volume, with all its channels and timepoints.

    Raises DataError for a manifest that is damaged, or belongs to another array.
    """
    stored = volume.stored
    if stored is None:
        pieces = _Pieces(volume)
        return Audit(pieces.count, (partial(pieces.look, *place) for place in pieces.places()))
    arrays = [_Array.open(stored.driver, path, stored.scale) for path in stored.paths]
    looks = (partial(array.look, place) for array in arrays for place in array.places())
    return Audit(sum(math.prod(array.files.counts) for array in arrays), looks)


@dataclass(frozen=True)
class _Array:
    """A chunked array, its files and its manifest."""

    opened: ts.TensorStore
    files: ChunkFiles
    manifest: Manifest | None
    blosc: BloscChunks | None

    @classmethod
    def open(cls, driver: str, path: Place, scale: str) -> _Array:
        files = ChunkFiles.of(driver, path, scale)
        array = open_array(driver, path, scale)
        manifest = Manifest.load(files.path, files.counts)
        return cls(array, files, manifest, BloscChunks.of(array, files.path))

    def places(self) -> Iterator[Index]:
        return itertools.product(*map(range, self.files.counts))

    def look(self, place: Index) -> Finding:
        path = self.files.file(place)
        try:
            state, why = self._decoded(path, place) if self.manifest is None else self._compared(path, place)
        except OSError as error:
            state, why = "corrupt", f"it cannot be read: {error.strerror or error}"
        return Finding(str(path), state, why)

    def _compared(self, path: Place, place: Index) -> tuple[State, str]:
        """Compare a file with the manifest."""
        assert self.manifest is not None
        written, found = self.manifest.entry(place), checksum(path)
        if written == found:
            return ("empty", "") if found is None else ("whole", "")
        if found is None:
            return "lost", "it is not there"
        if written is None:
            return "corrupt", "nothing was written there"
        if written[0] != found[0]:
            return "corrupt", f"it has {found[0]} bytes, and {written[0]} were written"
        return "corrupt", "its checksum is not that of what was written"

    def _decoded(self, path: Place, place: Index) -> tuple[State, str]:
        """Decode a file by its codecs."""
        if not path.exists():
            return "empty", ""
        for chunk in self.files.chunks(place):
            view = self.opened[chunk]
            try:
                if self.blosc is not None:
                    self.blosc.check(view)
                view.read().result()
            except DataError as error:
                return "corrupt", str(error).rstrip(".")
            except REFUSED as error:
                return "corrupt", reason(error)
        return "whole", ""


@dataclass(frozen=True)
class _Pieces:
    """A volume that is no chunked array, divided into pieces of whole chunks."""

    volume: Volume

    @property
    def count(self) -> int:
        sides = zip(self.volume.grid.shape, self._shape, strict=True)
        return self.volume.timepoints * self.volume.channels * math.prod(-(-n // size) for n, size in sides)

    def places(self) -> Iterator[tuple[int, int, Region]]:
        for timepoint, channel in itertools.product(range(self.volume.timepoints), range(self.volume.channels)):
            for region in self.volume.grid.region.split(self._shape):
                yield timepoint, channel, region

    def look(self, timepoint: int, channel: int, region: Region) -> Finding:
        name = f"{self.volume.uri} (channel {channel}, timepoint {timepoint}, {region.start} to {region.stop} zyx)"
        try:
            self.volume.read(region, channel=channel, timepoint=timepoint)
        except DataError as error:
            return Finding(name, "corrupt", str(error).rstrip("."))
        return Finding(name, "whole")

    @property
    def _shape(self) -> Triple:
        """The shape of a piece: whole chunks, along x first, then y, then z."""
        shape = list(self.volume.chunk_shape)
        for axis in (2, 1, 0):
            shape[axis] *= max(
                1, min(_PIECE_VOXELS // math.prod(shape), -(-self.volume.grid.shape[axis] // shape[axis]))
            )
        return as_triple(shape)
