"""Elements of SpatialData, written and read by spatialdata itself, in an environment of its own.

TERALIGN_SPATIALDATA_PYTHON names a Python that has spatialdata and the libraries of Teralign. What needs no library
of its own is tried with elements as spatialdata makes them.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teralign as ta
from teralign.api.coordinates import grid_of

PYTHON = os.environ.get("TERALIGN_SPATIALDATA_PYTHON", "")
SCALE, SHIFT = (2.0, 0.5, 0.5), (3.0, 1.0, 0.0)

PROGRAM = """
import json, sys
import numpy as np, pandas as pd, spatialdata as sd
from spatialdata.models import Image3DModel, Labels3DModel, PointsModel
from spatialdata.transformations import Identity, Scale, Sequence, Translation
import teralign as ta
from teralign.api.coordinates import grid_of

scale, shift, folder = json.loads(sys.argv[1])
axes = ("z", "y", "x")
place = {"global": Sequence([Scale(scale, axes=axes), Translation(shift, axes=axes)])}
rng = np.random.default_rng(0)
voxels = rng.integers(1, 4000, (2, 20, 24, 28), np.uint16)
options = dict(dims=("c", *axes), c_coords=["DAPI", "GFP"])
data = sd.SpatialData(
    images={
        "one": Image3DModel.parse(voxels, transformations=place, **options),
        "several": Image3DModel.parse(voxels, transformations=place, scale_factors=[2], **options),
        "counted": Image3DModel.parse(voxels, transformations={"global": Identity()}, **options),
    },
    labels={"cells": Labels3DModel.parse(
        (voxels[0] > 2000).astype(np.int32), dims=axes, transformations=place, scale_factors=[2]
    )},
    points={"spots": PointsModel.parse(
        pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0], "z": [5.0, 6.0]}),
        coordinates={name: name for name in "xyz"}, transformations=place,
    )},
)
data.write(folder)
data = sd.read_zarr(folder)
one, several = data.images["one"].isel(c=0), data.images["several"]["scale0"]["image"].isel(c=0)
found = ta.align(one, several, steps=[])
warped = found.warp(data.labels["cells"], order=0)
try:
    ta.align(data.images["counted"].isel(c=0), one, steps=[])
    refused = ""
except ta.InputError as error:
    refused = str(error)
stored = ta.open(f"{folder}/images/one", channel="DAPI", spacing=scale)
print(json.dumps({
    "grids": [[g.shape, g.spacing, g.origin] for g in (grid_of("given", e) for e in (one, several))],
    "labels": bool((warped.values == (voxels[0] > 2000)).all()),
    "points": ta.read_points(data.points["spots"]).tolist(),
    "refused": refused,
    "stored": [stored.attrs["spacing"], bool((stored.values == voxels[0]).all())],
}))
"""


class Placed:
    """A transformation of SpatialData: what is asked of one."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def to_affine_matrix(self, input_axes: tuple[str, ...], output_axes: tuple[str, ...]) -> np.ndarray:
        assert input_axes == output_axes == ("z", "y", "x")
        return self.matrix


def element(matrix: np.ndarray) -> xr.DataArray:
    """An image as spatialdata makes it: coordinates in voxels, and a transformation."""
    shape = (4, 5, 6)
    coordinates = {name: np.arange(n) + 0.5 for name, n in zip("zyx", shape, strict=True)}
    return xr.DataArray(np.ones(shape), coordinates, ("z", "y", "x"), attrs={"transform": {"global": Placed(matrix)}})


def test_the_transformation_of_an_element_places_its_voxels():
    image = element(np.array([[2.0, 0, 0, 3], [0, 0.5, 0, 1], [0, 0, 0.5, 0], [0, 0, 0, 1]]))
    grid = grid_of("given", image)
    assert grid.spacing == SCALE
    assert grid.origin == (4.0, 1.25, 0.25)
    assert grid_of("given", image.isel(z=slice(1, None))).origin[0] == 6.0
    assert grid_of("given", image, (1.0, 1.0, 1.0)).spacing == (1.0, 1.0, 1.0)


def test_an_element_that_counts_voxels_needs_a_voxel_size():
    with pytest.raises(ta.InputError, match="its voxel size is unknown: give spacing"):
        grid_of("given", element(np.eye(4)))


def test_an_element_on_turned_axes_is_refused():
    turned = np.eye(4)[[1, 0, 2, 3]]
    with pytest.raises(ta.InputError, match="turned, sheared or mirrored"):
        grid_of("given", element(turned))


@pytest.mark.skipif(not PYTHON, reason="TERALIGN_SPATIALDATA_PYTHON names no Python with spatialdata")
def test_elements_of_spatialdata_are_aligned_warped_and_read(tmp_path: Path) -> None:
    arguments = json.dumps([SCALE, SHIFT, str(tmp_path / "sample.zarr")])
    done = subprocess.run([PYTHON, "-c", PROGRAM, arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["grids"] == [[[20, 24, 28], list(SCALE), [4.0, 1.25, 0.25]]] * 2
    assert found["labels"]
    assert found["points"] == [[13.0, 2.5, 0.5], [15.0, 3.0, 1.0]]
    assert "voxel size is unknown" in found["refused"]
    assert found["stored"] == [list(SCALE), True]
