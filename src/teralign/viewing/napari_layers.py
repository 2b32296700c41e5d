"""A view as layers of napari: pyramids of dask arrays, which read or warp a chunk when it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Grid, Region, Triple
from teralign.transforms import world_affine
from teralign.viewing.layers import Layer, LayeredView, LayerKind, Points

_CHUNK_SHAPE: Triple = (64, 64, 64)
_POINT_SIZE = 0.01  # of the longest side of the fixed volume


@dataclass(frozen=True)
class LayerArray:
    """A level of a layer as an array (z, y, x), read where it is sliced."""

    layer: Layer
    level: int

    ndim = 3

    @property
    def shape(self) -> Triple:
        """The number of voxels along (z, y, x)."""
        return self.layer.pyramid.grids[self.level].shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels."""
        return self.layer.pyramid.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return the voxels of slices without steps. Raises DataError when they cannot be read."""
        spans = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        region = Region(tuple(a for a, _ in spans), tuple(b for _, b in spans))  # type: ignore[arg-type]
        layer = self.layer
        return layer.pyramid.read(region, channel=layer.channel, timepoint=layer.timepoint, level=self.level)


def add_layers(viewer: Any, view: LayeredView) -> None:  # noqa: ANN401 - napari is not installed everywhere
    """Add all layers of a view to a viewer of napari: images and labels with their scales, then points."""
    for layer in reversed(view.layers):  # the last one added is drawn on top
        data = _levels(layer)
        options = {"name": layer.name, "visible": layer.visible, **_placement(layer)}
        if layer.kind is LayerKind.LABELS:
            viewer.add_labels(data, opacity=0.5, **options)
            continue
        lengths = layer.kind is LayerKind.LENGTHS
        colours = "inferno" if lengths else _colours(layer)
        blending = "translucent" if lengths else "additive"
        window = list(layer.window)
        viewer.add_image(data, colormap=colours, blending=blending, contrast_limits=window, **options)
    for points in view.points:
        _add_points(viewer, points, view.grid)
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.reset_view()


def open_napari(view: LayeredView) -> None:
    """Show a view in napari, until its window is closed. Raises InputError when napari is not installed."""
    try:
        import napari
    except ImportError as error:
        raise InputError(
            "napari is not installed in this environment; run pip install 'napari[all]', or leave out --napari."
        ) from error
    viewer = napari.Viewer(title="teralign")
    add_layers(viewer, view)
    napari.run()


def _levels(layer: Layer) -> list[Any]:
    """Return the dask array of each scale, finest first."""
    import dask.array

    arrays = [LayerArray(layer, level) for level in range(len(layer.pyramid.grids))]
    return [
        dask.array.from_array(array, chunks=_CHUNK_SHAPE, name=f"teralign-{id(layer)}-{i}", meta=_nothing(array))
        for i, array in enumerate(arrays)
    ]


def _nothing(array: LayerArray) -> NDArray[Any]:
    """Return an empty array of the kind that slices give, so that dask need not read one."""
    return np.empty((0, 0, 0), array.dtype)


def _placement(layer: Layer) -> dict[str, object]:
    """Return scale and translation (z, y, x) of the finest scale in µm, and the matrix of oblique axes."""
    grid = layer.pyramid.grids[0]
    placed: dict[str, object] = {"scale": grid.spacing, "translate": grid.origin, "units": ("micrometer",) * 3}
    return placed if layer.direction is None else {**placed, "affine": world_affine(layer.direction).matrix}


def _colours(layer: Layer) -> Any:  # noqa: ANN401 - a class of napari
    """Return the map from black to the colour of a layer."""
    from napari.utils import Colormap

    full = [int(layer.colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return Colormap([[0, 0, 0, 1], [*full, 1]], name=f"#{layer.colour}")


def _add_points(viewer: Any, points: Points, grid: Grid) -> None:  # noqa: ANN401
    size = max(grid.extent) * _POINT_SIZE
    look = {"size": size, "face_color": f"#{points.colour}", "border_width": 0}
    viewer.add_points(points.points, name=points.name, units=("micrometer",) * 3, **look)
