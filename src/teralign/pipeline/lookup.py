"""Look up the volumes that parameters name: the files to stage, and the dataset that each task reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teralign.addresses import Address
from teralign.errors import InputError
from teralign.pipeline.entries import check_name
from teralign.pipeline.fingerprint import fingerprint
from teralign.pipeline.parameters import Given
from teralign.pipeline.resolved import StagedVolume
from teralign.volumes import Volume, open_level
from teralign.volumes.collections import enter_collections
from teralign.volumes.uri import locate, locate_by_name, nearest_name, split_z_axis

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*")
_READABLE = re.compile(r"(s3|gs|https?)://[^/]+/.+", re.IGNORECASE)
_LEVEL = re.compile(r"s\d+")


@dataclass(frozen=True)
class Scale:
    """The scale that a task reads; where it is `optional`, an image without it is read at its finest level."""

    option: str
    name: str
    optional: bool = False


@dataclass(frozen=True)
class Located:
    """A volume that has been found: by use its dataset inside `container`, or its address.

    `is_array` is True if the user named an array, a file or a folder of slices, and not a group of scales. `z_axis`
    is the axis whose planes are z, "" if the URI names no axis.
    """

    given: Given
    uri: str
    container: Path | None
    datasets: Mapping[str, str]
    is_array: bool = False
    z_axis: str = ""

    @property
    def name(self) -> str:
        """The name of the container."""
        if self.container is not None:
            return self.container.name
        match = re.match(r"(.+?\.(?:n5|zarr|precomputed))/.*$", self.uri, re.IGNORECASE)
        return (match[1] if match else self.uri).split("/")[-1]

    @property
    def stem(self) -> str:
        """The name without its ending, for names of results."""
        return stem(self.name)

    def dataset_uri(self, use: str) -> str:
        """Return the URI of the dataset of a use."""
        dataset = self.datasets[use]
        if self.container is None:
            return dataset
        return self._ended(f"{self.container}/{dataset}" if dataset else str(self.container))

    def staged(self) -> StagedVolume:
        """Return the volume as the pipeline takes it."""
        if self.container is None:
            return StagedVolume(None, self.uri, self.name, self.datasets, dict.fromkeys(self.datasets, ""))
        return StagedVolume(
            self.container,
            None,
            self.name,
            {use: self._ended("/".join(filter(None, (self.name, path)))) for use, path in self.datasets.items()},
            {use: fingerprint(self.container, dataset) for use, dataset in self.datasets.items()},
        )

    def _ended(self, uri: str) -> str:
        return f"{uri}:z={self.z_axis}" if self.z_axis else uri


def stem(name: str) -> str:
    """Return a file's name without its endings; underscores replace all but letters, digits, dots and dashes."""
    known = (
        r"(\.ome)?\.(n5\.zip|zarr\.zip|n5|zarr|precomputed|ozx|tiff?|nrrd|nhdr|mhd|mha|nii(\.gz)?|h5|hdf5|ims|csv)$"
    )
    return re.sub(r"[^A-Za-z0-9._-]", "_", re.sub(known, "", name, flags=re.IGNORECASE))


def locate_volume(uri: str, given: Given, scales: Mapping[str, Scale]) -> Located:
    """Find a volume and its dataset for each use.

    Addresses are not looked up: an address that ends in one of the scales is taken for an array, any other address
    for a group that has these scales. Raises InputError, which names the parameter, for a volume that does not exist.
    """
    check_name(uri, given)
    try:
        place, z_axis = split_z_axis(uri)
    except InputError as error:
        raise given.refuse(str(error)) from error
    if _ADDRESS.fullmatch(uri):
        return _at_address(place, given, scales, z_axis)
    path = absolute(place, given)
    container, group = _container(path, given)
    if z_axis or _is_array(container, group):
        return Located(given, uri, container, dict.fromkeys(scales, group), is_array=True, z_axis=z_axis)
    found = {use: _dataset(container, group, scale, given) for use, scale in scales.items()}
    return Located(given, uri, container, found)


