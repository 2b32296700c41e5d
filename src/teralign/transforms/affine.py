"""Affine maps of physical points, and their text files.

A matrix is 4×4, applied to (z, y, x, 1) in µm, and takes fixed points to moving points. Its file is plain text: four
lines of four numbers.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.errors import InputError
from teralign.files import refuse_device, writing
from teralign.grids import Floats

_LONGEST_TEXT = 1 << 16
MAX_CONDITION = 1e9  # of the 3×3 part; beyond it a map is flat and has no useful inverse


@dataclass(frozen=True, eq=False)
class Affine:
    """The map x ↦ A x + t: `matrix` is 4×4 in µm, zyx. Raises ValueError when it is no invertible affine."""

    matrix: Floats

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        fault = _fault(matrix)
        if fault:
            raise ValueError(f"an affine matrix {fault}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Affine:
        """Return the map that moves nothing."""
        return cls(np.eye(4))

    @classmethod
    def from_parts(cls, linear: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
        """Return the map of a 3×3 matrix and a translation in µm."""
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = translation
        return cls(matrix)

    @classmethod
    def nearest(cls, points: ArrayLike, images: ArrayLike) -> Affine:
        """Return the affine that takes points (n, 3) closest to their images (n, 3), by least squares.

        Across a plane or a line in which all points lie it changes nothing.
        """
        places, moved = np.asarray(points, dtype=np.float64), np.asarray(images, dtype=np.float64)
        centre, shift = places.mean(axis=0), (moved - places).mean(axis=0)
        slope = np.linalg.lstsq(places - centre, moved - places - shift, rcond=None)[0].T
        return cls.from_parts(np.eye(3) + slope, shift - slope @ centre)

    @classmethod
    def from_file(cls, path: str | Path) -> Affine:
        """Read four lines of four numbers. Raises InputError when the file holds anything else."""
        path = Path(path)
        refuse_device(path)
        try:
            with path.open() as file:
                text = file.read(_LONGEST_TEXT)  # of a longer one, the beginning is no affine either
            matrix = np.array([[float(n) for n in line.split()] for line in text.splitlines() if line.strip()])
        except OSError as error:
            raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise InputError(
                f"the transform {path} must be a text file with four lines of four numbers; convert-transform "
                "converts the files of other tools to it."
            ) from error
        fault = _fault(matrix)
        if fault:
            raise InputError(f"the affine matrix in {path} {fault}.")
        return cls(matrix)

    def save(self, path: str | Path) -> None:
        """Write the matrix so that reading gives the same bits; the file is there whole or not at all."""
        with writing(Path(path)) as file:
            np.savetxt(file, self.matrix, fmt="%.17g")

    @property
    def affine(self) -> Affine:
        """The affine itself."""
        return self

    @property
    def grid(self) -> None:
        """None: an affine has no nodes."""
        return None

    @property
    def loaded(self) -> Affine:
        """The affine itself, which is always in memory."""
        return self

    def load(self, low: ArrayLike, high: ArrayLike) -> Affine:
        """Return the affine itself."""
        return self

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm; `threads` is unused, as the protocol has it."""
        mapped: Floats = np.asarray(points, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return mapped

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points (n, 3) whose images are `points` (n, 3), and a mask (n,) that is True everywhere."""
        found = self.inverse().map_points(points)
        return found, np.ones(len(found), dtype=bool)

    def digest(self) -> str:
        """Return a fingerprint of the numbers."""
        return hashlib.sha256(self.matrix.tobytes()).hexdigest()

    def inverse(self) -> Affine:
        """Return the inverse map."""
        matrix = np.linalg.inv(self.matrix).astype(np.float64)
        matrix[3] = 0, 0, 0, 1
        return Affine(matrix)

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of the smallest box that holds the image of a box (µm)."""
        corners = self.map_points(list(itertools.product(*zip(np.asarray(low), np.asarray(high), strict=True))))
        return corners.min(axis=0), corners.max(axis=0)

    def __matmul__(self, first: Affine) -> Affine:
        """Return the map that applies `first`, then this one."""
        return Affine(product(self.matrix, first.matrix))


def product(a: Floats, b: Floats) -> Floats:
    """Return the product of 4×4 matrices, summed in one fixed order: the same bits on every processor."""
    terms = a[:, :, None] * b[None, :, :]
    result: Floats = ((terms[:, 0] + terms[:, 1]) + terms[:, 2]) + terms[:, 3]
    return result


def _fault(matrix: Floats) -> str:
    """Return why a matrix is no invertible affine, as the end of a sentence; empty if it is one."""
    if matrix.shape != (4, 4):
        return f"must have four rows of four numbers, not shape {matrix.shape}"
    if not np.isfinite(matrix).all():
        return "has entries that are NaN or infinite"
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        return f"must have the last row 0 0 0 1, not {' '.join(f'{v:g}' for v in matrix[3])}"
    if not np.linalg.cond(matrix[:3, :3]) < MAX_CONDITION:
        return "is singular: it flattens space, so nothing can be aligned by it"
    return ""
