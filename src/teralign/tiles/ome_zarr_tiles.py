"""Tiles as OME-Zarr images, each with its translation: the images in a folder, or in a container."""

from __future__ import annotations

from pathlib import Path

from teralign.errors import InputError
from teralign.tiles.model import TileSource
from teralign.tiles.scan import Scan, ScannedTile
from teralign.volumes import find_images, open_tile


def images_of(folder: Path) -> list[Path]:
    """Return the images of a container, or the containers in a folder, which may be tiles; none of others."""
    if folder.suffix == ".zarr":
        return [folder / name for name in find_images(folder)]
    return sorted(path for path in folder.glob("*.zarr") if path.is_dir())


def read_zarr_tiles(folder: Path) -> Scan:
    """Return the scan of images whose metadata give their positions.

    Raises InputError where an image cannot be opened, or all lie at one place.
    """
    tiles, spacing = [], None
    for order, path in enumerate(images_of(folder)):
        volume = open_tile(path)
        spacing = spacing or volume.grid.spacing
        uri = str(path.absolute())
        tiles.append(
            ScannedTile(path.name.removesuffix(".zarr"), volume.grid.origin, (TileSource(uri),), order=order)
        )
    if len({tile.position for tile in tiles}) < 2:
        raise InputError(
            f"the images of {folder} have no translations to tell them apart; give a table of positions (file,z,y,x)."
        )
    return Scan(f"the OME-Zarr images of {folder.name}", tiles, spacing)
