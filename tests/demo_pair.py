"""A small pair of rounds with a known map, made once, and its global alignment."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from teralign.cluster import Compute
from teralign.grids import Floats
from teralign.tasks.global_align import global_align
from teralign.tasks.make_demo_data import make_demo_data
from teralign.transforms import load_stack

SHAPE = (80, 104, 96)


@dataclass(frozen=True)
class Pair:
    """The folder of the rounds and of the affine that `global-align` found between their scales s1."""

    folder: Path

    @property
    def fixed(self) -> str:
        return f"{self.folder}/fixed.n5/s0"

    @property
    def moving(self) -> str:
        return f"{self.folder}/moving.n5/s0"

    @property
    def affine(self) -> Path:
        return self.folder / "affine.mat"

    @property
    def landmarks(self) -> tuple[Floats, Floats]:
        """Fixed points (n, 3) and where they truly lie in the moving round, z, y, x in µm."""
        fixed, moving = (
            np.loadtxt(self.folder / f"landmarks_{role}.csv", delimiter=",")[:, 2::-1] for role in ("fixed", "moving")
        )
        return fixed, moving

    def errors(self, *transforms: Path) -> Floats:
        """The distances in µm between where these transforms take the fixed landmarks and where they truly lie."""
        fixed, moving = self.landmarks
        stack = load_stack(transforms)
        return np.linalg.norm(stack.map_points(fixed) - moving, axis=1)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The directory of a cluster of two workers that the tests of a module share."""
    folder = tmp_path_factory.mktemp("cluster")
    size = ["--workers", "2", "--worker-cpus", "1", "--worker-mem-gb", "1"]
    command = [sys.executable, "-m", "teralign", "start-dask-scheduler", "--dir", str(folder), *size]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not (folder / "scheduler.json").exists():
                assert process.poll() is None
                time.sleep(0.1)
            with Compute(str(folder)).connect() as client:
                client.wait_for_workers(2)
            yield str(folder)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair") / "demo"
    make_demo_data(folder, shape=SHAPE, seed=3)
    global_align(
        f"{folder}/fixed.n5/s1", f"{folder}/moving.n5/s1", output=folder / "affine.mat", steps=["ransac", "affine"]
    )
    return Pair(folder)
