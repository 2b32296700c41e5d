"""The names of the files in which an array keeps its chunks or shards, by their place in the lattice."""

from __future__ import annotations

from dataclasses import dataclass

from teralign.volumes.json_values import Metadata

Index = tuple[int, ...]
"""A place in a lattice, or a shape, in the order of an array's own axes."""


@dataclass(frozen=True)
class KeyEncoding:
    """The beginning of the names of files, and the separator between their numbers."""

    prefix: str
    separator: str

    @classmethod
    def of(cls, driver: str, metadata: Metadata) -> KeyEncoding:
        """Return the encoding that tensorstore's `driver` finds in the metadata of an array."""
        if driver == "n5":
            return cls("", "/")
        if driver == "zarr":
            return cls("", metadata.get("dimension_separator", "."))
        if driver == "neuroglancer_precomputed":
            return cls("", "_")
        encoding = metadata["chunk_key_encoding"]
        nested = encoding["name"] == "default"
        separator = encoding.get("configuration", {}).get("separator", "/" if nested else ".")
        return cls(f"c{separator}" if nested else "", separator)

    def key(self, index: Index) -> str:
        """Return the name of the file at a place of the lattice."""
        return self.prefix + self.separator.join(map(str, index))
