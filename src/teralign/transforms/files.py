"""Transforms from the files that Teralign writes: affines as text, and folders of whole maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.transforms import bigstream
from teralign.transforms.affine import Affine
from teralign.transforms.scenes import load_map
from teralign.transforms.stack import Stack
from teralign.transforms.transform import Transform

_SAME = 1e-9  # of entries in µm: more than the rounding of a direction and its inverse


def load_stack(paths: Sequence[str | Path]) -> Stack:
    """Return the transforms of these files, outermost first; a folder may hold several.

    Raises InputError for a file that holds none, and for an affine that the map after it ends with already.
    """
    whole = Stack()
    affines: list[tuple[Path, Affine]] = []  # the unbroken run of them before a file
    for path in (Path(path).absolute() for path in paths):
        found = _load(path)
        for first in range(len(affines)) if path.is_dir() else ():
            if _ends_with(found, Stack(tuple(affine for _, affine in affines[first:]))):
                repeated = [file for file, _ in affines[first:]]
                raise InputError(
                    f"{path} is a whole map, which ends with {' and '.join(map(str, repeated))} already; leave out "
                    f"{' and '.join(file.name for file in repeated)}."
                )
        whole = whole @ found
        only = found.transforms[0].affine if len(found.transforms) == 1 else None
        affines = [*affines, (path, only)] if only is not None else []
    return whole


def load_transform(path: str | Path) -> Transform:
    """Return the only transform of a file. Raises InputError for a file that holds none, or several."""
    path = Path(path)
    parts = _load(path).transforms
    if len(parts) != 1:
        raise InputError(f"the map {path} has {len(parts)} parts, not one transform.")
    return parts[0]


def _load(path: Path) -> Stack:
    """Return the affine of a `.mat` or `.txt` file, or the map of a folder. Raises InputError for other files.

    A folder that is an array is a field of bigstream, whose first vector lies at 0.
    """
    if path.is_dir():
        return Stack((bigstream.open_field(path, None),)) if bigstream.is_field(path) else load_map(path)
    if not path.exists():
        raise InputError(f"there is no transform {path}.")
    if path.suffix not in {".mat", ".txt"}:
        raise InputError(
            f"the transform {path} must be a .mat or .txt file (4×4 numbers) or a .zarr folder (a map); "
            "convert-transform converts the files of other tools to these."
        )
    return Stack((Affine.from_file(path),))


def _ends_with(whole: Stack, last: Stack) -> bool:
    """Return whether a map ends with the affine that `last`, the product of affines, is.

    A field along oblique axes stands between their direction and its inverse, and the direction was multiplied into
    the affine; so the product of the affines on both sides of the fields counts too.
    """
    if not whole.transforms:
        return False
    end, affine = whole.transforms[0].affine, last.affine
    if end is None or affine is None:
        return False
    around = Stack(tuple(part for part in whole.transforms if part.affine is not None)).affine or end
    return np.array_equal(end.matrix, affine.matrix) or np.allclose(around.matrix, affine.matrix, rtol=0, atol=_SAME)
