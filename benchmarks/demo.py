"""Demo data of any size for the benchmarks, made once, in `.bench/demo/`."""

from __future__ import annotations

import logging
import subprocess
import sys
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
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder
