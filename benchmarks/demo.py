"""Demo data of any size for the benchmarks, made once, in `.bench/demo/`."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.environments import FOLDER
from teralign.grids import Triple, reverse_axes

log = logging.getLogger("benchmarks")


def demo_data(shape: Triple) -> Path:
    """The folder of demo data whose fixed round has this shape (z, y, x)."""
    named = ",".join(map(str, reverse_axes(shape)))
    folder = FOLDER / "demo" / named.replace(",", "x")
    if not folder.exists():
        log.info("making demo data of %s voxels", named)
        command = [sys.executable, "-m", "teralign", "make-demo-data", f"--output={folder}", f"--shape={named}"]
        _call(command)
    return folder


def compile_kernels() -> None:
    """Run the commands once on a small volume: compiling is done once on a machine, and is not to be measured."""
    folder = demo_data((64, 64, 64))
    volumes = [f"--{role}={folder}/{role}.n5/s0" for role in ("fixed", "moving")]
    log.info("compiling what is not compiled yet")
    with tempfile.TemporaryDirectory() as scratch:
        affine, field = f"{scratch}/affine.mat", f"{scratch}/field.zarr"
        for name, options in {
            "global-align": [f"--output={affine}"],
            "local-align": [f"--initial-transform={folder}/true_affine.mat", f"--output={field}"],
            "apply-transform": [f"--transform={field}", f"--output={scratch}/warped.zarr"],
        }.items():
            _call([sys.executable, "-m", "teralign", name, *volumes, *options])


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
