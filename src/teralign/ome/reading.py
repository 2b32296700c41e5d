"""From the attributes of a Zarr group to the image that they declare, for OME-Zarr 0.1 to 0.6.

Up to 0.5 the group's transformations follow those of each level, and the axes stand in the image:
https://ngff.openmicroscopy.org/0.5/. In 0.6 the axes are those of the coordinate system that the levels lead to;
transformations of the group lead from there to other systems, and are not part of the image's geometry:
https://ngff.openmicroscopy.org/0.6/.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.ome.model import Axis, Channel, Level, Multiscale, Step

# Releases, their patches, and versions of others that are derived from them, such as SpatialData's.
_VERSION = re.compile(r"0\.[1-5]([.+-].*)?|0\.6(\.?(dev|rc)\d+)?")
_KIND_OF_NAME = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
WINDOW_KEYS = ("min", "max", "start", "end")
OmeJson = Mapping[str, Any]
"""A JSON object that is read."""
OmeObject = dict[str, Any]
"""A JSON object that is made."""

_LARGEST_ARRAY = 1 << 52  # 18 PB of float32


def read_multiscale(group: Place, attributes: OmeJson) -> Multiscale | None:
    """Return the (first) image that the attributes of a group declare, None if they declare none.

    Raises InputError for a version that cannot be read, and for metadata that contradict themselves; `group` names
    the place in its message.
    """
    try:
        return _read_multiscale(group, json_object(attributes.get("ome", attributes), "OME-Zarr metadata"))
    except InputError:  # a ValueError too
        raise
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{group} has malformed OME-Zarr metadata: {malformed(error)}; repair them.") from error


def _read_multiscale(group: Place, ome: OmeJson) -> Multiscale | None:
    declared = ome.get("multiscales")
    if not declared:
        return None
    content = json_object(json_list(declared, "images")[0], "image")
    version = str(ome.get("version", content.get("version", "0.4")))
    check_version(group, version)
    if not content.get("datasets"):
        raise InputError(f"{group} declares an image without levels; repair its metadata.")
    system = _coordinate_system(group, content)
    axes = content.get("axes") if system is None else system["axes"]
    channels = json_object(ome.get("omero") or {}, "omero").get("channels") or ()
    name, method = content.get("name"), content.get("type")
    return Multiscale(
        levels=tuple(_levels(content)),
        axes=None if axes is None else tuple(read_axis(axis) for axis in json_list(axes, "axes")),
        channels=tuple(read_channel(i, channel) for i, channel in enumerate(json_list(channels, "channels"))),
        name=None if name is None else str(name),
        method=None if method is None else str(method),
        is_label="image-label" in ome,
        space=None if system is None else str(system.get("name")),
    )


def check_version(group: Place, version: object) -> None:
    """Raise InputError for a version of OME-Zarr that cannot be read."""
    if not _VERSION.fullmatch(str(version)):
        raise InputError(f"{group} is OME-Zarr {version}; versions up to 0.6 can be read.")


def _levels(content: OmeJson) -> Iterator[Level]:
    whole = [] if content.get("coordinateSystems") else _steps_of(content)
    group_steps = [step for step in whole if "output" not in step]  # SpatialData's lead to other systems
    for declared in json_list(content["datasets"], "levels"):
        dataset = json_object(declared, "level")
        yield Level(path_inside(dataset["path"]), read_steps([*_steps_of(dataset), *group_steps]))


def _steps_of(content: OmeJson) -> list[OmeJson]:
    declared = json_list(content.get("coordinateTransformations") or (), "transformations")
    return [json_object(step, "transformation") for step in declared]


def read_shape(declared: object) -> list[int]:
    """Return the shape of an array. Raises ValueError for what is no shape, or more than any disk holds."""
    if (
        not isinstance(declared, list)
        or not all(isinstance(n, int) and n >= 0 for n in declared)
        or math.prod(declared) > _LARGEST_ARRAY
    ):
        raise ValueError(f"{reprlib.repr(declared)} is no shape of an array")
    return declared


def path_inside(declared: object) -> str:
    """Return a path that metadata give, which count from their own folder.

    Raises TypeError for what is no path, ValueError for a path that leads out of the folder: metadata come from
    elsewhere, and may not choose what else is read.
    """
    if not isinstance(declared, str) or "\0" in declared:
        raise TypeError(f"{reprlib.repr(declared)} is no path")
    if declared.startswith("/") or ".." in declared.split("/"):
        raise ValueError(f"the path {reprlib.repr(declared)} leads out of its folder")
    return declared


def read_steps(transformations: Iterable[OmeJson]) -> tuple[Step, ...]:
    """Return coordinate transformations as steps, one after the other, those inside sequences included."""
    return tuple(_step(content) for content in _flattened(transformations))


def _coordinate_system(group: Place, content: OmeJson) -> OmeJson | None:
    """Return the coordinate system that the levels of a 0.6 image lead to; None for older versions."""
    declared = json_list(content.get("coordinateSystems") or (), "coordinate systems")
    systems = [json_object(system, "coordinate system") for system in declared]
    if not systems:
        return None
    steps = _steps_of(json_object(json_list(content["datasets"], "levels")[0], "level")) or [{}]
    output = steps[-1].get("output")
    name = output.get("name") if isinstance(output, Mapping) else output
    found = [system for system in systems if system.get("axes") and (name is None or system.get("name") == name)]
    if len(found) != 1:
        raise InputError(f"{group} has no coordinate system {name} that its levels lead to; repair its metadata.")
    return found[0]


def _flattened(steps: Iterable[OmeJson]) -> Iterator[OmeJson]:
    for step in steps:
        if step.get("type") == "sequence":
            inner = json_list(step.get("transformations", ()), "transformations")
            yield from _flattened(json_object(part, "transformation") for part in inner)
        else:
            yield step


def _step(content: OmeJson) -> Step:
    kind = str(content.get("type"))
    values = content.get(kind)
    numbers = isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)
    return Step(kind, tuple(float(value) for value in values or ()) if numbers else None)


def json_object(value: object, noun: str) -> OmeJson:
    """Return a JSON object. Raises TypeError, which says that `value` is no `noun`, for other values."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{reprlib.repr(value)} is no {noun}")
    return value


