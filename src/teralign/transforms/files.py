"""Transforms from the files that Teralign writes."""

from __future__ import annotations

from pathlib import Path

from teralign.errors import InputError
from teralign.transforms.affine import Affine
from teralign.transforms.stored import StoredField


def load_transform(path: str | Path) -> Affine | StoredField:
    """Return the affine of a `.mat` or `.txt` file, or the field of a folder. Raises InputError for other files."""
    path = Path(path)
    if path.is_dir():
        return StoredField.open(path)
    if not path.exists():
        raise InputError(f"there is no transform {path}.")
    if path.suffix not in {".mat", ".txt"}:
        raise InputError(
            f"the transform {path} must be a .mat or .txt file (4×4 numbers) or a .zarr folder (a field); "
            "convert-transform converts the files of other tools to these."
        )
    return Affine.from_file(path)
