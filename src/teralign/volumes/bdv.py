"""The metadata of BigDataViewer's HDF5 files: t00000/s00/1/cells is timepoint 0, setup 0, level 1.

The voxel size is in the XML file beside the HDF5 file, the factors of the levels are in the setup's `resolutions`.
Voxels stored as int16 are uint16. https://imagej.net/plugins/bdv/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, as_float_triple
from teralign.volumes.files import opening, read_metadata
from teralign.volumes.h5_nodes import H5Node, find_node
from teralign.volumes.units import micrometres

_CELLS = re.compile(r"(t\d+/(s(\d+)))/(\d+)/cells")


@dataclass(frozen=True)
class BdvLevel:
    """A level: the grid of its voxels, as in a `Description`, their type, and the levels beside it."""

    spacing: FloatTriple | None
    origin: FloatTriple
    dtype: np.dtype[np.generic]
    others: tuple[str, ...]
    xml: Path


def find(container: Path, file: H5Node, name: str) -> BdvLevel | None:
    """Return the level whose dataset has this path; None if it is not BigDataViewer's.

    Raises InputError when the XML file cannot be understood.
    """
    match = _CELLS.fullmatch(name)
    resolutions = find_node(file, f"{match[2]}/resolutions") if match is not None else None
    if match is None or resolutions is None:
        return None
    group, level = match[1], int(match[4])
    factors = np.array(resolutions, dtype=float)[level, ::-1]
    xml = container.with_suffix(".xml")
    size = _voxel_size(xml, int(match[3]))
    shift = (factors - 1) / 2
    stored = find_node(file, name).dtype.newbyteorder("=")
    return BdvLevel(
        spacing=None if size is None else as_float_triple(size * factors),
        origin=as_float_triple(
            shift / factors if size is None else np.where(size > 0, size * shift, shift / factors)
        ),
        dtype=np.dtype(np.uint16) if stored == np.int16 else stored,
        others=tuple(f"{group}/{other}/cells" for other in find_node(file, group) if other != match[4]),
        xml=xml,
    )


def _voxel_size(xml: Path, setup: int) -> Floats | None:
    """Return the finest voxel size (z, y, x) of a setup in µm; None without the file, or without a unit of length."""
    if not xml.exists():
        return None
    try:
        with opening(xml):
            root = ElementTree.fromstring(read_metadata(xml))
        setups = root.findall("SequenceDescription/ViewSetups/ViewSetup")
        found = next((s.find("voxelSize") for s in setups if int(s.findtext("id", "-1")) == setup), None)
        if found is None:
            return None
        unit = micrometres(found.findtext("unit", ""))
        x, y, z = (float(size) for size in found.findtext("size", "").split())
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{xml} does not give the voxel size as BigDataViewer writes it: {error}.") from error
    return None if unit is None else np.array([z, y, x]) * unit
