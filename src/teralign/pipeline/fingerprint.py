"""Fingerprints of datasets, which `-resume` compares, since Nextflow sees only the name of a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from teralign.uploads import METADATA_NAMES

_MAX_ENTRIES = 5000
_MAX_DEEPER = 10000


def fingerprint(container: Path, dataset: str) -> str:
    """Return a digest of the metadata from the container down to the dataset, and of the times of its files.

    Files and folders count two levels down. Empty for a single file, which Nextflow looks at itself.
    """
    if not container.is_dir():
        return ""
    folder = container / dataset
    around = [*reversed([p for p in folder.parents if p.is_relative_to(container)]), folder]
    metadata = [
        path.read_text("utf-8") for at in around for path in (at / name for name in METADATA_NAMES) if path.is_file()
    ]
    chunks = folder / "c"
    entries = _listing(chunks if chunks.is_dir() else folder, _MAX_ENTRIES)
    parts = [entry for entry in entries if entry.is_dir()]
    share = max(1, _MAX_DEEPER // max(1, len(parts)))
    deeper = [entry for part in parts for entry in _listing(part, share)]
    times = [f"{entry.relative_to(container)} {entry.stat().st_mtime_ns}" for entry in (*entries, *deeper)]
    return hashlib.md5("\n".join((*metadata, *times)).encode(), usedforsecurity=False).hexdigest()


def _listing(folder: Path, limit: int) -> list[Path]:
    return sorted(folder.iterdir())[:limit] if folder.is_dir() else []
