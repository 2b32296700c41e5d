"""Groups of a Zarr that hold images but are no image: bioformats2raw's, plates, wells and lists of labels.

See "bf2raw", "plate", "well" and "labels" in https://ngff.openmicroscopy.org/0.5/. No folder is listed: the metadata
name what a group holds, so that addresses and archives are read as disks are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from teralign import ome
from teralign.addresses import Place
from teralign.errors import InputError, understanding
from teralign.volumes.files import folders_around, opening, read_metadata
from teralign.volumes.json_values import Metadata
from teralign.volumes.zarr_nodes import Node, read_node

_LAYOUT = "bioformats2raw.layout"
_NAMES_SHOWN = 12  # wells of a row of the usual plate
_XML = "METADATA.ome.xml"
_IMAGE_ELEMENT = re.compile(rb"<(?:\w+:)?Image[\s>]")


@dataclass(frozen=True)
class Collection:
    """The images, wells or labels that a group holds, by their paths in it; `kind` and `member` name them."""

    group: Place
    kind: str
    member: str
    paths: tuple[str, ...]

    @classmethod
    def of(cls, node: Node) -> Collection | None:
        """Return what the metadata of a group declare, None if it is no collection."""
        declared: Metadata = node.attributes.get("ome", node.attributes)
        with understanding(node.path):
            if "plate" in declared:
                return cls(node.path, "a plate", "well", _members(declared["plate"].get("wells") or ()))
            if "well" in declared:
                return cls(node.path, "a well", "image", _members(declared["well"].get("images") or ()))
            if _LAYOUT in declared:
                return cls(node.path, "a collection", "image", _series(node.path))
            if isinstance(declared.get("labels"), list):
                return cls(node.path, "a list of labels", "label image", _paths(declared["labels"]))
        return None

    def ask(self, inside: str, paths: Sequence[str]) -> InputError:
        """Return the error for a place in the group that could be any of `paths`, or none if these are empty."""
        named = paths or self.paths
        count = f"{len(named)} {self.member}{'s' if len(named) != 1 else ''}"
        more = f" and {len(named) - _NAMES_SHOWN} more" if len(named) > _NAMES_SHOWN else ""
        held = (
            f"{self.kind} of {count}: {', '.join(named[:_NAMES_SHOWN])}{more}"
            if named
            else f"{self.kind} without any"
        )
        lacks = f"has no {inside}: it " if inside and not paths else ""
        example = f"; name one, such as {self.group / named[0]}" if named else ""
        return InputError(f"{self.group} {lacks}is {held}{example}.")


def enter_collections(container: Place, dataset: str) -> str:
    """Return the dataset in which a place in a container is found: in a collection of only one image, in this image.

    Other places are returned as they are. Raises InputError, which names the images, where more could be meant.
    """
    path = container / dataset
    for folder in folders_around(path, container):
        node = read_node(folder)
        found = Collection.of(node) if node is not None and node.kind == "group" else None
        if found is None:
            continue
        inside = "" if folder == path else path.relative_to(folder).as_posix()
        if any(inside == member or inside.startswith(f"{member}/") for member in found.paths):
            return dataset
        below = [member for member in found.paths if not inside or member.startswith(f"{inside}/")]
        if len(below) == 1:
            return enter_collections(container, _within(folder / below[0], container))
        if below or len(found.paths) != 1:
            raise found.ask(inside, below)
        return enter_collections(container, _within(folder / found.paths[0] / inside, container))
    return dataset


def label_names(group: Place) -> tuple[str, ...]:
    """Return the paths of the label images of the image in `group`, from the list in its group `labels`."""
    node = read_node(group / "labels")
    found = None if node is None else Collection.of(node)
    return (
        tuple(f"labels/{name}" for name in found.paths) if found is not None and found.member == "label image" else ()
    )


def has_open_series(group: Path) -> bool:
    """Return whether a group is bioformats2raw's with a list of images that agrees with no OME-XML."""
    node = read_node(group)
    declared = {} if node is None else node.attributes.get("ome", node.attributes)
    return (
        isinstance(declared, dict)
        and _LAYOUT in declared
        and _listed(group) is not None
        and not (group / "OME" / _XML).exists()
    )


def _members(declared: Sequence[Metadata]) -> tuple[str, ...]:
    """Return the paths of the members of a group, without those that have none."""
    return _paths([member["path"] for member in declared if member.get("path")])


def _paths(declared: Sequence[object]) -> tuple[str, ...]:
    """Return the paths of groups below their own. Raises TypeError or ValueError for others."""
    paths = tuple(map(ome.path_inside, declared))
    if not all(PurePosixPath(path).parts for path in paths):
        raise ValueError("a path is empty")
    return paths


def _within(place: Place, container: Place) -> str:
    return PurePosixPath(place.relative_to(container)).as_posix()


def _listed(group: Place) -> tuple[str, ...] | None:
    """Return the list `series` of a group of bioformats2raw, None if there is none."""
    node = read_node(group / "OME")
    listed = None if node is None else node.attributes.get("ome", node.attributes).get("series")
    return _paths(listed) if isinstance(listed, list) else None


def _series(group: Place) -> tuple[str, ...]:
    """Return the paths of the images of bioformats2raw: those of its list, else one for each image of its OME-XML.

    Without both, the groups 0, 1, … up to the first that is missing.
    """
    listed = _listed(group)
    if listed is not None:
        return listed
    xml = group / "OME" / _XML
    with opening(xml):
        try:
            count = len(_IMAGE_ELEMENT.findall(read_metadata(xml)))
        except (FileNotFoundError, NotADirectoryError):
            count = 0
    if count:
        return tuple(map(str, range(count)))
    found: list[str] = []
    while read_node(group / str(len(found))) is not None:
        found.append(str(len(found)))
    return tuple(found)
