"""Volumes to run the workflow on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A folder with the outlines of N5 and Zarr volumes, for checks that read no voxels."""
    for name in ("fix.n5", "mov.n5"):
        for scale in ("s2", "s3"):
            _write_json(tmp_path / name / scale / "attributes.json", {"dimensions": [4, 4, 4]})
            _write_json(tmp_path / name / "c1" / scale / "attributes.json", {"dimensions": [4, 4, 4]})
        _write_json(tmp_path / name / "attributes.json", {"n5": "4.0.0"})
    _write_json(tmp_path / "image.zarr" / "s2" / "zarr.json", {"node_type": "array"})
    _write_json(tmp_path / "image.zarr" / "zarr.json", {"node_type": "group"})
    for name in ("atlas", "atlas.precomputed"):
        _write_json(tmp_path / name / "info", {"scales": [{"key": "s2"}, {"key": "s3"}]})
        for scale in ("s2", "s3"):
            (tmp_path / name / scale).mkdir()
    for name in ("image.ome.tif", "brain.nii.gz", "scan.ims", "round1/z1.tif", "round1/z2.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
