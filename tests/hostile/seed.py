"""What a campaign makes hostile: a good input, and the commands that read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hostile.mutations import any_bytes, any_json, any_text


@dataclass(frozen=True)
class Seed:
    """A good input: `write` makes it in a folder; `calls` are the commands that read it there.

    `changed` are patterns of the files that are made hostile, `codes` the exit codes with which a command may end.
    """

    name: str
    write: Callable[[Path], object]
    calls: Sequence[Sequence[str]]
    changed: Sequence[str] = ("*",)
    codes: Sequence[int] = (0, 2, 3)

    def files(self, folder: Path) -> list[Path]:
        """The files to change, the same ones in the same order wherever they were written."""
        found = {path for pattern in self.changed for path in folder.rglob(pattern) if path.is_file()}
        return sorted(found)


def change_of(path: Path) -> Callable[..., bytes]:
    """How a file is made hostile: as JSON, as text or as bytes."""
    if path.suffix == ".json" or path.name in (".zarray", ".zattrs", ".zgroup", "info"):
        return any_json
    return any_text if path.suffix in (".csv", ".yml", ".txt", ".tfm", ".nhdr", ".mhd", ".xml") else any_bytes
