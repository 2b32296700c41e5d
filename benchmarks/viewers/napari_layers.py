"""The layers that napari makes of OME-Zarr containers, by its plugin napari-ome-zarr, and a screenshot of them.

    napari_layers.py [--screenshot PNG] PATH…

Prints a JSON list: of each layer its kind, name, shape, affine (of voxels to space, without time and channel) and
contrast limits. The screenshot has the middle plane along z, labels on top. Where there is no display: xvfb-run -s
'-screen 0 1280x1024x24' python napari_layers.py … Needs napari and napari-ome-zarr, not teralign.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np
from napari_ome_zarr import napari_get_reader

DRAWING_SECONDS = 5.0  # levels are read and drawn in the background


def described(data: object, options: dict, kind: str) -> dict:
    """Return a layer as JSON has it."""
    levels = data if isinstance(data, list) else [data]
    scale = np.array(options.get("scale", 1.0))
    matrix = np.array(options["affine"].affine_matrix) if "affine" in options else np.eye(scale.size + 1)
    space = slice(-4, None)
    whole = matrix @ np.diag([*scale, 1.0])
    return {
        "kind": kind,
        "name": options.get("name"),
        "shape": list(levels[0].shape),
        "levels": len(levels),
        "affine": whole[space, space].tolist(),
        "contrast_limits": options.get("contrast_limits"),
    }


def screenshot(paths: list[str], picture: str) -> None:
    """Write the middle plane of all layers, as napari draws them."""
    import napari
    import napari.qt

    viewer = napari.Viewer(show=True)
    for path in paths:
        viewer.open(path, plugin="napari-ome-zarr")
    for layer in viewer.layers:
        layer.visible = True
        layer.opacity = 0.4 if isinstance(layer, napari.layers.Labels) else 1.0
        layer.blending = "additive" if isinstance(layer, napari.layers.Image) else "translucent"
    z = viewer.dims.ndim - 3
    viewer.dims.set_current_step(z, viewer.dims.nsteps[z] // 2)
    viewer.reset_view()
    end = time.monotonic() + DRAWING_SECONDS
    while time.monotonic() < end:
        napari.qt.get_qapp().processEvents()
    viewer.screenshot(picture, canvas_only=True, flash=False, size=(700, 1000))
    viewer.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshot")
    parser.add_argument("paths", nargs="+")
    arguments = parser.parse_args()
    layers = []
    with contextlib.redirect_stdout(sys.stderr):  # the plugin prints
        for path in arguments.paths:
            reader = napari_get_reader(path)
            layers += [described(*layer) for layer in reader(path)] if reader else []
        if arguments.screenshot:
            screenshot(arguments.paths, str(Path(arguments.screenshot).absolute()))
    print(json.dumps(layers))


main()
