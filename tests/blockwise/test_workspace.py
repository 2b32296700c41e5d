"""What is in a workspace is whole, belongs to one run, and can be gone on with."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from teralign.blockwise import BlockRecord, BlockState, Workspace
from teralign.errors import DataError, InputError
from teralign.files import temporary_name, write_atomically, writing

KEY = {"block_size": (64, 64, 64), "fixed": "digest", "overlap": 0.5}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def workspace(tmp_path):
    with Workspace(tmp_path / "out.zarr.partial") as made:
        yield made


def test_the_same_key_goes_on_and_another_one_starts_anew(workspace, caplog):
    caplog.set_level(logging.INFO)
    assert workspace.prepare(KEY) is False
    workspace.record("align", BlockRecord(block="z000_y000_x000"))
    workspace.close()
    assert workspace.prepare({**KEY, "block_size": [64, 64, 64]}) is True
    assert workspace.load_record("align", "z000_y000_x000") == BlockRecord(block="z000_y000_x000")
    workspace.close()
    assert workspace.prepare({**KEY, "overlap": 0.25}) is False
    assert not workspace.has_records("align")
    assert "made with another overlap" in caplog.text
    workspace.close()
    workspace.record("align", BlockRecord(block="z000_y000_x000"))
    assert workspace.prepare({**KEY, "overlap": 0.25}, overwrite=True) is False
    assert not workspace.has_records("align")


@pytest.mark.parametrize("torn", [b"", b'{"block": "z000_y000_x000", "sta', b"[1]", b'{"block": "another"}', b"\xff"])
def test_a_torn_record_is_no_record(workspace, torn):
    workspace.prepare(KEY)
    workspace.record("align", BlockRecord(block="z000_y000_x000"))
    (path,) = (workspace.path / "records").rglob("*.json")
    path.write_bytes(torn)
    assert workspace.load_record("align", "z000_y000_x000") is None
    assert list(workspace.records("align", BlockRecord)) == []


def test_a_torn_key_is_another_key(workspace):
    workspace.prepare(KEY)
    workspace.record("align", BlockRecord(block="z000_y000_x000"))
    workspace.close()
    (workspace.path / "key.json").write_text("{")
    assert workspace.prepare(KEY) is False
    assert not workspace.has_records("align")


@dataclass(frozen=True, kw_only=True)
class Measured(BlockRecord):
    metric: float | None = None
    shape: tuple[int, ...] = ()
    place: Path | None = None


def test_records_hold_what_numpy_gives_and_json_can_say(workspace):
    workspace.prepare(KEY)
    state = BlockState.KEPT
    record = Measured(
        block="z001_y000_x000", state=state, metric=np.float32(0.5), shape=np.arange(3), place=Path("x")
    )
    workspace.record("align", record)
    workspace.record("align", Measured(block="z000_y001_x000", metric=np.nan))
    first, second = workspace.records("align", Measured)
    assert first == Measured(block="z000_y001_x000", metric=None)
    assert second == Measured(block="z001_y000_x000", state=state, metric=0.5, shape=(0, 1, 2), place=Path("x"))
    assert workspace.load_record("align", "z001_y000_x000") == BlockRecord(block="z001_y000_x000", state=state)
    with pytest.raises(TypeError):
        workspace.record("align", BlockRecord(block="z000_y000_x000", reason=object()))
    assert workspace.load_record("align", "z000_y000_x000") is None


def test_a_workspace_travels_to_workers_without_its_lock(workspace):
    workspace.prepare(KEY)
    travelled = pickle.loads(pickle.dumps(workspace))
    travelled.record("align", BlockRecord(block="z000_y000_x000"))
    travelled.close()
    assert workspace.load_record("align", "z000_y000_x000") is not None
    assert (workspace.path / "lock.json").exists()


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "b"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError), writing(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["b"]


def test_what_killed_writers_left_is_removed(workspace):
    workspace.prepare(KEY)
    payload = workspace.payload("align", "z000_y000_x000")
    write_atomically(payload, b"kept")
    workspace.close()
    payload.with_name(".z000.npz.host-1-abc.tmp").write_bytes(b"torn")
    assert workspace.prepare(KEY) is True
    assert [p.name for p in payload.parent.iterdir()] == [payload.name]


def test_what_workers_left_that_were_killed_during_the_run_is_not_in_the_output(workspace, tmp_path):
    workspace.prepare(KEY)
    left = temporary_name(workspace.output / "c" / "0")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    (left.parent / "0").write_bytes(b"whole")
    workspace.finish(workspace.output, tmp_path / "out.zarr")
    assert [path.name for path in (tmp_path / "out.zarr").rglob("*")] == ["c", "0"]


def test_the_finished_output_is_renamed_into_place_and_the_workspace_goes(workspace, tmp_path):
    output = tmp_path / "deep" / "out.zarr"
    workspace.prepare(KEY)
    built = workspace.output / "out.zarr"
    built.mkdir()
    (built / "zarr.json").write_text("new")
    workspace.finish(built, output)
    assert (output / "zarr.json").read_text() == "new"
    assert names(tmp_path) == ["deep"]
    assert names(output.parent) == ["out.zarr"]


def test_an_output_that_exists_is_replaced_only_if_asked(workspace, tmp_path):
    output = tmp_path / "out.mat"
    output.write_text("old")
    workspace.prepare(KEY)
    built = workspace.output / "out.mat"
    built.write_text("new")
    with pytest.raises(InputError, match="--overwrite"):
        workspace.finish(built, output)
    assert output.read_text() == "old"
    workspace.finish(built, output, overwrite=True)
    assert output.read_text() == "new"
    assert names(tmp_path) == ["out.mat"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_records_of_an_output_that_has_gone_to_its_place_are_void(workspace, tmp_path):
    """Killed just then, the run begins anew: what its records tell of is not there any more."""
    workspace.prepare(KEY)
    workspace.record("warp", BlockRecord(block="z000_y000_x000"))
    (workspace.output / "a.zarr").mkdir()
    workspace.place(workspace.output / "a.zarr", tmp_path / "a.zarr")
    workspace.close()
    assert (tmp_path / "a.zarr").is_dir()
    assert workspace.prepare(KEY) is False
    assert not workspace.has_records("warp")


def test_an_output_on_another_file_system_is_copied_beside_its_place_first(tmp_path):
    with Workspace(f"/dev/shm/teralign-test-{os.getpid()}") as workspace:
        workspace.prepare(KEY)
        built = workspace.output / "out.zarr"
        (built / "c").mkdir(parents=True)
        (built / "c" / "0").write_bytes(b"chunk")
        workspace.finish(built, tmp_path / "out.zarr")
    assert (tmp_path / "out.zarr" / "c" / "0").read_bytes() == b"chunk"
    assert names(tmp_path) == ["out.zarr"]
    assert not workspace.path.exists()


def test_a_directory_of_the_user_is_never_taken(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        Workspace(tmp_path).prepare(KEY)
    with pytest.raises(InputError, match="is a file"):
        Workspace(tmp_path / "thesis.tex").prepare(KEY)
    assert names(tmp_path) == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_named():
    with pytest.raises(DataError, match="/proc/nothing cannot be used"):
        Workspace("/proc/nothing").prepare(KEY)


def test_two_runs_cannot_be_at_work_at_once(workspace):
    workspace.prepare(KEY)
    with pytest.raises(InputError, match=f"process {os.getpid()} on {socket.gethostname()}"):
        Workspace(workspace.path).prepare(KEY)
    workspace.record("align", BlockRecord(block="z000_y000_x000"))
    workspace.close()
    with Workspace(workspace.path) as second:
        assert second.prepare(KEY) is True


def test_a_run_that_ends_before_it_did_anything_leaves_nothing(workspace):
    workspace.prepare(KEY)
    workspace.close()
    assert not workspace.path.exists()


def test_a_run_that_was_killed_does_not_hold_the_workspace(workspace):
    script = (
        "import sys, time; from teralign.blockwise import BlockRecord, BlockState, Workspace;"
        "w = Workspace(sys.argv[1]); w.prepare({'a': 1}); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, workspace.path], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(InputError, match=f"process {holder.pid}"):
            workspace.prepare({"a": 1})
        holder.kill()  # and not waited for: a process that is not reaped is gone all the same
        time.sleep(0.2)
        assert workspace.prepare({"a": 1}) is True
