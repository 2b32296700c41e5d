"""XML projects of BigStitcher and BigDataViewer: setups of tiles and channels, loaders, and registrations.

A setup is a channel of a tile. Its registration is a list of affines from its voxels to the world, the last applied
first. The unit of the world is µm where the calibration, the last affine, scales voxels to µm, and else what the
calibration takes for 1. Tiles are grouped by tile, angle and illumination.
https://imagej.net/plugins/bdv/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from teralign.errors import InputError, understanding
from teralign.grids import Floats, FloatTriple, as_float_triple
from teralign.tiles.model import LinearPart, TileSource
from teralign.tiles.scan import Scan, ScannedTile
from teralign.volumes.units import micrometres

_AS_IS = 1e-9  # of a linear part: the rounding of a product of affines
_ONE_UNIT = 0.01  # relative: the calibrations of BigDataViewer that mean µm


@dataclass(frozen=True)
class _Setup:
    """A view setup: its number, voxel size (x, y, z) in µm, and the tile and channel that it belongs to."""

    number: int
    voxel: Floats
    tile: tuple[str, str, str]
    channel: str
    name: str


def is_bigstitcher(root: ElementTree.Element) -> bool:
    """Return whether an XML file is a project of BigDataViewer."""
    return root.tag == "SpimData"


def read_bigstitcher(path: Path) -> Scan:
    """Return the scan of a project at its first timepoint. Raises InputError for one that cannot be understood."""
    with understanding(path, "XML"):
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error
        sequence = _element(root, "SequenceDescription")
        setups = [_setup(element) for element in sequence.iterfind("ViewSetups/ViewSetup")]
        time = _first_timepoint(sequence)
        names = _names(sequence)
        missing = {
            int(view.get("setup", "-1"))
            for view in sequence.iterfind("MissingViews/MissingView")
            if int(view.get("timepoint", "0")) == time
        }
        sources = _loader(path, root, sequence, time)
        affines = _registrations(root, time)
        tiles = _tiles(path, setups, sources, affines, missing, names)
    channels = sorted({setup.channel for setup in setups}, key=_number)
    titles = [names.get(("channel", channel), channel) for channel in channels]
    voxel = setups[0].voxel
    return Scan(f"BigStitcher's {path.name}", tiles, as_float_triple(voxel[::-1]), titles)


def _element(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    found = parent.find(name)
    if found is None:
        raise ValueError(f"no {name}")
    return found


def _number(text: str) -> tuple[int, str]:
    return (int(text), text) if text.isdecimal() else (1 << 30, text)


def _setup(element: ElementTree.Element) -> _Setup:
    unit = micrometres(element.findtext("voxelSize/unit", "um").strip()) or 1.0
    voxel = np.array([float(word) for word in element.findtext("voxelSize/size", "1 1 1").split()]) * unit
    attributes = {child.tag: (child.text or "").strip() for child in element.find("attributes") or ()}
    number = int(element.findtext("id", "-1"))
    # a project without tiles has one for each setup
    tile = attributes.get("tile", str(number))
    group = (tile, attributes.get("angle", "0"), attributes.get("illumination", "0"))
    return _Setup(number, voxel, group, attributes.get("channel", "0"), element.findtext("name", "").strip())


def _names(sequence: ElementTree.Element) -> dict[tuple[str, str], str]:
    """Return the names of tiles and channels by their kind and number."""
    return {
        (group.get("name", ""), item.findtext("id", "")): item.findtext("name", "").strip()
        for group in sequence.iterfind("ViewSetups/Attributes")
        for item in group
        if item.findtext("name", "").strip()
    }


def _first_timepoint(sequence: ElementTree.Element) -> int:
    """Return the first timepoint, given as a range, a list or a pattern of numbers."""
    points = _element(sequence, "Timepoints")
    text = points.findtext("first") or points.findtext("integerpattern") or points.findtext("id") or "0"
    digits = text.replace("-", ",").split(",")[0].strip()
    return int(digits or 0)


def _registrations(root: ElementTree.Element, time: int) -> dict[int, list[Floats]]:
    """Return the affines (4, 4) of each setup, x, y, z, as listed: the last is applied first."""
    return {
        int(view.get("setup", "-1")): [
            np.vstack([np.array(text.split(), dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])
            for text in (transform.findtext("affine", "") for transform in view.iterfind("ViewTransform"))
        ]
        for view in _element(root, "ViewRegistrations").iterfind("ViewRegistration")
        if int(view.get("timepoint", "0")) == time
    }


def _unit(setups: list[_Setup], affines: Mapping[int, list[Floats]]) -> float:
    """Return the µm of a unit of the world, by the calibrations: how far a step of a voxel goes in it."""
    ratios = []
    for setup in setups:
        listed = affines.get(setup.number)
        if listed:
            last = listed[-1][:3, :3]
            whole = np.linalg.multi_dot([np.eye(4), *listed])[:3, :3]
            diagonal = np.count_nonzero(last - np.diag(np.diagonal(last))) == 0
            steps = np.linalg.norm(last if diagonal and len(listed) > 1 else whole, axis=0)
            ratios += (setup.voxel / steps).tolist()
    unit = float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0
    return 1.0 if abs(unit - 1) < _ONE_UNIT else unit


def _tiles(
    path: Path,
    setups: list[_Setup],
    sources: Mapping[int, TileSource],
    affines: Mapping[int, list[Floats]],
    missing: set[int],
    names: Mapping[tuple[str, str], str],
) -> list[ScannedTile]:
    """Return the tiles, each with its setups in the order of the channels."""
    groups: dict[tuple[str, str, str], list[_Setup]] = {}
    for setup in setups:
        groups.setdefault(setup.tile, []).append(setup)
    unit = _unit(setups, affines)
    several = len({group[1:] for group in groups}) > 1
    counts = max(len(group) for group in groups.values())
    tiles = []
    for number, (group, members) in enumerate(groups.items()):
        ordered = sorted(members, key=lambda setup: _number(setup.channel))
        absent = all(setup.number in missing for setup in members)
        if not absent and len(ordered) < counts:
            raise InputError(f"{path} has a tile {group[0]} of fewer channels than others; complete or remove it.")
        position, matrix = _place(ordered[0], affines, unit)
        name = names.get(("tile", group[0])) or ordered[0].name or f"tile_{group[0]}"
        name = f"{name}_angle{group[1]}_light{group[2]}" if several else name
        own = () if absent else tuple(sources[setup.number] for setup in ordered)
        tiles.append(ScannedTile(name, position, own, order=number, matrix=matrix))
    titles = [tile.name for tile in tiles]
    if len(set(titles)) == len(titles):
        return tiles
    return [ScannedTile(f"tile_{n}", t.position, t.sources, t.index, t.order, t.matrix) for n, t in enumerate(tiles)]


def _place(setup: _Setup, affines: Mapping[int, list[Floats]], unit: float) -> tuple[FloatTriple, LinearPart | None]:
    """Return the position of a setup's first voxel, and the linear part of its registration in µm, if it has one."""
    listed = affines.get(setup.number)
    if not listed:
        raise InputError(f"the setup {setup.number} has no registration; save the project with BigStitcher again.")
    whole = listed[0]
    with np.errstate(over="ignore", invalid="ignore"):
        for affine in listed[1:]:
            whole = whole @ affine
    if not np.isfinite(whole).all():
        raise InputError(f"the registration of the setup {setup.number} holds numbers that are too large; repair it.")
    linear = (whole[:3, :3] * unit / setup.voxel)[::-1, ::-1]
    position = as_float_triple((whole[:3, 3] * unit)[::-1])
    if np.allclose(linear, np.eye(3), atol=_AS_IS):
        return position, None
    z, y, x = (as_float_triple(row) for row in linear)
    return position, (z, y, x)


