"""Files and folders written whole or not at all."""

import hashlib
import io
import threading
from pathlib import Path

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.files import on_file_system_of, put_in_place, write_arrays, writing, writing_by_name, writing_folder


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with writing(path) as file:
        file.write(b"old")
    with pytest.raises(RuntimeError, match="half way"), writing(path) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_library_sees_the_ending_of_the_file_that_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "field.nii.gz"
    with writing_by_name(path) as unfinished:
        assert unfinished.name == path.name
        unfinished.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(RuntimeError, match="half way"), writing_by_name(path) as unfinished:
        unfinished.write_bytes(b"newer")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    for content in ("old", "new"):
        with writing_folder(path, overwrite=True) as folder:
            folder.mkdir()
            (folder / content).touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    with pytest.raises(RuntimeError, match="half way"), writing_folder(path, overwrite=True) as folder:
        folder.mkdir()
        raise RuntimeError("half way")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced_without_being_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"), writing_folder(tmp_path):
        pass


def test_a_folder_replaces_a_file_and_a_file_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.touch()
    (tmp_path / "built").mkdir()
    put_in_place(tmp_path / "built", path)
    assert path.is_dir()
    (tmp_path / "file").touch()
    put_in_place(on_file_system_of(path, tmp_path / "file"), path)
    assert path.is_file()
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_are_written_as_the_same_bytes_by_every_python() -> None:
    content = io.BytesIO()
    write_arrays(content, {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.array(2.5)})
    with np.load(io.BytesIO(content.getvalue())) as file:
        assert (file["a"].tolist(), float(file["b"])) == ([[0, 1, 2], [3, 4, 5]], 2.5)
    digest = hashlib.blake2b(content.getvalue(), digest_size=8).hexdigest()
    assert digest == "c9e2cf1be18cc1fe", "the bytes that Python 3.6 to 3.13 write"


def test_what_is_replaced_is_never_missing(tmp_path: Path) -> None:
    """A process that is killed at any moment leaves the old or the new folder in its place."""
    path = tmp_path / "a.zarr"
    path.mkdir()
    seen, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(path.is_dir())

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(300):
        built = tmp_path / f"built{number}"
        built.mkdir()
        (built / "number").write_text(str(number))
        put_in_place(built, path)
    done.set()
    looking.join()
    assert (path / "number").read_text() == "299"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert all(seen)
    assert seen
