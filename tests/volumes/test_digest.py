"""A digest of a volume, which takes seconds, notices a changed voxel; without a change it stays the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from teralign.volumes import open_volume, states
from teralign.volumes.states import folder_state
from volume_files import EVERY_FORMAT, noise, write_n5

SHAPE = (8, 24, 20)


def changed(array: np.ndarray) -> np.ndarray:
    other = array.copy()
    other[4, 11, 9] ^= 1
    return other


def replace_in_place(target: Path, source: Path) -> int:
    """Give files the content of others where it differs, and their times from before; returns how many."""
    pairs = [(old, source / old.relative_to(target)) for old in (target, *target.rglob("*")) if old.is_file()]
    differing = [(old, new) for old, new in pairs if old.read_bytes() != new.read_bytes()]
    for old, new in differing:
        status = old.stat()
        old.write_bytes(new.read_bytes())
        os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    return len(differing)


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_a_changed_voxel_is_noticed_in_every_format_even_if_times_are_kept(name, tmp_path):
    array = noise(SHAPE, "uint16")
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    path, _ = EVERY_FORMAT[name].write(tmp_path / "one", array)
    other, _ = EVERY_FORMAT[name].write(tmp_path / "other", changed(array))
    before = open_volume(path, spacing=(1, 1, 1)).digest()
    assert open_volume(path, spacing=(1, 1, 1)).digest() == before
    inside = path.relative_to(tmp_path / "one")
    top = tmp_path / "one" / inside.parts[0], tmp_path / "other" / inside.parts[0]
    assert other.relative_to(tmp_path / "other") == inside
    assert replace_in_place(*top) >= 1
    assert open_volume(path, spacing=(1, 1, 1)).digest() != before


def test_a_copy_of_the_metadata_at_another_place_is_another_volume(tmp_path):
    write_n5(tmp_path / "a.n5", noise(SHAPE, "uint16"))
    shutil.copytree(tmp_path / "a.n5", tmp_path / "b.n5")
    digests = {open_volume(tmp_path / name, spacing=(1, 1, 1)).digest() for name in ("a.n5", "b.n5")}
    assert len(digests) == 2


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A folder of more files than are looked at one by one: 12 folders of 40."""
    monkeypatch.setattr(states, "_ENTRIES", 60)
    monkeypatch.setattr(states, "_CONTENTS", 4)
    for number in range(12 * 40):
        chunk = tmp_path / "array" / str(number // 40) / str(number % 40)
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(number.to_bytes(2, "big"))
    return tmp_path / "array"


def test_in_a_large_array_a_chunk_replaced_by_renaming_is_noticed_wherever_it_lies(many):
    seen = {folder_state(many)}
    assert folder_state(many) in seen
    for number in (0, 200, 479):
        chunk = many / str(number // 40) / str(number % 40)
        made = chunk.with_name("new.tmp")
        made.write_bytes(b"other")
        made.replace(chunk)
        seen.add(folder_state(many))
    assert len(seen) == 4


def test_of_a_large_array_only_some_files_are_read_and_looked_at(many, monkeypatch):
    read = []
    monkeypatch.setattr(states, "_content", lambda path, size: read.append(path) or b"")
    folder_state(many)
    assert len(read) == 4


def test_the_content_of_a_large_file_is_read_in_pieces(tmp_path):
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(40 << 20)
    before = states.files_state([big])
    status = big.stat()
    with big.open("r+b") as file:
        file.seek((40 << 20) - 1)
        file.write(b"x")
    os.utime(big, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert states.files_state([big]) != before


def test_a_changed_voxel_is_noticed_in_a_bucket_by_the_versions_of_chunks(bucket, tmp_path):
    array = noise(SHAPE, "uint16")
    write_n5(tmp_path / "a.n5", array)
    write_n5(tmp_path / "changed" / "a.n5", changed(array))
    address = bucket.upload(tmp_path / "a.n5")
    before = open_volume(address, spacing=(1, 1, 1)).digest()
    assert open_volume(address, spacing=(1, 1, 1)).digest() == before
    bucket.upload(tmp_path / "changed" / "a.n5")
    assert open_volume(address, spacing=(1, 1, 1)).digest() != before