def _loader(path: Path, root: ElementTree.Element, sequence: ElementTree.Element, time: int) -> dict[int, TileSource]:
    """Return the source of each setup, by the loader. Raises InputError for a loader that is not known."""
    loader = _element(sequence, "ImageLoader")
    base = root.find("BasePath")
    folder = (path.parent / ((base.text or ".") if base is not None else ".")).absolute()
    form = loader.get("format", "")
    numbers = [int(e.findtext("id", "-1")) for e in sequence.iterfind("ViewSetups/ViewSetup")]
    if form == "bdv.hdf5":
        file = folder / loader.findtext("hdf5", "").strip()
        return {n: TileSource(f"{file}/t{time:05d}/s{n:02d}/0/cells") for n in numbers}
    if form.startswith("bdv.n5"):
        file = folder / loader.findtext("n5", "").strip()
        return {n: TileSource(f"{file}/setup{n}/timepoint{time}/s0") for n in numbers}
    if form.startswith("bdv.multimg.zarr"):
        return _zarr_groups(loader, folder / loader.findtext("zarr", "").strip(), time)
    if form.startswith("spimreconstruction.filemap"):
        return {
            int(mapping.get("view_setup", "-1")): TileSource(
                str(folder / mapping.findtext("file", "").strip()), int(mapping.get("channel", "0"))
            )
            for mapping in loader.iterfind("files/FileMapping")
            if int(mapping.get("timepoint", "0")) == time
        }
    raise InputError(
        f"{path} has its images by the loader {form!r}; resave it with BigStitcher as N5, HDF5 or OME-Zarr."
    )


def _zarr_groups(loader: ElementTree.Element, folder: Path, time: int) -> dict[int, TileSource]:
    """Return the sources of groups in a folder; `indicies` are the channel and the timepoint in each."""
    found = {}
    for group in loader.iterfind("zgroups/zgroup"):
        if int(group.get("tp", group.get("timepoint", "0"))) == time:
            name = group.get("path") or group.findtext("path") or ""
            channel = int((group.get("indicies") or "0").split()[0])
            found[int(group.get("setup", "-1"))] = TileSource(str(folder / name.strip()), channel)
    return found
