"""Small volumes of all kinds that a run may name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from teralign.grids import Grid
from teralign.volumes import create_volume

_SHAPE = (8, 8, 8)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A folder with volumes of all kinds whose voxels are 1 µm at scale s2 and 2 µm at s3, and tables."""
    for name in ("fix.n5", "mov.n5"):
        for group in ("", "c1"):
            write_volume(tmp_path / name / group)
            _rename_scales(tmp_path / name / group)
    write_volume(tmp_path / "image.zarr")
    _rename_scales(tmp_path / "image.zarr")
    metadata = tmp_path / "image.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"s0"', '"s2"').replace('"s1"', '"s3"'))
    for name in ("atlas", "atlas.precomputed"):
        write_volume(tmp_path / "made.precomputed")
        (tmp_path / "made.precomputed").rename(tmp_path / name)
        _name_scales(tmp_path / name)
    voxels = np.zeros(_SHAPE, np.uint16)
    for name, metadata_of in (("image.ome.tif", {"unit": "um", "spacing": 1}), ("unsaid.tif", {})):
        axes = {"axes": "ZYX", **metadata_of}
        tifffile.imwrite(tmp_path / name, voxels, imagej=True, resolution=(1, 1), metadata=axes)
    (tmp_path / "round1").mkdir()
    for z in range(3):
        tifffile.imwrite(tmp_path / "round1" / f"z{z}.tif", voxels[z])
    np.savetxt(tmp_path / "a.mat", np.eye(4))
    (tmp_path / "names.csv").write_text("name,first,last\na,b,c\n")
    (tmp_path / "spots.csv").write_text('x,y,z\n1,"-2.5",3e1,a spot\n')
    return tmp_path


def write_volume(path: Path, *, channels: int = 1) -> None:
    """Write a volume with the scales s0 and s1."""
    writer = create_volume(path, grid=Grid(_SHAPE, (1.0,) * 3), dtype="uint16", levels=2, channels=channels)
    files = []
    for channel in range(channels):
        files += writer.write(writer.levels[0].region, np.ones(_SHAPE, np.uint16), channel=channel)
    writer.finish(files)


def _rename_scales(group: Path) -> None:
    for old, new in (("s0", "s2"), ("s1", "s3")):
        (group / old).rename(group / new)


def _name_scales(container: Path) -> None:
    """Call the scales of a precomputed volume s2 and s3."""
    info = json.loads((container / "info").read_text())
    for scale, name in zip(info["scales"], ("s2", "s3"), strict=True):
        if (container / scale["key"]).is_dir():
            (container / scale["key"]).rename(container / name)
        scale["key"] = name
    (container / "info").write_text(json.dumps(info))
