"""A view as the state of Neuroglancer: JSON with its layers, colours, windows and the first view.

Space is in µm, its axes x, y, z. The state is documented with https://github.com/google/neuroglancer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from teralign.grids import Grid
from teralign.transforms import world_affine
from teralign.viewing.layers import Layer, LayeredView, LayerKind, Points
from teralign.volumes import Direction

_SPACE = {axis: [1e-6, "m"] for axis in "xyz"}
_PIXELS = 500  # of a panel, along its shorter side: half of a usual screen
_MOST_POINTS = 10_000  # the page sends them with every change of its state

_INTENSITY = """#uicontrol invlerp window
#uicontrol vec3 colour color
void main() {
  emitRGB(colour * window());
}
"""
# From black through purple and orange to yellow: even steps of lightness, which colour-blind people see too.
_LENGTH = """#uicontrol invlerp window
void main() {
  float v = window();
  vec3 low = mix(vec3(0.0, 0.0, 0.02), vec3(0.55, 0.16, 0.5), clamp(v * 2.0, 0.0, 1.0));
  emitRGB(v < 0.5 ? low : mix(vec3(0.55, 0.16, 0.5), vec3(0.99, 0.85, 0.3), clamp(v * 2.0 - 1.0, 0.0, 1.0)));
}
"""

ViewerState = Mapping[str, object]


def viewer_state(view: LayeredView, address: str) -> ViewerState:
    """Return the state that shows a view whose layer i is an OME-Zarr at `address`/i."""
    grid = view.grid
    layers = [_layer(layer, f"{address}/{i}") for i, layer in enumerate(view.layers)]
    extent = np.array(grid.extent)
    return {
        "dimensions": _SPACE,
        "position": world_affine(view.direction).map_points(grid.centre[None])[0, ::-1].tolist(),
        "crossSectionScale": float(extent[1:].max() / _PIXELS),
        "projectionScale": float(extent.max() * 1.5),
        "layers": [*layers, *(_annotations(points) for points in view.points)],
        "showAxisLines": False,
        "showSlices": True,
        "layout": "4panel",
    }


def _layer(layer: Layer, url: str) -> ViewerState:
    source = {"url": f"zarr3://{url}", "transform": _placement(layer.pyramid.grids[0], layer.direction)}
    shared = {"name": layer.name, "source": source, "visible": layer.visible}
    if layer.kind is LayerKind.LABELS:
        return {"type": "segmentation", "selectedAlpha": 0.4, "notSelectedAlpha": 0.25, **shared}
    window = {"range": list(layer.window), "window": list(layer.window)}
    lengths = layer.kind is LayerKind.LENGTHS
    return {
        "type": "image",
        "shader": _LENGTH if lengths else _INTENSITY,
        "shaderControls": {"window": window} | ({} if lengths else {"colour": f"#{layer.colour.lower()}"}),
        "blend": "default" if lengths else "additive",
        "opacity": 0.7 if lengths else 1.0,
        **shared,
    }


def _placement(grid: Grid, direction: Direction | None) -> ViewerState:
    """Return the place of a volume in the world: its axes, turned where they are oblique, as a matrix of lengths."""
    turned = np.eye(3) if direction is None else np.array(direction)[::-1, ::-1]
    inputs = {axis: [size * 1e-6, "m"] for axis, size in zip("zyx", grid.spacing, strict=True)}
    matrix = np.hstack([turned[:, ::-1], np.zeros((3, 1))])
    return {"outputDimensions": _SPACE, "inputDimensions": inputs, "matrix": matrix.tolist()}


def _annotations(points: Points) -> ViewerState:
    """Return the layer of points; of many, as many as a page can draw, evenly spread over the table."""
    step = -(-len(points.points) // _MOST_POINTS) or 1
    shown = points.points[::step]
    return {
        "type": "annotation",
        "name": points.name,
        "source": {"url": "local://annotations", "transform": {"outputDimensions": _SPACE}},
        "annotationColor": f"#{points.colour.lower()}",
        "annotations": [
            {"type": "point", "id": str(i * step), "point": point[::-1].tolist()} for i, point in enumerate(shown)
        ],
    }
