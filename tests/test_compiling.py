"""Compilation is announced, and only when it happens."""

from __future__ import annotations

import os
import subprocess
import sys

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