def absolute(uri: str, given: Given) -> Path:
    """Return a path that a user gave as an absolute one; links are kept."""
    path = given.folder.absolute() / Path(uri).expanduser()
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." and len(parts) > 1 else [*parts, part]
    return Path(*parts)


def _at_address(uri: str, given: Given, scales: Mapping[str, Scale], z_axis: str) -> Located:
    if not _READABLE.fullmatch(uri):
        raise given.refuse(
            f"{uri} cannot be read: of addresses only s3://, gs://, http:// and https:// with a path can."
        )
    try:
        locate_by_name(Address.parse(uri))
    except InputError as error:
        raise given.refuse(str(error)) from error
    address = uri.rstrip("/")
    if z_axis:
        found = dict.fromkeys(scales, f"{address}:z={z_axis}")
        return Located(given, address, None, found, is_array=True, z_axis=z_axis)
    whole = any(address.endswith(f"/{scale.name}") for scale in scales.values())
    found = {use: address if whole or scale.optional else f"{address}/{scale.name}" for use, scale in scales.items()}
    return Located(given, address, None, found)


def _container(path: Path, given: Given) -> tuple[Path, str]:
    """Split a path into the container to stage and the group or dataset inside it."""
    try:
        container, group, form = locate(path)
        if form == "zarr" and (isinstance(container, Address) or container.exists()):
            group = enter_collections(container, group)
    except InputError as error:
        if not path.exists():
            raise given.refuse(f"{path} does not exist.") from error
        raise given.refuse(str(error)) from error
    if isinstance(container, Address) and container.archive is not None:
        inside = "/".join(filter(None, (container.path.as_posix().removeprefix("."), group)))
        return container.archive, inside
    assert isinstance(container, Path)
    if not container.exists():
        raise given.refuse(f"{container} does not exist.")
    return container, group


def _dataset(container: Path, group: str, scale: Scale, given: Given) -> str:
    """Return the dataset of a scale of a group."""
    named = "/".join(filter(None, (group, scale.name)))
    try:
        open_anyhow(container, named)
    except InputError as error:
        if (container / named).is_dir() or (container.is_file() and not scale.optional):
            raise given.refuse(str(error)) from error
    else:
        return named
    if scale.optional:
        return group
    base = container / group
    if group and container.is_dir() and not base.exists():
        raise given.refuse(f"{container} has no {group} in it.")
    names = (
        sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")) if base.is_dir() else []
    )
    raise given.refuse(f"{base} has no scale {scale.name} (--{scale.option}); {nearest_name(scale.name, names)}.")


def _is_array(container: Path, group: str) -> bool:
    """Return whether a path names one image: an array, a file or a folder of slices, not a group of scales."""
    try:
        volume = open_anyhow(container, group)
    except InputError:
        return container.is_file()
    if not group and any(_LEVEL.fullmatch(scale) for scale in volume.scales) and container.is_file():
        return False  # a TIFF with levels
    stored = volume.stored
    if stored is None or [str(place) for place in stored.places] == [str(container / group)]:
        return True
    channels = len(stored.places) > 1  # of N5, each in a group of its own: c0/s2, c1/s2
    return channels and all(place.name == (container / group).name for place in stored.places)


def open_anyhow(container: Path, dataset: str) -> Volume:
    """Open a dataset whether or not its metadata say how large its voxels are."""
    return open_level(container / dataset, spacing=(1.0, 1.0, 1.0))


def locate_table(uri: str, given: Given) -> Path:
    """Find a table of points and check its header and first row. Raises InputError for any other file."""
    from teralign.transforms import check_point_table  # imports the compiled loops, which most runs do not need

    if _ADDRESS.fullmatch(uri):
        raise given.refuse(f"{uri} cannot be read: tables of points are read from a disk only.")
    table = absolute(uri, given)
    if not table.is_file():
        raise given.refuse(f"{table} does not exist.")
    try:
        check_point_table(table)
    except InputError as error:
        raise given.refuse(str(error)) from error
    return table
