"""Voxels of files that are one image and are opened in one piece: mapped into memory, or read into it whole."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import numpy as np

from teralign.errors import InputError
from teralign.grids import Region
from teralign.volumes.description import Voxels


@dataclass
class WholeFilePixels(ABC):
    """The voxels of a file, kept in memory from the first read on. Pickled without them."""

    path: Path
    _array: Voxels | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of `region`, C order, native byte order.

        Raises DataError when they cannot be read.
        """
        with self._lock:
            if self._array is None:
                self._array = self._load()
        found = self._array[timepoint][region.slices][..., channel]
        return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("="))

    @abstractmethod
    def _load(self) -> Voxels:
        """Return all voxels as (t, z, y, x, c), in any byte order. Raises DataError when they cannot be read."""


def check_one_image(path: Path, dataset: str) -> None:
    """Raise InputError where a dataset is named in a file that is one image."""
    if dataset:
        raise InputError(f"{path} is one image and holds no dataset {dataset}; give only the file.")
