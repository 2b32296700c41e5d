"""The names of the 2-D slices in a folder: they differ only in one number, which counts along z in even steps."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.volumes.files import opening

_ENDINGS = (".tif", ".tiff", ".png")
_NOTES = (
    ".txt", ".log", ".csv", ".tsv", ".xml", ".json", ".yaml", ".yml", ".ini", ".cfg", ".md", ".pdf", ".html", ".htm",
    ".doc", ".docx", ".xls", ".xlsx", ".lnk",
)  # fmt: skip
_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "icon\r")
"""Files that desktops put into folders of images, besides hidden files."""


@dataclass(frozen=True)
class SliceNames:
    """Slice i of `count` is called before, first + i · step with `width` digits, after; 0 digits for a single one."""

    folder: Path
    before: str
    after: str
    width: int
    first: int
    step: int
    count: int

    def path(self, index: int) -> Path:
        """Return the file of a slice, counted from 0."""
        if not self.width:
            return self.folder / self.before
        return self.folder / f"{self.before}{self.first + index * self.step:0{self.width}d}{self.after}"


def holds_slices(folder: Path) -> bool:
    """Return whether a folder holds images that may be slices; `find_slices` says whether it holds others."""
    with opening(folder), os.scandir(folder) as entries:
        return any(_is_slice(entry.name) and entry.is_file() for entry in entries)


def find_slices(folder: Path, pattern: str = "") -> SliceNames:
    """Return the slices of a folder, by their number; notes and files of desktops are ignored.

    With a pattern those whose names match it, even a single one, are the slices, and all other files are ignored.
    Raises InputError if their names give no single order, or if there are other files among them.
    """
    names, strangers = [], []
    with opening(folder), os.scandir(folder) as entries:
        for entry in entries:
            if pattern and not fnmatch.fnmatchcase(entry.name, pattern):
                continue
            if _is_slice(entry.name) and entry.is_file():
                names.append(entry.name)
            elif not (entry.name.startswith(".") or (entry.is_file() and _is_passed_over(entry.name))):
                strangers.append(entry.name)
    if strangers:
        raise InputError(
            f"{folder} is in no readable format: it holds images, but also {min(strangers)}; if the images "
            "are slices of a volume, put them into a folder of their own."
        )
    if not names:
        raise InputError(f"{folder} holds no image called {pattern}; check the names of its files.")
    names.sort()
    parts = {name: re.split(r"(\d+)", name) for name in names}
    first = parts[names[0]]
    stranger = next((name for name in names if parts[name][::2] != first[::2]), None)
    if stranger is not None:
        raise InputError(f"{folder} has slices that are not named alike, such as {names[0]} and {stranger}.")
    varying = [i for i in range(1, len(first), 2) if len({part[i] for part in parts.values()}) > 1]
    if len(varying) > 1:
        raise InputError(
            f"{folder} has slices with more than one number that counts, such as {names[0]} and {names[-1]}; "
            "put each channel and timepoint into a folder of its own."
        )
    if not varying and pattern:
        return SliceNames(folder, names[0], "", 0, 0, 1, 1)
    if not varying:
        raise InputError(f"{folder} has one image only, {names[0]}; a volume has several slices.")
    at = varying[0]
    digits = sorted((part[at] for part in parts.values()), key=int)
    before, after = "".join(first[:at]), "".join(first[at + 1 :])
    return _evenly_numbered(folder, before, after, digits)


def _evenly_numbered(folder: Path, before: str, after: str, digits: Sequence[str]) -> SliceNames:
    """Return the names with these numbers, in their order; raises InputError where one seems to be missing."""
    numbers = [int(number) for number in digits]
    width = max((len(number) for number in digits if number.startswith("0")), default=1)
    step = min(b - a for a, b in itertools.pairwise(numbers))
    names = SliceNames(folder, before, after, width, numbers[0], step, len(numbers))
    for index, number in enumerate(digits):
        expected, name = names.path(index).name, f"{before}{number}{after}"
        if name != expected:
            raise InputError(
                f"{folder} has slices that are not evenly numbered: {name} comes where {expected} should; "
                "add what is missing, or rename them."
            )
    return names


def _is_slice(name: str) -> bool:
    return name.lower().endswith(_ENDINGS) and not name.startswith(".")


def _is_passed_over(name: str) -> bool:
    """Return whether a file is a note, or left behind by a desktop: not an image."""
    return name.lower().endswith(_NOTES) or name.lower() in _LEFT_BEHIND
