"""Scenes of OME-Zarr 0.6: named coordinate systems, and transformations between them.

A coordinate system belongs to the scene, or to an image that is named by its path from the scene. See "scene" in the
specification: https://ngff.openmicroscopy.org/0.6/
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.ome.model import Axis
from teralign.ome.reading import (
    OmeObject,
    check_version,
    json_list,
    json_object,
    malformed,
    path_inside,
    read_axis,
)
from teralign.ome.transformations import Transformation, read_transformation, transformation_json
from teralign.ome.writing import GROUP_FILE, axis_json, write_group

SCENE_VERSION = "0.6"


@dataclass(frozen=True)
class System:
    """A coordinate system: its name and its axes."""

    name: str
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class SystemReference:
    """A coordinate system by its name; `path` is that of its image, None for a system of the scene.

    Without a name it is that of the voxels of the array at `path`.
    """

    name: str
    path: str | None = None


@dataclass(frozen=True)
class Link:
    """A transformation from the points of one coordinate system to those of another."""

    transformation: Transformation
    input: SystemReference
    output: SystemReference
    name: str | None = None


@dataclass(frozen=True)
class OmeScene:
    """The transformations of a group, and the coordinate systems that it declares itself."""

    links: tuple[Link, ...]
    systems: tuple[System, ...] = ()


def read_scene(path: Path) -> OmeScene | None:
    """Return the scene of the group at `path`; None for an image.

    Raises InputError for a group without OME-Zarr metadata, or for metadata that contradict themselves.
    """
    if not path.is_dir():
        raise InputError(f"there is no transform {path}.")
    attributes = read_ome(path, path)
    if "scene" not in attributes:
        return None
    check_version(path, attributes.get("version", SCENE_VERSION))
    try:
        scene = json_object(attributes["scene"], "scene")
        links = json_list(scene.get("coordinateTransformations", ()), "transformations")
        return OmeScene(tuple(map(read_link, links)), tuple(read_systems(scene.get("coordinateSystems", ()))))
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise senseless(path, error) from error


def write_scene(path: Path, scene: OmeScene) -> None:
    """Write the metadata of a scene, whole or not at all. Raises OSError where the disk refuses."""
    systems = [{"name": system.name, "axes": [axis_json(axis) for axis in system.axes]} for system in scene.systems]
    content = {"coordinateSystems": systems, "coordinateTransformations": [_link_json(link) for link in scene.links]}
    write_group(path, {"ome": {"version": SCENE_VERSION, "scene": content}}, SCENE_VERSION)


def read_ome(path: Path, group: Path) -> OmeObject:
    """Return the OME-Zarr metadata of a group of the transform `path`. Raises InputError if it has none."""
    try:
        attributes = json.loads((group / GROUP_FILE).read_text())["attributes"]["ome"]
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not a displacement field, or an unfinished one: {group / GROUP_FILE} is missing."
        ) from error
    except OSError as error:
        raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a displacement field: {group / GROUP_FILE} has no OME-Zarr metadata."
        ) from error
    if not isinstance(attributes, dict) or not attributes.keys() & {"scene", "multiscales"}:
        raise InputError(
            f"{path} is not a displacement field: {group / GROUP_FILE} has neither a scene nor multiscales."
        )
    return attributes


def senseless(path: Path, error: Exception) -> InputError:
    """Return the error for metadata that cannot be understood."""
    return InputError(f"the transform {path} has invalid OME-Zarr metadata: {malformed(error)}.")


def read_systems(declared: object) -> list[System]:
    """Return coordinate systems, each once. Raises KeyError, TypeError or ValueError for JSON that makes none."""
    systems: dict[str, System] = {}
    for value in json_list(declared, "coordinate systems"):
        content = json_object(value, "coordinate system")
        system = System(str(content["name"]), tuple(map(read_axis, json_list(content.get("axes", ()), "axes"))))
        if systems.setdefault(system.name, system) != system:
            raise ValueError(f"the coordinate system {system.name} is declared twice, with different axes")
        names = [axis.name for axis in system.axes if axis.name]
        if len(set(names)) != len(names):
            raise ValueError(f"the coordinate system {system.name} has two axes of one name: {', '.join(names)}")
    return list(systems.values())


def read_link(value: object) -> Link:
    """Return a transformation with its ends. Raises KeyError, TypeError or ValueError for JSON that makes none."""
    content = json_object(value, "transformation")
    name = content.get("name")
    return Link(
        read_transformation(content),
        _reference(content.get("input"), "fixed"),
        _reference(content.get("output"), "moving"),
        None if name is None else str(name),
    )


def _reference(value: object, default: str) -> SystemReference:
    """Return the reference to a coordinate system: an object, or before 0.6 a name; `default` if it is missing."""
    if value is None:
        return SystemReference(default)
    if isinstance(value, str):
        return SystemReference(value)
    content = json_object(value, "reference to a coordinate system")
    path = content.get("path")
    return SystemReference(str(content.get("name", "")), path_inside(str(path).strip("/")) if path else None)


def _link_json(link: Link) -> OmeObject:
    content = transformation_json(link.transformation)
    ends = {"input": _reference_json(link.input), "output": _reference_json(link.output)}
    named = {} if link.name is None else {"name": link.name}
    return {"type": content.pop("type"), **named, **ends, **content}


def _reference_json(reference: SystemReference) -> OmeObject:
    return {"name": reference.name} | ({} if reference.path is None else {"path": reference.path})
