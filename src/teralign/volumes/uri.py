"""URIs of volumes: a path or an address, with an optional dataset inside.

`fix.n5/lowres`, `round2.zarr/s2`, `image.tif`, `s3://bucket/round2.zarr/s2`. An ending names the axis whose planes
are z, if a stack was saved with another axis: `stack.tif:z=t`.
"""

from __future__ import annotations

import difflib
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import overload

from teralign.addresses import Address, Place, as_place
from teralign.errors import InputError
from teralign.volumes.files import opening, read_json
from teralign.volumes.slice_names import holds_slices

FOLDER_SUFFIXES = {".n5": "n5", ".zarr": "zarr", ".precomputed": "precomputed"}
FILE_SUFFIXES = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".ims": "hdf5",
}
ARCHIVE_SUFFIXES = {".zarr.zip": "zarr", ".ozx": "zarr", ".n5.zip": "n5"}
_MARKERS = {
    "attributes.json": "n5",
    "zarr.json": "zarr",
    ".zgroup": "zarr",
    ".zarray": "zarr",
    ".zattrs": "zarr",
    "NDTiff.index": "ndtiff",
    "Full resolution/NDTiff.index": "ndtiff",
}
_READ = (
    "N5 (.n5), Zarr (.zarr), TIFF (.tif, .tiff), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), "
    "NIfTI (.nii, .nii.gz), HDF5 (.h5, .hdf5), Imaris (.ims), zipped Zarr and N5 (.zarr.zip, .ozx, .n5.zip), "
    "Neuroglancer precomputed (a folder with a file info), NDTiff folders and folders of slices (.tif, .tiff, .png)"
)
_BY_ADDRESS = "By address N5, Zarr and Neuroglancer precomputed can be read."
FIND_MASK = "auto"
"""In place of the URI of a mask: find the foreground."""

_NAMES_SHOWN = 20
_Z_ENDING = re.compile(r"(.+):z=([^/]*)")


@overload
def split_uri(uri: Path) -> tuple[Path, str]: ...
@overload
def split_uri(uri: str | Path) -> tuple[Place, str]: ...
def split_uri(uri: str | Path) -> tuple[Place, str]:
    """Return the container (a folder or a file) and the dataset inside it, "" for none.

    The container ends at the first part of the path with a format's suffix; a folder without one is recognised by the
    metadata files in it, or because it holds only slices. Raises InputError when neither is found, and for the
    address of a format that is read from disks only.
    """
    container, dataset, _ = locate(uri)
    return container, dataset


def locate(uri: str | Path) -> tuple[Place, str, str]:
    """Return the container, the dataset inside it and the format (the name of its module), as `split_uri`."""
    place, _ = split_z_axis(str(uri))
    path: Place = as_place(place)
    with opening(path):  # folders that may not be looked into
        return locate_by_name(path) or _locate_by_content(path, place)


def split_z_axis(uri: str) -> tuple[str, str]:
    """Split a URI into the place and the axis whose planes are z: "t", "c", or "" where the URI names none.

    Raises InputError for another axis.
    """
    match = _Z_ENDING.fullmatch(uri)
    if match is None:
        return uri, ""
    if match[2] not in ("t", "c"):
        raise InputError(f"{uri} ends in :z={match[2]}; only :z=t (timepoints) and :z=c (channels) are known.")
    return match[1], match[2]


