"""The nodes of a Zarr hierarchy, v2 or v3: arrays and groups with their attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.results import Json
from teralign.volumes.files import DEEPEST_GROUP, folders_around, read_json, subfolders, write_json
from teralign.volumes.json_values import Metadata, as_list

METADATA_FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


@dataclass(frozen=True)
class Node:
    """An array or a group of Zarr format `version` 2 or 3."""

    path: Place
    kind: Literal["array", "group"]
    version: Literal[2, 3]
    attributes: Metadata
    dimension_names: tuple[str | None, ...] = ()

    @property
    def driver(self) -> str:
        """The name of tensorstore's driver for this array."""
        return "zarr3" if self.version == 3 else "zarr"


def read_node(path: Place) -> Node | None:
    """Read the node at `path`, None when there is none. Raises InputError when its metadata cannot be read."""
    metadata = read_json(path / "zarr.json")
    if metadata:
        kind: Literal["array", "group"] = "array" if metadata.get("node_type") == "array" else "group"
        attributes = metadata.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise InputError(f"{path / 'zarr.json'} has attributes that are no JSON object; repair the metadata.")
        return Node(path, kind, 3, attributes, _names(metadata.get("dimension_names")))
    attributes = read_json(path / ".zattrs")
    if (path / ".zarray").exists():
        return Node(path, "array", 2, attributes)
    if attributes or (path / ".zgroup").exists():
        return Node(path, "group", 2, attributes)
    return None


def _names(declared: Json) -> tuple[str | None, ...]:
    """Return the names of dimensions, None for one that is no text."""
    return tuple(name if isinstance(name, str) else None for name in as_list(declared))


def find_arrays(group: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the arrays in a group and the groups inside it."""
    for folder in subfolders(group):
        node = read_node(folder)
        if node is not None and node.kind == "array":
            yield folder
        elif depth < DEEPEST_GROUP and node is not None:
            yield from find_arrays(folder, depth + 1)


def change_attributes(group: Path, change: Callable[[Metadata], Metadata]) -> None:
    """Change the attributes of a group, Zarr v3 or v2. Raises DataError when the disk refuses."""
    path = group / "zarr.json" if (group / "zarr.json").exists() else group / ".zattrs"
    content = read_json(path)
    if path.name == "zarr.json":
        write_json(path, content | {"attributes": change(content.get("attributes", {}))})
    else:
        write_json(path, change(content))


def drop_consolidated(group: Path, container: Path) -> None:
    """Remove copies of the metadata that some writers keep in groups: they lack what is new."""
    for folder in folders_around(group, container):
        (folder / ".zmetadata").unlink(missing_ok=True)
        content = read_json(folder / "zarr.json")
        if content.pop("consolidated_metadata", None) is not None:
            write_json(folder / "zarr.json", content)
