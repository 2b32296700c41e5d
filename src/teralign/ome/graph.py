"""The graph of the coordinate systems of a group: those of its scene, of its images and of their levels.

Systems are nodes, and transformations are edges from their input to their output. See "Graph connectedness" in the
specification: https://ngff.openmicroscopy.org/0.6/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from teralign.errors import InputError
from teralign.ome.model import Axis
from teralign.ome.reading import OmeJson, OmeObject, path_inside
from teralign.ome.scene import (
    Link,
    OmeScene,
    SystemReference,
    read_link,
    read_ome,
    read_scene,
    read_systems,
    senseless,
)
from teralign.ome.writing import GROUP_FILE


@dataclass(frozen=True)
class Edge:
    """A transformation between two systems; paths in it begin at the folder `root`."""

    link: Link
    root: Path


@dataclass
class SystemGraph:
    """The systems of a group with their axes, and the transformations between them.

    `main` are the transformations of the scene, or of the image if there is no scene.
    """

    path: Path
    is_scene: bool = False
    axes: dict[SystemReference, tuple[Axis, ...]] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    main: list[Edge] = field(default_factory=list)

    @property
    def systems(self) -> set[SystemReference]:
        """All systems that are declared, or that a transformation names."""
        ends = {end for edge in self.edges for end in (edge.link.input, edge.link.output)}
        return ends | set(self.axes)


def shown(reference: SystemReference) -> str:
    """Return the name of a system for a sentence."""
    return "/".join(part for part in (reference.path, reference.name) if part)


def read_graph(path: Path) -> SystemGraph:
    """Read the graph of the group at `path`. Raises InputError for metadata that are missing or malformed."""
    graph = SystemGraph(path)
    scene = read_scene(path)
    if scene is None:
        graph.main = _add_image(graph, "")
        return graph
    graph.is_scene = True
    for system in scene.systems:
        graph.axes[SystemReference(system.name)] = system.axes
    links = [_resolved(graph, scene, link) for link in scene.links]
    graph.main = [Edge(link, path) for link in links]
    graph.edges += graph.main
    return graph


def _resolved(graph: SystemGraph, scene: OmeScene, link: Link) -> Link:
    source, target = (_end(graph, scene, reference) for reference in (link.input, link.output))
    return Link(link.transformation, source, target, link.name)


def _end(graph: SystemGraph, scene: OmeScene, reference: SystemReference) -> SystemReference:
    """Return the full reference of an end of a transformation, with the systems of its image added to the graph.

    A name that no system of the scene has may be the path of an image, as drafts of 0.6 allow.
    """
    image, name = reference.path, reference.name
    if image is None and name not in {system.name for system in scene.systems}:
        image, name = (name, "") if _is_group_inside(graph.path, name) else (None, name)
    image = image.strip("/") if image else None
    if image in (None, "."):
        return SystemReference(name)
    if not any(known.path == image for known in graph.axes) and _is_group(graph.path / image):
        _add_image(graph, image)
    if name:
        return SystemReference(name, image)
    intrinsic = _intrinsic(graph, image)
    return SystemReference("", image) if intrinsic is None else intrinsic


def _is_group_inside(group: Path, name: str) -> bool:
    try:
        return _is_group(group / path_inside(name.strip("/")))
    except (TypeError, ValueError):
        return False


def _is_group(place: Path) -> bool:
    try:
        return (place / GROUP_FILE).exists()
    except OSError:  # a name that no file can have
        return False


def _intrinsic(graph: SystemGraph, image: str) -> SystemReference | None:
    """Return the system that the levels of an image lead to."""
    inside = f"{image}/" if image else ""
    for edge in graph.edges:
        if (edge.link.input.path or "").startswith(inside) and edge.link.input.name == "" and edge.link.output.name:
            return edge.link.output
    return None


def _add_image(graph: SystemGraph, image: str) -> list[Edge]:
    """Add the systems of an image, and return its transformations beside those of its levels."""
    root = graph.path / image
    content = _multiscale(graph.path, root)
    try:
        owner = image or None
        for system in read_systems(content.get("coordinateSystems") or ()):
            graph.axes[SystemReference(system.name, owner)] = system.axes
        for dataset in content.get("datasets") or ():
            array = f"{image}/{path_inside(dataset['path'])}".lstrip("/")
            for declared in dataset.get("coordinateTransformations") or ():
                if isinstance(declared, Mapping) and declared.get("output"):
                    link = read_link(declared)
                    link = Link(link.transformation, SystemReference("", array), _of_image(link.output, owner))
                    graph.edges.append(Edge(link, root))
                    voxels = (Axis(f"dim_{i}", "array") for i in range(len(graph.axes.get(link.output, ()))))
                    graph.axes[link.input] = tuple(voxels)
        found = []
        for declared in (content.get("coordinateTransformations") or ()) if content.get("coordinateSystems") else ():
            link = read_link(declared)
            ends = (_of_image(link.input, owner), _of_image(link.output, owner))
            found.append(Edge(Link(link.transformation, *ends, link.name), root))
    except InputError:  # a ValueError too
        raise
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise senseless(root, error) from error
    graph.edges += found
    return found


def _of_image(reference: SystemReference, image: str | None) -> SystemReference:
    return SystemReference(reference.name, image)


def _multiscale(path: Path, group: Path) -> OmeJson:
    """Return the (first) image that a group declares, {} for none."""
    attributes: OmeObject = read_ome(path, group)
    declared = attributes.get("multiscales") or [{}]
    content: OmeJson = declared[0] if isinstance(declared, list) and isinstance(declared[0], Mapping) else {}
    return content