def json_list(value: object, noun: str) -> list[object]:
    """Return a JSON list. Raises TypeError, which says that `value` is no list of `noun`, for other values."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{reprlib.repr(value)} is no list of {noun}")
    return list(value)


def malformed(error: Exception) -> str:
    """Return what the error of a reader says of JSON, for a sentence."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def read_axis(declared: object) -> Axis:
    """Return an axis; its kind follows from the name where it is not given, as before 0.4.

    Raises TypeError for a value that is neither a name nor an object.
    """
    content: OmeJson = {"name": declared} if isinstance(declared, str) else json_object(declared, "axis")
    name = str(content.get("name", "")).lower()
    unit = content.get("unit")
    kind = str(content.get("type") or _KIND_OF_NAME.get(name, ""))
    return Axis(name, kind, None if unit is None else str(unit), orientation=_orientation(content.get("orientation")))


def _orientation(content: object) -> str | None:
    """Return an anatomical orientation (https://ngff.openmicroscopy.org/rfc/4/), None for what is none."""
    if not isinstance(content, Mapping) or content.get("type") != "anatomical":
        return None
    value = content.get("value")
    return value if isinstance(value, str) else None


def read_channel(index: int, declared: object) -> Channel:
    """Return a channel as omero describes it, without colours that are malformed and windows that show nothing.

    Raises TypeError for a value that is no object.
    """
    content = json_object(declared, "channel")
    colour, window = str(content.get("color", "")), content.get("window")
    edges = [window.get(key) for key in WINDOW_KEYS] if isinstance(window, Mapping) else []
    numbers = [float(edge) for edge in edges if isinstance(edge, int | float)]
    shows = len(numbers) == len(WINDOW_KEYS) and all(map(math.isfinite, numbers)) and numbers[2] < numbers[3]
    return Channel(
        str(content.get("label", index)),
        colour.upper() if re.fullmatch(r"[0-9A-Fa-f]{6}", colour) else None,
        (numbers[0], numbers[1], numbers[2], numbers[3]) if shows else None,
    )
