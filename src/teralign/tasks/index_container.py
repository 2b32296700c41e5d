"""`teralign index-container`: the metadata of a container that holds several images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.volumes import find_images, write_index


@dataclass(frozen=True)
class ContainerIndex:
    """A container and the names of its images, which its root lists."""

    container: str
    images: tuple[str, ...]


def index_container(container: str | Path, *, ome_zarr: str | None = None) -> ContainerIndex:
    """Write the metadata of a container's root, from which readers know the images in its groups.

    `ome_zarr` is the version of an OME-Zarr container (None: 0.5). Raises InputError for a folder without images.
    """
    path = Path(container)
    if not path.is_dir():
        raise InputError(f"there is no folder {path}.")
    names = find_images(path)
    if not names:
        raise InputError(f"{path} holds no image in a group of its own.")
    write_index(path, names, ome_zarr=ome_zarr)
    return ContainerIndex(str(container), tuple(names))
