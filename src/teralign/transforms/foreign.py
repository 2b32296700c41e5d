"""Transforms in anybody's files, told apart by what the files hold."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from teralign import ome
from teralign.errors import InputError
from teralign.transforms import bigstream, itk_files

_HEAD = 4096


class Kind(Enum):
    """Whose transform a file or folder is."""

    OURS = "ours"
    ITK = "itk"
    ELASTIX = "elastix"
    BIGSTREAM = "bigstream"


def kind_of(path: Path) -> Kind:
    """Whose transform is at `path`: ITK's MATLAB files have zeros where ours, of the same name, are text.

    Raises InputError when nothing is there.
    """
    if path.is_dir():
        bare = not (path / ome.GROUP_FILE).exists() or bigstream.is_field(path)
        return Kind.BIGSTREAM if bare else Kind.OURS
    if not path.exists():
        raise InputError(f"there is no transform {path}.")
    if path.name.endswith((*itk_files.FIELD_SUFFIXES, *itk_files.COMPOSITE_SUFFIXES)):
        return Kind.ITK
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
    if b"\0" in head or head.startswith((b"#Insight Transform File", b"MNI Transform File")):
        return Kind.ITK
    return Kind.ELASTIX if b"(Transform " in head else Kind.OURS
