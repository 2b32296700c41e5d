"""What we write, as napari's plugin napari-ome-zarr opens it.

napari has dozens of packages and runs in an environment of its own: TERALIGN_NAPARI_PYTHON names its Python. Where
that and xvfb-run are there, a screenshot is taken too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from teralign import ome
from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.ome import transformations
from teralign.tasks.convert_volume import convert_volume
from teralign.volumes import create_volume, open_volume
from volume_files import space_axes, write_ome_zarr

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "viewers" / "napari_layers.py"
PYTHON = os.environ.get("TERALIGN_NAPARI_PYTHON", "")
GRID = Grid((12, 60, 80), (2.0, 0.5, 0.5))

pytestmark = pytest.mark.skipif(not PYTHON, reason="TERALIGN_NAPARI_PYTHON names no Python with napari-ome-zarr")


def layers(path: Path, picture: Path | None = None) -> list[dict[str, Any]]:
    display = [] if picture is None else ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
    options = [] if picture is None else ["--screenshot", str(picture)]
    environment = {**os.environ, "PYTHONPATH": "", "LIBGL_ALWAYS_SOFTWARE": "1"}
    command = [*display, PYTHON, str(SCRIPT), *options, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def blobs(shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Bright discs on a dark background (z, y, x), moved by voxels along y and x."""
    y, x = np.mgrid[: GRID.shape[1], : GRID.shape[2]]
    plane = sum(
        900 * (np.hypot(y - cy - shift[0], x - cx - shift[1]) < 6) for cy, cx in ((15, 20), (30, 55), (45, 25))
    )
    return np.broadcast_to(plane + 100, GRID.shape).astype(np.uint16)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_has_its_window_and_its_labels(version, tmp_path, scheduler):
    writer = create_volume(tmp_path / "labels.zarr", grid=GRID, dtype="uint16", levels=1)
    writer.write(GRID.region, np.ascontiguousarray(blobs() // 500))
    image = tmp_path / "a.zarr"
    writer = create_volume(tmp_path / "b.zarr", grid=GRID, dtype="uint16", levels=1)
    writer.write(GRID.region, np.ascontiguousarray(blobs()))
    compute = Compute(scheduler)
    convert_volume(tmp_path / "b.zarr", image, ome_zarr=version, compute=compute)
    convert_volume(tmp_path / "labels.zarr", into=image / "labels" / "cells", label=True, compute=compute)
    shown, labels = layers(image)
    assert (shown["kind"], labels["kind"], labels["name"]) == ("image", "labels", "labels/labels/cells")
    assert shown["shape"] == [1, 1, *GRID.shape]
    assert tuple(shown["contrast_limits"][0]) == open_volume(image).display[0].window[2:] == (100, 1000)
    np.testing.assert_allclose(np.diag(shown["affine"]), (*GRID.spacing, 1))


def test_a_scene_draws_fixed_on_moving(tmp_path):
    """The moving discs lie 10 voxels further along y and 8 along x; the scene says so, in µm."""
    path = tmp_path / "scene.zarr"
    steps = {
        "s0": [{"type": "scale", "scale": list(GRID.spacing)}, {"type": "translation", "translation": [0, 0, 0]}]
    }
    for name, colour, shift in (("fixed", "FF00FF", (0, 0)), ("moving", "00FF00", (10, 8))):
        window = {"min": 0, "max": 65535, "start": 100, "end": 1000}
        omero = {"channels": [{"label": name, "color": colour, "window": window}]}
        write_ome_zarr(path / name, {"s0": blobs(shift)}, space_axes(), steps, version="0.6", omero=omero)
    matrix = transformations.NumberMatrix("affine", ((1, 0, 0, 0), (0, 1, 0, 5), (0, 0, 1, 4)))
    systems = (ome.SystemReference("own", "fixed"), ome.SystemReference("own", "moving"))
    ome.write_scene(path, ome.OmeScene((ome.Link(matrix, *systems, "fixed to moving"),)))
    picture = tmp_path / "scene.png" if shutil.which("xvfb-run") else None
    found = {layer["name"]: np.array(layer["affine"]) for layer in layers(path, picture)}
    np.testing.assert_allclose(found["moving"], np.diag([*GRID.spacing, 1]))
    np.testing.assert_allclose(found["fixed"][:3, 3], (0, 5, 4))
    if picture is not None:  # magenta and green discs are white where they lie on each other
        red, green, blue = np.moveaxis(np.asarray(Image.open(picture).convert("RGB")).astype(int), 2, 0)
        lit = np.maximum(red, green) > 128
        white = np.minimum(np.minimum(red, green), blue) > 128
        assert lit.sum() > 1000
        assert (lit & white).sum() > 0.95 * lit.sum()
