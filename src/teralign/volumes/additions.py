"""Images that are added to an existing container of OME-Zarr or N5: they appear whole, and are named last.

An image is built elsewhere and renamed into its place. Processes that add to one container at the same time change
its metadata one after the other, under a lock. A label image, `IMAGE/labels/NAME`, is entered in the list of
`labels`, an image beside those of a bioformats2raw collection without OME-XML in its list `series`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from teralign import ome
from teralign.errors import DataError, InputError
from teralign.lock import Lock
from teralign.uploads import MARK
from teralign.volumes.collections import has_open_series, label_names
from teralign.volumes.description import PyramidLayout
from teralign.volumes.files import folders_around, read_json
from teralign.volumes.n5_attributes import ATTRIBUTES
from teralign.volumes.ome_zarr import OmeImage
from teralign.volumes.outputs import locate_output
from teralign.volumes.zarr_nodes import Node, change_attributes, drop_consolidated, read_node

_LOCK = ".teralign.lock"
_LABELS = "labels"
_VERSIONS = {2: "0.4", 3: "0.5"}  # of OME-Zarr, by that of Zarr: a hierarchy has one


@dataclass(frozen=True)
class Addition:
    """An image to add: its container, the group in it, and the version of OME-Zarr, None in an N5 container.

    With `overwrite` an image of this name is replaced.
    """

    container: Path
    group: str
    ome_zarr: str | None
    overwrite: bool

    @classmethod
    def of(cls, uri: str | Path, *, ome_zarr: str | None, overwrite: bool) -> Addition:
        """Check that an image can be added at a URI, of the version `ome_zarr` if it is given; nothing is written.

        Raises InputError where it cannot.
        """
        container, group, form = locate_container(uri)
        if not group:
            raise InputError(f"--into {uri} names no image; name the one to add, such as --into {uri}/NAME.")
        if ".." in PurePosixPath(group).parts:
            raise InputError(f"--into {uri} leads out of a group by ..; give the path without it.")
        version = None if form == "n5" else _version(container)
        if ome_zarr is not None and ome_zarr != version:
            raise InputError(f"{container} holds {version or 'N5'}, and one container has one; leave out --ome-zarr.")
        addition = cls(container, group, version, overwrite)
        addition.check()
        return addition

    @property
    def place(self) -> Path:
        """The folder that the image gets."""
        return self.container / self.group

    @property
    def is_label(self) -> bool:
        """True in a group `labels` of an OME-Zarr, which holds label images and no others."""
        return self.ome_zarr is not None and PurePosixPath(self.group).parent.name == _LABELS

    @property
    def replaces(self) -> bool:
        """True if an image in the place is replaced: on request, or when the call that moved it there was cut off."""
        return self.overwrite or (self.place / MARK).exists()

    def check(self) -> None:
        """Raise InputError where something else is in the place, or the container may not be written."""
        for folder in folders_around(self.place, self.container)[1:]:
            if _is_array(folder):
                raise InputError(f"{self.place} lies in {folder}, which is an array; name a group beside it.")
        for folder in folders_around(self.place, self.container):
            if folder.name == _LABELS and folder != self.place.parent and _image(folder.parent) is not None:
                raise InputError(f"{folder} holds the label images of {folder.parent}; name one {folder}/NAME.")
        if self.is_label and _image(self.place.parent.parent) is None:
            raise InputError(f"{self.place.parent.parent} is no image that could have labels; add them to an image.")
        if self.place.exists() and not self.replaces:
            raise InputError(f"{self.place} exists already; choose another name, or add --overwrite.")
        if self.place.exists():
            _check_replaceable(self.place)
        around = next(folder for folder in folders_around(self.place.parent, self.container) if folder.exists())
        check_writable(self.container, around)

    def check_layout(self, layout: PyramidLayout) -> None:
        """Raise InputError for an image of light among label images."""
        if self.is_label and not layout.label:
            raise InputError(
                f"{self.place} is the place of a label image; add --interpolation nearest (of convert-volume: "
                "--label), or name a group outside labels."
            )
        if self.is_label and layout.dtype.kind not in "iu":
            raise InputError(f"{self.place} is the place of integer labels, not of {layout.dtype} values.")

    def publish(self, built: Path, move: Callable[[Path, Path], None]) -> None:
        """Bring the image `built` to its place by `move`, and enter it in the metadata of the container.

        Raises InputError when another process has put something in the place, DataError when the disk refuses.
        """
        if self.is_label:
            change_attributes(built, lambda attributes: ome.with_label_source(attributes, "../../"))
        with locked(self.container):
            self.check()
            self._make_groups()
            (built / MARK).touch()
            move(built, self.place)
            if self.ome_zarr is not None:
                self._enter(self.ome_zarr)
            (self.place / MARK).unlink()

    def _enter(self, version: str) -> None:
        """Name the image in the list of labels or images, and remove copies of the metadata that lack it."""
        group, name = self.place.parent, self.place.name
        if self.is_label:
            change_attributes(group, lambda attributes: ome.with_label(attributes, name, version))
        elif has_open_series(group):
            change_attributes(group / "OME", lambda attributes: ome.with_series(attributes, name))
        drop_consolidated(self.place.parent, self.container)

    def _make_groups(self) -> None:
        """Make the groups around the image that are not there: Zarr, unlike N5, needs metadata in each."""
        for folder in reversed(folders_around(self.place.parent, self.container)):
            if self.ome_zarr is None or read_node(folder) is not None:
                continue
            attributes = ome.label_list(self.ome_zarr) if self.is_label and folder == self.place.parent else {}
            try:
                ome.write_group(folder, attributes, self.ome_zarr)
            except OSError as error:
                raise DataError(f"{folder} cannot be written: {error.strerror or error}.") from error


def locate_container(uri: str | Path) -> tuple[Path, str, str]:
    """Return an existing container to add to, the group in it, and its format. Raises InputError for any other."""
    container, group, form = locate_output(uri)
    if not isinstance(container, Path):
        raise InputError(f"{container} is not on a disk, where alone images are added; write it anew with --output.")
    if form not in ("zarr", "n5"):
        raise InputError(f"{container} is one image; images are added to .zarr and .n5 containers.")
    if not container.is_dir():
        raise InputError(f"there is no {container} to add to; check the path, or make it with --output.")
    return container, group, form


def check_writable(*folders: Path) -> None:
    """Raise InputError for a folder, of a container to add to, in which this process may make no files."""
    for folder in folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder} may not be written; ask for the permission, or give --output.")


def locked(container: Path) -> Lock:
    """Take the lock of a container, in which its metadata may be changed; waits for other processes."""
    return Lock.wait(container / _LOCK)


def _version(container: Path) -> str:
    """Return the version of OME-Zarr of images in a container. Raises InputError for one that cannot be written."""
    node = read_node(container)
    if node is None or node.kind != "group":
        raise InputError(f"{container} is no Zarr group, to which images can be added; give --output.")
    stated = str(node.attributes.get("ome", {}).get("version", ""))
    if stated.startswith("0.6"):
        raise InputError(f"{container} is OME-Zarr {stated}; images are added to 0.4 and 0.5. Give --output.")
    return _VERSIONS[node.version]


def _is_array(folder: Path) -> bool:
    node: Node | None = read_node(folder)
    return (node is not None and node.kind == "array") or "dimensions" in read_json(folder / ATTRIBUTES)


def _image(group: Path) -> OmeImage | None:
    node = read_node(group)
    return None if node is None or node.kind == "array" else OmeImage.declared(group, node.attributes)


def _check_replaceable(place: Path) -> None:
    """Raise InputError unless a folder is an image that can be replaced without the loss of others."""
    node, image = read_node(place), _image(place)
    n5 = any(_is_array(place / finest) for finest in ("s0", "c0/s0")) if node is None else False
    if image is None and not n5:
        raise InputError(f"{place} is not an image with scales, so it is not replaced; choose another name.")
    labels = label_names(place) if image is not None else ()
    if labels:
        raise InputError(f"{place} holds {', '.join(labels)}, which would be lost; choose another name.")
