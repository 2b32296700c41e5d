"""Look up the volumes that parameters name: the files to stage, and the dataset that each task reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from teralign.addresses import Address
from teralign.errors import InputError
from teralign.pipeline.entries import check_name
from teralign.pipeline.fingerprint import fingerprint, fingerprints_at
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
    """The scale that a task reads; where it is `optional`, an image without it is read at its finest level.

    `size` is the voxel size in µm of a scale that was chosen for the user, None for one that the user named. `name`
    is "" for an image of one level.
    """

    option: str
    name: str
    optional: bool = False
    size: float | None = None


@dataclass(frozen=True)
class Located:
    """A volume that has been found: by use its dataset inside `container`, or its address.

    `group` is what the URI names inside the container. `is_array` is True if that is an array, a file or a folder of
    slices, and not a group of scales. `z_axis` is the axis whose planes are z, "" if the URI names no axis.
    """

    given: Given
    uri: str
    container: Path | None
    group: str = ""
    is_array: bool = False
    z_axis: str = ""
    datasets: Mapping[str, str] = field(default_factory=dict)

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
            return StagedVolume(None, self.uri, self.name, self.datasets, fingerprints_at(self.datasets))
        for use in self.datasets:  # the names inside are those of metadata
            check_name(self.dataset_uri(use), self.given)
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


def find_volume(uri: str, given: Given) -> Located:
    """Find a volume, as yet without the datasets of uses. Addresses are not looked up.

    Raises InputError, which names the parameter, for a volume that does not exist.
    """
    check_name(uri, given)
    try:
        place, z_axis = split_z_axis(uri)
    except InputError as error:
        raise given.refuse(str(error)) from error
    if is_address(uri):
        return _at_address(place, given, z_axis)
    container, group = _container(absolute(place, given), given)
    is_array = bool(z_axis) or is_image(container, group)
    return Located(given, uri, container, group, is_array, z_axis)


def select_scales(located: Located, scales: Mapping[str, Scale]) -> Located:
    """Return a volume with its dataset for each use.

    An address that ends in one of the scales is taken for an array, any other address for a group that has these
    scales. Raises InputError, which names the parameter, for a scale that does not exist.
    """
    if located.container is None:
        address = located.uri
        if located.z_axis:
            return replace(located, datasets=dict.fromkeys(scales, f"{address}:z={located.z_axis}"))
        whole = any(address.endswith(f"/{scale.name}") for scale in scales.values())
        found = {
            use: address if whole or scale.optional else f"{address}/{scale.name}" for use, scale in scales.items()
        }
    elif located.is_array:
        found = dict.fromkeys(scales, located.group)
    else:
        found = {
            use: _dataset(located.container, located.group, scale, located.given) for use, scale in scales.items()
        }
    return replace(located, datasets=found)


def has_scale(located: Located, name: str) -> bool:
    """Return whether a volume has a dataset of this name; True for one that has no scales, or is not looked up."""
    if located.container is None or located.is_array:
        return True
    try:
        open_anyhow(located.container, "/".join(filter(None, (located.group, name))))
    except InputError:
        return False
    return True


def is_address(uri: str) -> bool:
    """Return whether a URI is an address, and not a path."""
    return _ADDRESS.fullmatch(uri) is not None


def absolute(uri: str, given: Given) -> Path:
    """Return a path that a user gave as an absolute one; links are kept.

    Raises InputError for one that the scripts of tasks cannot quote.
    """
    try:
        path = given.folder.absolute() / Path(uri).expanduser()
    except RuntimeError as error:
        raise given.refuse(f"{uri} names no home folder; give a name that begins with ~ as ./~name.") from error
    check_name(str(path), given)
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." and len(parts) > 1 else [*parts, part]
    return Path(*parts)


def _at_address(uri: str, given: Given, z_axis: str) -> Located:
    if not _READABLE.fullmatch(uri):
        raise given.refuse(
            f"{uri} cannot be read: of addresses only s3://, gs://, http:// and https:// with a path can."
        )
    try:
        locate_by_name(Address.parse(uri))
    except InputError as error:
        raise given.refuse(str(error)) from error
    return Located(given, uri.rstrip("/"), None, is_array=bool(z_axis), z_axis=z_axis)


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


def is_image(container: Path, group: str) -> bool:
    """Return whether a dataset is one image: an array, a file or a folder of slices, not a group of scales."""
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

    if is_address(uri):
        raise given.refuse(f"{uri} cannot be read: tables of points are read from a disk only.")
    table = absolute(uri, given)
    if not table.is_file():
        raise given.refuse(f"{table} does not exist.")
    try:
        check_point_table(table)
    except InputError as error:
        raise given.refuse(str(error)) from error
    return table
