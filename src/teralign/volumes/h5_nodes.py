"""HDF5 files and their nodes, through h5py, which has no types and is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from teralign.errors import InputError

H5Node: TypeAlias = Any
"""A file, group, dataset or attribute of h5py."""


def import_h5py(path: Path) -> H5Node:
    """Return the module h5py. Raises InputError, which names the file that needs it, where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path} is an HDF5 file, which needs h5py; install it with: pip install 'teralign[hdf5]'."
        ) from error
    return h5py
