"""The format of a transform file, detected from its content rather than its name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from teralign import ome
from teralign.errors import InputError
from teralign.files import refuse_device
from teralign.transforms import bigstream, itk_files, voxel_fields

_HEAD = 4096


class Kind(Enum):
    """The tool whose format a transform has."""

    TERALIGN = "teralign"
    ITK = "itk"
    ELASTIX = "elastix"
    BIGSTREAM = "bigstream"
    VOXELS = "rnr-exm"


def kind_of(path: Path) -> Kind:
    """Return the format of the transform at `path`: only a binary `.mat`, of ITK, contains zero bytes.

    Raises InputError when there is no file.
    """
    if path.is_dir():
        bare = not (path / ome.GROUP_FILE).exists() or bigstream.is_field(path)
        return Kind.BIGSTREAM if bare else Kind.TERALIGN
    in_hdf5 = voxel_fields.split_file(path)
    if in_hdf5 is not None and in_hdf5[1] and in_hdf5[0].exists():
        return Kind.VOXELS
    if not path.exists():
        raise InputError(f"there is no transform {path}.")
    if path.name.endswith((*itk_files.FIELD_SUFFIXES, *itk_files.COMPOSITE_SUFFIXES)):
        return Kind.ITK
    refuse_device(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
    if b"\0" in head or head.startswith((b"#Insight Transform File", b"MNI Transform File")):
        return Kind.ITK
    return Kind.ELASTIX if b"(Transform " in head else Kind.TERALIGN
