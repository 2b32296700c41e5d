"""What napari draws of an alignment: the layers of `view-alignment --napari`, and a scene of both images.

TERALIGN_NAPARI_PYTHON names a Python that has napari, napari-ome-zarr and the libraries of Teralign.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from columns import GRID, write_columns
from PIL import Image

import teralign
from teralign.cli.main import group
from teralign.tasks.view_alignment import export_scene

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "viewers"
PYTHON = os.environ.get("TERALIGN_NAPARI_PYTHON", "")
needs_napari = pytest.mark.skipif(
    not PYTHON or shutil.which("xvfb-run") is None,
    reason="TERALIGN_NAPARI_PYTHON names no Python with napari, or there is no xvfb-run",
)


def drawn(script: str, picture: Path, *arguments: object) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The layers that a script prints, and its picture as three planes of bright pixels."""
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", PYTHON, str(SCRIPTS / script)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(teralign.__file__).parents[1]),
        "LIBGL_ALWAYS_SOFTWARE": "1",
    }
    options = ["--screenshot", str(picture), *map(str, arguments)]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    return json.loads(done.stdout.splitlines()[-1]), np.moveaxis(pixels, 2, 0) > 128


@needs_napari
def test_the_aligned_volume_lies_on_the_fixed_one(tmp_path):
    folder = write_columns(tmp_path)
    files = [folder / name for name in ("fixed.zarr", "moving.zarr", "affine.mat", "points.csv")]
    layers, (red, green, blue) = drawn("napari_view.py", tmp_path / "view.png", *files)
    found = {layer["name"]: layer for layer in layers}
    assert [name for name, layer in found.items() if layer["visible"]] == ["aligned", "fixed", "points"]
    assert found["aligned"]["shapes"] == [[40, 60, 60], [40, 30, 30]]
    assert (found["aligned"]["scale"], found["aligned"]["translate"]) == (list(GRID.spacing), list(GRID.origin))
    lit, white = red | green | blue, red & green & blue
    assert lit.sum() > 5000
    assert white.sum() > 0.9 * lit.sum()
    assert (red & green & ~blue).any()  # the yellow point on the first column


@needs_napari
def test_a_scene_of_both_images_is_drawn_by_its_map(tmp_path):
    folder = write_columns(tmp_path)
    scene = folder / "scene.zarr"
    export_scene(folder / "fixed.zarr", folder / "moving.zarr", transforms=[folder / "affine.mat"], output=scene)
    layers, (red, green, blue) = drawn("napari_layers.py", tmp_path / "scene.png", scene)
    matrices = {layer["name"].partition(":")[0]: np.array(layer["affine"]) for layer in layers}
    assert set(matrices) == {"fixed", "moving", "aligned"}
    shift = (matrices["fixed"] - matrices["moving"])[:3, 3]
    np.testing.assert_allclose(shift, (0, 4, 3), atol=1e-9)
    np.testing.assert_array_equal(matrices["fixed"], matrices["aligned"])
    lit, white = red | green | blue, red & green & blue
    assert lit.sum() > 5000
    assert white.sum() > 0.9 * lit.sum()


@pytest.mark.skipif(importlib.util.find_spec("napari") is not None, reason="napari is installed here")
def test_without_napari_the_command_says_what_to_install(case):
    arguments = ["--fixed", case.fixed, "--moving", case.moving, "--transform", case.transform, "--napari"]
    done = CliRunner().invoke(group, ["view-alignment", *map(str, arguments)])
    assert isinstance(done.exception, Exception)
    assert "pip install 'napari[all]'" in str(done.exception)
