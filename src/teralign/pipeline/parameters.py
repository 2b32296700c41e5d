"""The parameters of a run and the cells of a samplesheet: the values that are given, and their names in messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError

# Addresses may hold commas, so that semicolons separate several of them.
_ADDRESSES = {"apply_to", "initial_transform", "global_transform", "local_transform"}


@dataclass(frozen=True)
class Given:
    """A value that a user gave, the folder where its relative paths start, and the name of its place in messages."""

    text: str
    folder: Path
    where: str

    def refuse(self, reason: str) -> InputError:
        """Return the error of this value."""
        return InputError(f"{self.where}: {reason}")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a pair: those of its row, and for what the row leaves empty those of the run.

    `values` are the run's parameters, with paths from `folder`. `row` has the cells of a samplesheet in
    `sheet_folder`, and `row_name` is how messages call it.
    """

    values: Mapping[str, object]
    folder: Path
    row: Mapping[str, str] | None = None
    sheet_folder: Path = Path()
    row_name: str = ""

    def own(self, name: str) -> Given | None:
        """Return the value of a pair's row, or of the run where there are no rows; None where it is empty."""
        if self.row is None:
            return self.shared(name)
        text = as_text(self.row.get(name))
        return None if text is None else Given(text, self.sheet_folder, f"{self.row_name}, {name}")

    def shared(self, name: str) -> Given | None:
        """Return the value for the whole run, None where it is not given."""
        text = as_text(self.values.get(name), separator=";" if name in _ADDRESSES else ",")
        return None if text is None else Given(text, self.folder, f"--{name}")

    def get(self, name: str) -> Given | None:
        """Return the value of the row, else that of the run, None where neither is given."""
        return self.own(name) or self.shared(name)

    def first(self, names: Sequence[str]) -> tuple[str, Given]:
        """Return the first of several parameters that is given, with its name. Raises InputError where none is."""
        for name in names:
            found = self.get(name)
            if found is not None:
                return name, found
        raise InputError(f"--{names[-1]} is missing: it names the dataset inside fixed and moving, such as s2.")


def as_text(value: object, *, separator: str = ",") -> str | None:
    """Return a value as text, None where it is not given: 0 and false are values, an empty text is none.

    A list becomes its values with the separator between them.
    """
    if value is None:
        return None
    if isinstance(value, list):
        return separator.join(filter(None, map(as_text, value))) or None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip() or None
