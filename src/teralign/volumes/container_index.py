"""Containers of several images: the metadata of a root whose images lie in groups of their own.

An OME-Zarr root has the layout of bioformats2raw: readers find the list of images, `series`, in its group OME. N5 has
no such list; its readers look through the folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from teralign.errors import InputError
from teralign.ome import write_group
from teralign.volumes.n5 import write_root
from teralign.volumes.uri import locate_by_name
from teralign.volumes.volume import open_level

_LAYOUT = {"bioformats2raw.layout": 3}  # the number of the layout that OME-Zarr describes
_NEWEST = "0.5"


def find_images(container: Path) -> list[str]:
    """Return the names of the groups of a container that hold an image each, sorted."""
    names = sorted(path.name for path in container.iterdir() if path.is_dir() and path.name != "OME")
    return [name for name in names if _is_image(container / name)]


def write_index(container: Path, names: Sequence[str], *, ome_zarr: str | None = None) -> None:
    """Write the metadata of the root of a container that has images of these names in it.

    `ome_zarr` is the version of an OME-Zarr root (None: 0.5). Raises InputError for a container of another format.
    """
    located = locate_by_name(container)
    form = located[2] if located else ""
    if form == "n5":
        write_root(container)
    elif form == "zarr":
        version = ome_zarr or _NEWEST
        (container / "OME").mkdir(exist_ok=True)
        for folder, content in ((container / "OME", {"series": list(names)}), (container, _LAYOUT)):
            write_group(folder, content if version == "0.4" else {"ome": {"version": version, **content}}, version)
    else:
        raise InputError(f"{container} must end in .zarr or .n5; other formats hold one image each.")


def _is_image(path: Path) -> bool:
    try:
        open_level(path, spacing=(1.0, 1.0, 1.0))
    except InputError:
        return False
    return True