def locate_by_name(path: Place) -> tuple[Place, str, str] | None:
    """Return the result of `locate` if the name alone is enough, else None; at an address nothing is read.

    Raises InputError for the address of a file that is read from disks only.
    """
    for part in (*reversed(path.parents), path):
        folder_form, file_form = (_by_suffix(part, known) for known in (FOLDER_SUFFIXES, FILE_SUFFIXES))
        archive_form = _by_suffix(part, ARCHIVE_SUFFIXES)
        if archive_form is not None and isinstance(part, Path) and not part.is_dir():
            container = _opened_archive(part)
            inside = PurePosixPath(_inside(path, part))
            top = container.path if inside.is_relative_to(container.path) else ""
            return container, "/".join(inside.relative_to(top).parts), archive_form
        if folder_form is not None:
            return part, _inside(path, part), folder_form
        if file_form is not None and isinstance(part, Address):
            raise InputError(f"{part} is read from a disk only; copy it to a disk and give its path. {_BY_ADDRESS}")
        if file_form is not None and isinstance(part, Path) and not part.is_dir():
            _check_regular(part)
            return part, _inside(path, part), file_form
    return None


def form_by_name(name: str) -> str:
    """Return the format of a file by the ending of its name, "" for none."""
    return _by_suffix(Path(name), FILE_SUFFIXES) or ""


def nearest_name(wanted: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known name, and the list."""
    names = sorted(names)
    if not names:
        return "it holds none"
    matches = difflib.get_close_matches(wanted, names, n=1)
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"did you mean {matches[0]}? It holds {shown}{more}" if matches else f"it holds {shown}{more}"


def no_dataset(container: Place, wanted: str, dataset: str, found: Callable[[Path], Iterable[Path]]) -> InputError:
    """Return the InputError for a container that lacks `wanted`; `found` lists its datasets."""
    if not isinstance(container, Path):
        archived = isinstance(container, Address) and container.archive is not None
        kind, kinds = ("archive", "archives") if archived else ("address", "addresses")
        return InputError(
            f"nothing that can be read is found at {container / dataset}; check the {kind} and the dataset, since "
            f"{kinds} are not searched."
        )
    if not container.is_dir():
        return InputError(f"there is no {container}; check the path.")
    names = [path.relative_to(container).as_posix() for path in found(container)]
    return InputError(f"{container} has {wanted}; {nearest_name(dataset, names)}.")


def _opened_archive(path: Path) -> Address:
    """Return the folder in an archive. Raises InputError when it cannot be read."""
    _check_regular(path)
    with opening(path):
        try:
            return Address.in_archive(path)
        except zipfile.BadZipFile as error:
            raise InputError(f"{path} is damaged: {error}; copy it again.") from error


def _check_regular(path: Path) -> None:
    """Raise InputError for a pipe or a device, from which a read may never end; a file may be missing."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file; choose another.")


def _by_suffix(path: Place, forms: Mapping[str, str]) -> str | None:
    name = path.name.lower()
    return next((form for suffix, form in forms.items() if name.endswith(suffix) and name != suffix), None)


def _inside(path: Place, container: Place) -> str:
    inside = path.relative_to(container).as_posix()
    return "" if inside == "." else inside


def _locate_by_content(path: Place, uri: str) -> tuple[Place, str, str]:
    """Recognise a folder without a suffix: the outermost around `path` that has the same metadata."""
    found: tuple[Place, str, str] | None = None
    for folder in (path, *path.parents):
        form = _form_of(folder)
        if found is not None and form != found[2]:
            break
        if form is not None:
            found = folder, _inside(path, folder), form
    if found is not None:
        return found
    if not isinstance(path, Path):
        raise InputError(f"nothing that can be read is found at {uri}; check the address. {_BY_ADDRESS}")
    if path.is_dir() and holds_slices(path):
        return path, "", "slices"
    if not path.exists():
        raise InputError(f"there is no {uri}; check the path.")
    raise InputError(f"{uri} is in no readable format; readable formats are {_READ}.")


def _form_of(folder: Place) -> str | None:
    marked = next((form for name, form in _MARKERS.items() if (folder / name).exists()), None)
    return "precomputed" if marked is None and _is_precomputed(folder) else marked


def _is_precomputed(folder: Place) -> bool:
    """Return whether the file `info` in a folder, a common name, is that of a precomputed volume."""
    try:
        return "scales" in read_json(folder / "info")
    except InputError:
        return False
