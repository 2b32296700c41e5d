"""The size to which a chunk of blosc expands, read from its header before tensorstore decodes the chunk.

tensorstore decodes other compressions as a stream, and stops at the size that the metadata declare. A chunk of blosc
it decodes to the size that its own header gives, up to 2 GB; and where another compressor lies around blosc, it
expands that one whole. So a file of a few kilobytes, damaged or made for it, would take all memory.

At addresses nothing is looked at, because it would double the requests.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import tensorstore as ts

from teralign.addresses import REFUSED
from teralign.errors import DataError, InputError
from teralign.volumes.chunk_names import Index, KeyEncoding
from teralign.volumes.json_values import Metadata

_HEADER = 16  # bytes of blosc; the size that it expands to is in bytes 4 to 7
_COMPRESSORS = ("blosc", "gzip", "zstd")
_ON_DISK = ("file", "zip")  # drivers of tensorstore
_INDEX_CODECS = ["bytes", "crc32c"]
_MISSING = 2**64 - 1  # in the index of a shard
_SLACK = 4096  # bytes of checksums and headers of codecs within blosc


@dataclass(frozen=True)
class BloscChunks:
    """The chunks of an array that blosc compressed; shapes are in the order of its own axes.

    `file_shape` is the lattice of files, `chunk_shape` that of chunks; both are the same unless there are shards.
    `limit` is the most bytes to which a chunk may expand.
    """

    encoding: KeyEncoding
    file_shape: Index
    chunk_shape: Index
    limit: int
    is_n5: bool
    index_at_end: bool

    @classmethod
    def of(cls, array: ts.TensorStore, name: object) -> BloscChunks | None:
        """Return the chunks of an array as it was opened, None if they need no look; `name` is for messages.

        Raises InputError for codecs that would expand without a limit.
        """
        if array.kvstore is None or "blosc" not in str(array.codec):
            return None
        spec: Metadata = array.spec().to_json()
        metadata: Metadata = spec["metadata"]
        chunks = tuple(n or 1 for n in array.chunk_layout.read_chunk.shape or ())
        files = tuple(n or 1 for n in array.chunk_layout.write_chunk.shape or ())
        at_end = True
        if spec["driver"] == "zarr3":
            at_end = _check_codecs(name, metadata["codecs"], sharded=chunks != files)
        if spec["kvstore"]["driver"] not in _ON_DISK:
            return None
        size = math.prod(chunks) * np.dtype(array.dtype.numpy_dtype).itemsize
        encoding = KeyEncoding.of(spec["driver"], metadata)
        return cls(encoding, files, chunks, size + size // 8 + _SLACK, spec["driver"] == "n5", at_end)

    def check(self, view: ts.TensorStore) -> None:
        """Raise DataError if a chunk of a view of the array would expand to more than its voxels."""
        store = cast("ts.KvStore", view.kvstore)
        ranges = _ranges(view)
        try:
            for file in _cells(ranges, self.file_shape):
                key = self.encoding.key(file)
                for start, header in self._headers(store, key, file, ranges):
                    size = struct.unpack_from("<I", header, start + 4)[0] if len(header) >= start + _HEADER else 0
                    if size > self.limit:
                        raise DataError(
                            f"{store.path}{key} is damaged: a chunk of it would expand to {size} bytes, where its "
                            f"voxels take {self.limit} at most; copy it again."
                        )
        except REFUSED:
            return  # reading reports the error

    def _headers(
        self, store: ts.KvStore, key: str, file: Index, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the beginning of each chunk of a file that a read needs, and where blosc begins in it."""
        if self.chunk_shape == self.file_shape:
            before = 4 + 4 * len(file) if self.is_n5 else 0
            head = _read(store, key, slice(0, before + 4 + _HEADER))
            yield (before + 4 if self.is_n5 and head[:2] == b"\0\1" else before), head
            return
        counts = tuple(n // m for n, m in zip(self.file_shape, self.chunk_shape, strict=True))
        length = 16 * math.prod(counts) + 4
        index = _read(store, key, slice(-length, None) if self.index_at_end else slice(0, length))
        if len(index) < length:
            return
        entries = np.frombuffer(index, "<u8", 2 * math.prod(counts)).reshape(*counts, 2)
        origin = [i * n for i, n in zip(file, self.file_shape, strict=True)]
        inside = [
            (max(a - o, 0), min(b - o, n)) for (a, b), o, n in zip(ranges, origin, self.file_shape, strict=True)
        ]
        for chunk in _cells(inside, self.chunk_shape):
            offset, size = entries[chunk].tolist()
            if _MISSING not in (offset, size) and size >= _HEADER:
                yield 0, _read(store, key, slice(offset, offset + _HEADER))


def _check_codecs(name: object, codecs: Sequence[Metadata], *, sharded: bool) -> bool:
    """Return whether the index of shards is at their end. Raises InputError for codecs without a limit."""
    names = [codec["name"] for codec in codecs]
    if "sharding_indexed" in names:
        shards: Metadata = codecs[names.index("sharding_indexed")].get("configuration", {})
        inner = [codec["name"] for codec in shards["codecs"]]
        plain = [codec["name"] for codec in shards["index_codecs"]] == _INDEX_CODECS
        if "blosc" in names or "sharding_indexed" in inner or not plain:
            raise InputError(
                f"{name} has blosc around or within shards in a way that no limit of memory holds for; save it with "
                "plain shards."
            )
        _check_codecs(name, shards["codecs"], sharded=False)
        return cast("str", shards.get("index_location", "end")) == "end"
    after = names[names.index("blosc") + 1 :] if "blosc" in names else []
    again = next((codec for codec in after if codec in _COMPRESSORS), None)
    if again is not None:
        raise InputError(
            f"{name} has chunks that are compressed by blosc, and again by {again}; save it with one compression."
        )
    return not sharded


def _read(store: ts.KvStore, key: str, part: slice) -> bytes:
    """Return a part of a file, b"" where there is no file, or it is shorter; raises one of REFUSED."""
    if store.spec().to_json()["driver"] == "file":
        return _read_file(f"{store.path}{key}", part)
    try:
        found = store.read(key, byte_range=part).result()
    except REFUSED as error:
        if str(error).startswith("OUT_OF_RANGE"):
            return b""
        raise
    return bytes(found.value)


def _read_file(path: str, part: slice) -> bytes:
    """Do what `_read` does on a disk, where it takes a tenth of tensorstore's time."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        start = part.start if part.start >= 0 else max(0, os.fstat(file).st_size + part.start)
        length = -part.start if part.stop is None else part.stop - part.start
        return os.pread(file, length, start)
    finally:
        os.close(file)


def _ranges(view: ts.TensorStore) -> list[tuple[int, int]]:
    """Return what a view needs of its array, along the array's own axes."""
    transform = cast("ts.IndexTransform", view.spec().transform)
    ranges = []
    for output in transform.output:
        if output.input_dimension is None:
            ranges.append((output.offset, output.offset + 1))
            continue
        domain = transform.domain[output.input_dimension]
        ends = [output.offset + (output.stride or 1) * n for n in (domain.inclusive_min, domain.inclusive_max)]
        ranges.append((min(ends), max(ends) + 1))
    return ranges


def _cells(ranges: Sequence[tuple[int, int]], shape: Index) -> Iterator[Index]:
    """Yield the cells of a lattice that meet a box."""
    return itertools.product(*(range(a // n, -(-b // n)) for (a, b), n in zip(ranges, shape, strict=True)))
