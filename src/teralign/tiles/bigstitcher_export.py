"""Tiles written as an XML project of BigStitcher: the loader by where the voxels are, and a registration for each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import Floats, reverse_axes
from teralign.tiles.model import Tile, TileSet

_N5 = re.compile(r"(.+\.n5)/setup(\d+)/timepoint0/s0")
_HDF5 = re.compile(r"(.+\.h5)/t00000/s(\d+)/0/cells")
_ZARR = re.compile(r"\.zarr(/.*)?$")
_Sub = ElementTree.SubElement


def write_bigstitcher(path: Path, tiles: TileSet, folder: Path) -> None:
    """Write tiles, with all channels, as a project.

    N5 and HDF5 files of BigDataViewer, OME-Zarr images, and files are read by BigStitcher's own loaders. Raises
    InputError for tiles that are folders of planes, or slices of a stack, which none of its loaders reads.
    """
    for source in (source for tile in tiles.tiles for source in tile.sources):
        if source.planes or source.z_range:
            raise InputError(
                f"BigStitcher cannot read {source.uri}, which is a folder of planes or a part of a stack; "
                "convert the tiles with convert-volume first."
            )
    root = ElementTree.Element("SpimData", version="0.2")
    _Sub(root, "BasePath", type="relative").text = "."
    sequence = _Sub(root, "SequenceDescription")
    numbers = _setup_numbers(tiles)
    _add_loader(sequence, tiles, numbers, folder, path.parent)
    _add_setups(sequence, tiles, numbers)
    points = _Sub(sequence, "Timepoints", type="range")
    _Sub(points, "first").text = _Sub(points, "last").text = "0"
    missing = _Sub(sequence, "MissingViews")
    registrations = _Sub(root, "ViewRegistrations")
    for tile, setups in zip(tiles.tiles, numbers, strict=True):
        for channel, setup in enumerate(setups):
            if tile.state != "present":
                _Sub(missing, "MissingView", timepoint="0", setup=str(setup))
            view = _Sub(registrations, "ViewRegistration", timepoint="0", setup=str(setup))
            _add_registration(view, tile, tiles, channel)
    ElementTree.indent(root)
    text = '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
    write_atomically(path, text.encode())


def _setup_numbers(tiles: TileSet) -> list[list[int]]:
    """Return the number of each tile's setups: those in the names of its arrays, or counted channel by channel."""
    kinds = _N5, _HDF5
    for kind in kinds:
        found = [[kind.fullmatch(source.uri) for source in tile.sources] for tile in tiles.tiles]
        if all(match for row in found for match in row) and all(found):
            return [[int(match[2]) for match in row if match] for row in found]
    count = len(tiles.tiles)
    return [[channel * count + k for channel in range(len(tiles.channels))] for k in range(count)]


def _add_loader(
    sequence: ElementTree.Element, tiles: TileSet, numbers: Sequence[Sequence[int]], folder: Path, out: Path
) -> None:
    """Add the loader that reads all sources. Raises InputError where no single one does."""
    views = [
        (setup, source)
        for tile, setups in zip(tiles.tiles, numbers, strict=True)
        for setup, source in zip(setups, tile.sources, strict=False)
    ]
    uris = [source.uri for _, source in views]
    for form, name, kind in (("bdv.n5", "n5", _N5), ("bdv.hdf5", "hdf5", _HDF5)):
        containers = {match[1] if (match := kind.fullmatch(uri)) else "" for uri in uris}
        if len(containers) == 1 and "" not in containers:
            loader = _Sub(sequence, "ImageLoader", format=form, version="1.0")
            _Sub(loader, name, type="relative").text = _relative(containers.pop(), folder, out)
            return
    images = [bool(_ZARR.search(uri)) for uri in uris]
    if all(images):
        loader = _Sub(sequence, "ImageLoader", format="bdv.multimg.zarr", version="3.0")
        _Sub(loader, "zarr", type="relative").text = "."
        groups = _Sub(loader, "zgroups")
        for setup, source in views:
            place = _relative(source.uri, folder, out)
            _Sub(groups, "zgroup", setup=str(setup), tp="0", path=place, indicies=f"{source.channel} 0")
        return
    if any(images) or any(kind.fullmatch(uri) for uri in uris for kind in (_N5, _HDF5)):
        raise InputError("BigStitcher reads tiles of one kind of container; convert the others with convert-volume.")
    loader = _Sub(sequence, "ImageLoader", format="spimreconstruction.filemap2")
    files = _Sub(loader, "files")
    for setup, source in views:
        view = {"view_setup": str(setup), "timepoint": "0", "series": "0", "channel": str(source.channel)}
        mapping = _Sub(files, "FileMapping", view)
        _Sub(mapping, "file", type="relative").text = _relative(source.uri, folder, out)


def _relative(uri: str, folder: Path, out: Path) -> str:
    return Path(os.path.relpath((folder / uri).absolute(), out.absolute())).as_posix()


def _add_setups(sequence: ElementTree.Element, tiles: TileSet, numbers: Sequence[Sequence[int]]) -> None:
    setups = _Sub(sequence, "ViewSetups")
    for k, (tile, own) in enumerate(zip(tiles.tiles, numbers, strict=True)):
        for channel, number in enumerate(own):
            setup = _Sub(setups, "ViewSetup")
            _Sub(setup, "id").text = str(number)
            _Sub(setup, "name").text = tile.name
            _Sub(setup, "size").text = " ".join(map(str, reverse_axes(tile.shape)))
            voxel = _Sub(setup, "voxelSize")
            _Sub(voxel, "unit").text = "µm"
            _Sub(voxel, "size").text = " ".join(map(repr, reverse_axes(tiles.spacing)))
            attributes = _Sub(setup, "attributes")
            for name, value in (("illumination", 0), ("channel", channel), ("tile", k), ("angle", 0)):
                _Sub(attributes, name).text = str(value)
    names = {
        "illumination": ["0"],
        "channel": [channel.name for channel in tiles.channels],
        "tile": [tile.name for tile in tiles.tiles],
        "angle": ["0"],
    }
    for kind, titles in names.items():
        group = _Sub(setups, "Attributes", name=kind)
        for number, title in enumerate(titles):
            item = _Sub(group, kind.capitalize())
            _Sub(item, "id").text = str(number)
            _Sub(item, "name").text = title


def _add_registration(view: ElementTree.Element, tile: Tile, tiles: TileSet, channel: int) -> None:
    """Add the affines of a setup: the tile's position and matrix, after the size of its voxels."""
    shift = tiles.channels[channel].shift
    linear: Floats = np.eye(3) if tile.matrix is None else np.array(tile.matrix)[::-1, ::-1]
    place = [p + s for p, s in zip(reverse_axes(tile.position), reverse_axes(shift), strict=True)]
    for name, matrix in (
        ("position of the tile", np.column_stack([linear, place])),
        ("calibration", np.column_stack([np.diag(reverse_axes(tiles.spacing)), np.zeros(3)])),
    ):
        transform = _Sub(view, "ViewTransform", type="affine")
        _Sub(transform, "Name").text = name
        _Sub(transform, "affine").text = " ".join(repr(float(value)) for value in matrix.ravel())
