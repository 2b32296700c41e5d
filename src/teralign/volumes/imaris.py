"""The metadata of Imaris 5.5 files, which are HDF5: a level is a group that holds all timepoints and channels.

Datasets are padded to whole chunks; the true sizes are beside them. The extent of the image, in µm, goes from the
outer face of the first voxel to that of the last; here a position is that of a voxel's centre, counted so that the
finest level begins where its extent does, as in the other formats. Each level halves axes of the one before.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from teralign.grids import FloatTriple, Triple, as_float_triple, as_triple
from teralign.volumes.h5_nodes import H5Node, find_node

_LEVEL = "DataSet/ResolutionLevel {}"
_IMAGE = "DataSetInfo/Image"


@dataclass(frozen=True)
class ImarisLevel:
    """A level of an Imaris file: its group, its channels and timepoints, and the groups of the other levels."""

    group: str
    timepoints: int
    channels: int
    others: tuple[str, ...]


def find(file: H5Node, dataset: str) -> ImarisLevel | None:
    """Return the level with this path, the finest if none is named; None for another path or kind of file."""
    group = dataset or _LEVEL.format(0)
    match = re.fullmatch(_LEVEL.format(r"\d+"), group)
    if match is None or find_node(file, _IMAGE) is None or find_node(file, group) is None:
        return None
    levels = _numbered(find_node(file, "DataSet"), "ResolutionLevel")
    return ImarisLevel(
        group=group,
        timepoints=_numbered(find_node(file, group), "TimePoint"),
        channels=_numbered(find_node(file, f"{group}/TimePoint 0") or (), "Channel"),
        others=tuple(_LEVEL.format(n) for n in range(levels) if _LEVEL.format(n) != group),
    )


def geometry(file: H5Node, group: str) -> tuple[Triple, FloatTriple, FloatTriple]:
    """Return shape, spacing, origin (z, y, x) of a level, µm. Raises KeyError or ValueError if they are missing."""
    extent = find_node(file, _IMAGE).attrs
    low, high = (np.array([_number(extent[f"Ext{end}{i}"]) for i in (2, 1, 0)]) for end in ("Min", "Max"))
    fine, shape = _shape(file, _LEVEL.format(0)), _shape(file, group)
    factors = [2 ** round(math.log2(n / m)) for n, m in zip(fine, shape, strict=True)]
    finest = (high - low) / fine
    return shape, as_float_triple(finest * factors), as_float_triple(low + finest * (np.array(factors) - 1) / 2)


def channel_names(file: H5Node, channels: int) -> tuple[str, ...]:
    """Return the names of the channels; empty if any has none."""
    groups = [find_node(file, f"DataSetInfo/Channel {c}") for c in range(channels)]
    names = [_text(group.attrs.get("Name", "")) if group is not None else "" for group in groups]
    return tuple(names) if all(names) else ()


def _shape(file: H5Node, group: str) -> Triple:
    channel = find_node(file, f"{group}/TimePoint 0/Channel 0")
    if channel is None:
        raise KeyError(f"{group} has no channel 0 at timepoint 0")
    return as_triple(int(_number(channel.attrs[f"ImageSize{axis}"])) for axis in "ZYX")


def _numbered(group: H5Node, name: str) -> int:
    return sum(re.fullmatch(rf"{name} \d+", key) is not None for key in group)


def _number(value: H5Node) -> float:
    return float(_text(value))


def _text(value: H5Node) -> str:
    """Return the text of an attribute: Imaris stores text as an array of single characters."""
    return b"".join(np.ravel(value).astype("S").tolist()).decode("latin-1").strip()
