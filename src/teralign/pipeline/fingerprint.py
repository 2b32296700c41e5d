"""Fingerprints of datasets, which `-resume` compares, since Nextflow sees only the name and the time of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from teralign.errors import TeralignError
from teralign.uploads import METADATA_NAMES
from teralign.volumes import open_volume
from teralign.volumes.states import files_state, folder_state

_ANY = (1.0, 1.0, 1.0)  # µm: a voxel size, which some volumes lack


def fingerprint(container: Path, dataset: str) -> str:
    """Return a digest of the metadata from the container down to the dataset, and of the state of its files.

    `teralign.volumes.states` says what the state covers. Raises InputError when a file cannot be read.
    """
    if not container.is_dir():
        return _hex(files_state([container]))
    folder = container / dataset
    around = [*reversed([p for p in folder.parents if p.is_relative_to(container)]), folder]
    files = [path for at in around for path in (at / name for name in METADATA_NAMES) if path.is_file()]
    return _hex(*(path.read_bytes() for path in files), folder_state(folder))


def fingerprints_at(addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the digest of the volume at each address; empty if one cannot be opened, which the task reports.

    It is empty in buckets of gs:// too: their servers may need keys that only the tasks' machines have.
    """
    if any(address.startswith("gs://") for address in addresses.values()):
        return dict.fromkeys(addresses, "")
    try:
        return {use: open_volume(address, spacing=_ANY).digest() for use, address in addresses.items()}
    except TeralignError:
        return dict.fromkeys(addresses, "")


def _hex(*states: bytes) -> str:
    return hashlib.blake2b(b"\n".join(states), digest_size=16).hexdigest()
