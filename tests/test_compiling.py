"""Compilation is announced, and only when it happens."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MODULE = """
import logging
from teralign.compiling import compiled, compiled_fast

@compiled
def double(x):
    return 2 * x

@compiled_fast
def triple(x):
    return 3 * x

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    print(double(3.0), triple(3.0))
"""


def run(folder, cache):
    done = subprocess.run(
        [sys.executable, folder / "loops.py"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "6.0 9.0\n"
    return done.stderr


def test_the_first_run_says_that_it_compiles_and_the_second_loads(tmp_path):
    (tmp_path / "loops.py").write_text(MODULE)
    first, second = run(tmp_path, tmp_path / "cache"), run(tmp_path, tmp_path / "cache")
    assert first.count("compiling numerical code for this machine") == 1
    assert second == ""


RENAMED = """
from typing import NamedTuple
from teralign.compiling import compiled

class {name}(NamedTuple):
    x: float

@compiled
def double(pair):
    return 2 * pair.x

if __name__ == "__main__":
    import loops
    print(loops.double(loops.{name}(3.0)), 9.0)
"""


def test_code_of_another_version_is_replaced(tmp_path):
    for name in ("Former", "Latter"):
        (tmp_path / "loops.py").write_text(RENAMED.format(name=name))
        run(tmp_path, tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_code_in_a_folder_of_another_user_is_not_loaded(tmp_path):
    """As in /tmp, where anyone may have made the folder before."""
    (tmp_path / "loops.py").write_text(MODULE)
    cache = tmp_path / "cache"
    run(tmp_path, cache)
    for folder in (cache, *cache.iterdir()):
        os.chown(folder, 12345, 12345)
    said = run(tmp_path, cache)
    assert "is neither used nor kept, since the folder belongs to another user" in said
    assert "compiling numerical code" in said


def test_code_beside_the_source_is_used_and_never_written(tmp_path):
    (tmp_path / "loops.py").write_text(MODULE)
    beside = tmp_path / "__pycache__"
    run(tmp_path, tmp_path / "cache")
    beside.mkdir(exist_ok=True)
    for path in (tmp_path / "cache").rglob("*.nb?"):
        path.rename(beside / path.name)
    before = {path: path.read_bytes() for path in beside.iterdir()}

    assert run(tmp_path, tmp_path / "another") == ""
    assert {path: path.read_bytes() for path in beside.iterdir()} == before
    assert list((tmp_path / "another").rglob("*.nb?")) == []
