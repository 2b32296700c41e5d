"""From an image to the attributes of its Zarr group in OME-Zarr 0.4, 0.5 or 0.6, and the group's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from teralign.files import write_atomically
from teralign.ome.model import Axis, Channel, Level, Multiscale
from teralign.ome.reading import WINDOW_KEYS, OmeJson, OmeObject, read_channel, read_steps

GROUP_FILE = "zarr.json"
"""The name of the file that describes a group or an array of Zarr v3."""
_LAST_OF_ZARR_2 = "0.4"


def image_attributes(image: Multiscale, version: str) -> OmeObject:
    """Return the attributes of the group of `image`, in the form of an OME-Zarr version.

    0.4 has the version in each part, later versions have all parts and the version below "ome".
    """
    content: OmeObject = {"name": image.name} | ({"type": image.method} if image.method else {})
    if image.method_description is not None:
        content["metadata"] = {"description": image.method_description}
    axes = [axis_json(axis) for axis in image.axes or ()]
    datasets = [{"path": level.path, "coordinateTransformations": _steps(level)} for level in image.levels]
    if version == "0.6":
        content["coordinateSystems"] = [{"name": image.space, "axes": axes}]
        datasets = [_in_system(dataset, {"name": image.space}) for dataset in datasets]
    else:
        content["axes"] = axes
    parts: OmeObject = {"multiscales": [content | {"datasets": datasets}]}
    if image.is_label:
        parts["image-label"] = {}
    elif image.channels:
        parts["omero"] = {"channels": [_channel(channel) for channel in image.channels]}
    if version != _LAST_OF_ZARR_2:
        return {"ome": {"version": version, **parts}}
    return {
        name: [{"version": version, **p} for p in part] if isinstance(part, list) else {"version": version, **part}
        for name, part in parts.items()
    }


def with_levels(attributes: OmeJson, factors: Mapping[str, Sequence[float]]) -> OmeObject:
    """Return the attributes of an image's group with coarser levels instead of those that it has.

    `factors` maps the path of each new level to its downsampling along each axis of the arrays, relative to the
    finest level. Everything but the levels stays as it is.
    """
    changed: OmeObject = json.loads(json.dumps(attributes))  # a deep copy, whose parts can be replaced
    content = changed.get("ome", changed)["multiscales"][0]
    finest = content["datasets"][0]
    content["datasets"] = [finest, *(_coarser(finest, path, sizes) for path, sizes in factors.items())]
    return changed


def with_windows(attributes: OmeJson, channels: Sequence[Channel]) -> OmeObject:
    """Return the attributes of an image's group with the windows of `channels` where its channels have none.

    Without channels in the attributes, `channels` become theirs. Everything else stays as it is.
    """
    changed: OmeObject = json.loads(json.dumps(attributes))
    parts = changed.get("ome", changed)
    omero = parts.get("omero") or ({} if "ome" in changed else {"version": _LAST_OF_ZARR_2})
    complete = [_channel(channel) for channel in channels]
    listed = omero.get("channels") or complete
    omero["channels"] = [
        own | {"window": whole["window"]} if read_channel(i, own).window is None else own
        for i, (own, whole) in enumerate(zip(listed, complete, strict=True))
    ]
    parts["omero"] = omero
    return changed


def label_list(version: str) -> OmeObject:
    """Return the attributes of a group `labels` that lists no label image yet."""
    return {"labels": []} if version == _LAST_OF_ZARR_2 else {"ome": {"version": version, "labels": []}}


def with_label(attributes: OmeJson, name: str, version: str) -> OmeObject:
    """Return the attributes of a group `labels`, of OME-Zarr `version`, with one more label image in its list."""
    changed: OmeObject = json.loads(json.dumps(attributes))
    parts = changed if version == _LAST_OF_ZARR_2 else changed.setdefault("ome", {"version": version})
    listed = parts.get("labels") or []
    parts["labels"] = listed if name in listed else [*listed, name]
    return changed


def with_series(attributes: OmeJson, name: str) -> OmeObject:
    """Return the attributes of the group OME of a collection with one more image in its list."""
    changed: OmeObject = json.loads(json.dumps(attributes))
    parts = changed.get("ome", changed)
    parts["series"] = parts["series"] if name in parts["series"] else [*parts["series"], name]
    return changed


def with_label_source(attributes: OmeJson, image: str) -> OmeObject:
    """Return the attributes of a label image that belongs to the image at the relative path `image`."""
    changed: OmeObject = json.loads(json.dumps(attributes))
    changed.get("ome", changed)["image-label"]["source"] = {"image": image}
    return changed


def _coarser(finest: OmeJson, path: str, factors: Sequence[float]) -> OmeObject:
    """Return the dataset of a level whose voxels are means of the finest level's: (f − 1)/2 voxels further on."""
    own = finest.get("coordinateTransformations", ())
    scale, translation = (values.tolist() for values in Level(path, read_steps(own)).transform(len(factors)))
    level = Level.placed(
        path,
        (s * f for s, f in zip(scale, factors, strict=True)),
        (t + s * (f - 1) / 2 for s, t, f in zip(scale, translation, factors, strict=True)),
    )
    dataset = {"path": path, "coordinateTransformations": _steps(level)}
    output = own[-1].get("output") if own else None
    return dataset if output is None else _in_system(dataset, output)


def _in_system(dataset: OmeObject, output: str | OmeJson) -> OmeObject:
    """Return a dataset of 0.6: one sequence from its array to the coordinate system `output`."""
    sequence = {
        "type": "sequence",
        "input": {"path": dataset["path"]},
        "output": output,
        "transformations": dataset["coordinateTransformations"],
    }
    return dataset | {"coordinateTransformations": [sequence]}


def _steps(level: Level) -> list[OmeObject]:
    return [{"type": step.kind, step.kind: list(step.values or ())} for step in level.steps]


def axis_json(axis: Axis) -> OmeObject:
    """Return an axis as JSON."""
    content: OmeObject = {"name": axis.name, "type": axis.kind}
    if axis.unit is not None:
        content["unit"] = axis.unit
    if axis.orientation is not None:
        content["orientation"] = {"type": "anatomical", "value": axis.orientation}
    return content | ({"discrete": True} if axis.discrete else {})


def _channel(channel: Channel) -> OmeObject:
    content: OmeObject = {"label": channel.name}
    if channel.colour is not None:
        content["color"] = channel.colour
    content["active"] = True
    if channel.window is not None:
        content["window"] = dict(zip(WINDOW_KEYS, channel.window, strict=True))
    return content


def write_group(folder: Path, attributes: OmeJson, version: str) -> None:
    """Write the metadata files of a group, which may be no image: Zarr v2 for OME-Zarr 0.4, else Zarr v3.

    Each file is there whole or not at all. Raises OSError where the disk refuses.
    """
    files: dict[str, OmeJson] = {GROUP_FILE: {"zarr_format": 3, "node_type": "group", "attributes": attributes}}
    if version == _LAST_OF_ZARR_2:
        files = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    end = "\n" if version == "0.6" else ""  # as these files have always ended: equal volumes are equal bytes
    for name, content in files.items():
        write_atomically(folder / name, (json.dumps(content, indent=2) + end).encode())
