"""Zarr v2 and v3: plain arrays, and the levels of OME-Zarr images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorstore as ts

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.volumes.arrays import StoredArray, open_array, spatial_chunks
from teralign.volumes.collections import enter_collections, label_names
from teralign.volumes.description import Description, axes_by_name, axes_by_position
from teralign.volumes.files import folders_around
from teralign.volumes.ome_zarr import OmeImage
from teralign.volumes.orientation import Directions
from teralign.volumes.uri import nearest_name, no_dataset
from teralign.volumes.zarr_nodes import METADATA_FILES, Node, find_arrays, read_node


def describe(container: Place, dataset: str) -> Description:
    """Describe a level of an OME-Zarr image, the finest one where the URI names the image, or a plain array.

    A plate, a well or another collection that holds only one image stands for this image.
    """
    path = container / dataset
    image = _enclosing_image(container, path)
    if image is not None:
        inside = path.relative_to(image.group).as_posix()
        level = image.levels[0] if inside == "." else inside
        if level in image.levels:
            return _describe_level(image, level, container)
        if read_node(path) is None:
            raise InputError(f"{image.group} has no scale {inside}; {nearest_name(inside, image.levels)}.")
    node = read_node(path)
    if node is not None and node.kind == "array":
        return _describe_array(node, container)
    inside = enter_collections(container, dataset)
    if inside != dataset:
        return describe(container, inside)
    wanted = f"no image or array {dataset}" if dataset else "no image of its own, so say which array"
    raise no_dataset(container, wanted, dataset, find_arrays)


def label_images(container: Place, dataset: str) -> tuple[str, ...]:
    """Return the datasets of the label images of the image at a place in the container, as its metadata list them."""
    image = _enclosing_image(container, container / dataset)
    if image is None:
        image = _enclosing_image(container, container / enter_collections(container, dataset))
    if image is None:
        return ()
    return tuple((image.group / name).relative_to(container).as_posix() for name in label_names(image.group))


def _enclosing_image(container: Place, path: Place) -> OmeImage | None:
    """Return the multiscale image at `path`, or of the nearest group around it in the container."""
    for folder in folders_around(path, container):
        node = read_node(folder)
        image = OmeImage.declared(folder, node.attributes) if node is not None and node.kind == "group" else None
        if image is not None:
            return image
    return None


def _describe_level(image: OmeImage, level: str, container: Place) -> Description:
    node = read_node(image.group / level)
    if node is None or node.kind != "array":
        raise InputError(f"{image.group} declares the scale {level}, but its array is missing.")
    array = open_array(node.driver, node.path)
    axes = image.axes(array.ndim)
    spacing, origin, note = image.geometry(level, axes)
    plain = _describe(node, array, axes, container)
    described = len(image.channel_names) == plain.channels
    scales = tuple(
        (image.group / other).relative_to(container).as_posix() for other in image.levels if other != level
    )
    return replace(
        plain,
        spacing=spacing,
        origin=origin,
        channel_names=image.channel_names if described else (),
        display=image.display if described else (),
        time_step=image.time_step(level, axes),
        scales=scales,
        relative_spacing=image.relative_spacing(level, axes),
        spacing_note=note,
        directions=Directions(anatomical=image.anatomical(axes)),
    )


def _describe_array(node: Node, container: Place) -> Description:
    array, name = open_array(node.driver, node.path), str(node.path)
    axes = axes_by_name(name, node.dimension_names, array.ndim) or axes_by_position(name, array.ndim)
    return _describe(node, array, axes, container)


def _describe(node: Node, array: ts.TensorStore, axes: str, container: Place) -> Description:
    """Describe an array whose place in space is not known."""
    size = dict(zip(axes, array.shape, strict=True))
    unknown = any(n > 1 for axis, n in zip(axes, array.shape, strict=True) if axis not in "tczyx")
    if unknown or axes.count("t") > 1 or axes.count("c") > 1:
        raise InputError(f"{node.path} has axes besides t, c, z, y and x; extract one volume.")
    return Description(
        pixels=StoredArray(node.driver, (node.path,), axes),
        shape=(size.get("z", 1), size["y"], size["x"]),
        dtype=np.dtype(array.dtype.numpy_dtype),
        chunk_shape=spatial_chunks(array, axes),
        spacing=None,
        channels=size.get("c", 1),
        timepoints=size.get("t", 1),
        is_flat="z" not in axes,
        files=tuple(folder / name for folder in folders_around(node.path, container) for name in METADATA_FILES),
    )
