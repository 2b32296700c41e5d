"""The layers that `view-alignment --napari` shows, and a screenshot of them.

    napari_view.py --screenshot PNG FIXED MOVING TRANSFORM [POINTS]

Prints a JSON list: of each layer its name, kind, shapes of its levels, scale, translation and visibility. Needs
napari in the environment of teralign; where there is no display: xvfb-run python napari_view.py …
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time

import napari
import napari.qt

from teralign.tasks.view_alignment import SeenBeside, open_view
from teralign.viewing.napari_layers import add_layers

DRAWING_SECONDS = 6.0  # levels are read and drawn in the background


def described(layer: napari.layers.Layer) -> dict:
    """Return a layer as JSON has it."""
    levels = list(layer.data) if getattr(layer, "multiscale", False) else [layer.data]
    return {
        "name": layer.name,
        "kind": type(layer).__name__,
        "shapes": [list(level.shape) for level in levels],
        "scale": list(layer.scale),
        "translate": list(layer.translate),
        "visible": bool(layer.visible),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshot", required=True)
    parser.add_argument("fixed")
    parser.add_argument("moving")
    parser.add_argument("transform")
    parser.add_argument("points", nargs="*")
    given = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        view = open_view(
            given.fixed, given.moving, transforms=[given.transform], beside=SeenBeside(points=given.points)
        )
        viewer = napari.Viewer(show=True)
        add_layers(viewer, view)
        end = time.monotonic() + DRAWING_SECONDS
        while time.monotonic() < end:
            napari.qt.get_qapp().processEvents()
        viewer.screenshot(given.screenshot, canvas_only=True, flash=False, size=(600, 800))
        layers = [described(layer) for layer in viewer.layers]
        viewer.close()
    print(json.dumps(layers))


main()
