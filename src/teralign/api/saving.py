"""Registrations written to files: the map as the commands write it, and beside it a JSON with the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teralign.alignment import StageSummary
from teralign.api.frames import Frame
from teralign.errors import InputError
from teralign.files import remove
from teralign.registration import StepReport
from teralign.results import write_json
from teralign.tasks.inputs import check_new_file
from teralign.transforms import Stack, save_map
from teralign.trust import Assessment


@dataclass(frozen=True)
class SavedRegistration:
    """The content of NAME.registration.json; `transform` is the name of the map beside it."""

    transform: str
    fixed: Frame
    moving: Frame
    steps: tuple[StepReport, ...]
    blocks: StageSummary | None
    verdict: str
    assessment: Assessment | None


def save_registration(path: Path, transform: Stack, rest: SavedRegistration, *, overwrite: bool) -> None:
    """Write a registration as `Registration.save` says."""
    if path.suffix not in (".zarr", ".mat"):
        raise InputError(f"{path} must end in .zarr, or in .mat for an affine alone.")
    affine = transform.affine
    if path.suffix == ".mat" and affine is None:
        raise InputError(f"{path} must be a .zarr, since the map holds a displacement field.")
    record = record_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, record):
        check_new_place(file, overwrite=overwrite)
        check_new_file(file, overwrite=True)
    remove(record)  # it would not fit the new map, if this is cut off
    if path.suffix == ".mat" and affine is not None:
        affine.save(path)
    else:
        save_map(path, transform.simplified(), overwrite=overwrite)
    write_json(record, rest)


def check_new_place(path: Path, *, overwrite: bool) -> None:
    """Raise InputError for a path that exists, which `overwrite` allows; in the words of Python, not of commands."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or give overwrite=True.")


def record_of(path: Path) -> Path:
    """Return the file beside a map that has the rest of its registration."""
    return path.with_suffix(".registration.json")
