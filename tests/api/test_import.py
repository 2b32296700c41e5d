"""`import teralign` loads nothing heavy; its names are imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "scipy", "dask", "distributed", "SimpleITK", "numba", "tensorstore", "zarr", "xarray", "pandas")


def loaded_by(code: str) -> set[str]:
    """The modules that a new process has loaded after some code."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    assert loaded_by("import teralign\nteralign.__version__\ndir(teralign)").isdisjoint(HEAVY)


def test_names_appear_when_they_are_used():
    assert "teralign.api" in loaded_by("import teralign\nassert 'align' in dir(teralign)\nteralign.align")
