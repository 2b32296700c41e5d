"""Commands in place of Teralign's, for scenarios with the real Nextflow and a real scheduler, without volumes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nextflow.runs import environment
from teralign.grids import Grid
from teralign.volumes import create_volume

NAMES = (
    "global-align",
    "local-align",
    "apply-transform",
    "report-alignment",
    "index-reports",
    "start-dask-scheduler",
    "start-dask-worker",
    "teralign",
)


@dataclass(frozen=True)
class Fake:
    """A folder with the commands, and the options of a pair of volumes that only have to be there."""

    commands: Path
    pair: tuple[str, ...]

    def environ(self, *, blocks: int = 8, seconds: float = 1.0) -> dict[str, str]:
        """What a run needs in its environment: it then does so many blocks twice, which take these seconds each."""
        path = environment()["PATH"]
        return {
            "PATH": f"{self.commands}{os.pathsep}{path}",
            "FAKE_TERALIGN": shutil.which("teralign", path=path) or "teralign",
            "FAKE_BLOCKS": str(blocks),
            "FAKE_SECONDS": str(seconds),
        }


def fake_commands(folder: Path) -> Fake:
    """Make the commands and the pair in a folder."""
    commands = folder / "commands"
    commands.mkdir(parents=True)
    for name in NAMES:
        (commands / name).symlink_to(Path(__file__).parent / "commands" / "fake")
    for name in ("fixed.zarr", "moving.zarr"):
        writer = create_volume(folder / name, grid=Grid((8, 8, 8), (1.0,) * 3), dtype="uint16", levels=2)
        files = writer.write(writer.levels[0].region, np.ones((8, 8, 8), np.uint16))
        writer.finish(files)
    volumes = ("--fixed", str(folder / "fixed.zarr"), "--moving", str(folder / "moving.zarr"))
    return Fake(commands, (*volumes, "--aff_scale", "s1", "--def_scale", "s0", "--id", "pair"))
