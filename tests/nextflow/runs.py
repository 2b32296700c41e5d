"""Runs the real Nextflow on this checkout, in folders of its own."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Run:
    """What a run of Nextflow left."""

    folder: Path
    returncode: int
    output: str
    trace: list[dict[str, str]] = field(default_factory=list)

    def tasks(self, process: str, status: str = "COMPLETED") -> int:
        """How many tasks of a process ended in this state."""
        return sum(row["process"].endswith(process) and row["status"] == status for row in self.trace)


def environment() -> dict[str, str]:
    """That of this process, with the commands of its Python first on PATH."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NXF_ANSI_LOG": "false",
        "NXF_HOME": str(ROOT / ".nextflow-dist" / "home"),
    }


def demo_pair(folder: Path, shape: str, seed: int) -> Path:
    """The folder of two made-up rounds of this shape (x,y,z) with a known map between them."""
    data = folder / "data"
    subprocess.run(
        ["make-demo-data", "--output", str(data), "--shape", shape, "--seed", str(seed)],
        check=True,
        env=environment(),
        capture_output=True,
    )
    return data


def command(*arguments: str, script: Path = ROOT / "main.nf") -> list[str]:
    return [str(ROOT / "bin" / "nextflow"), "run", str(script), *arguments]


def nextflow(
    folder: Path, *arguments: str, parser: str = "v1", script: Path = ROOT / "main.nf", **environ: str
) -> Run:
    """Run the workflow in `folder` to its end."""
    trace = folder / "trace.txt"
    trace.unlink(missing_ok=True)
    done = subprocess.run(
        [*command(*arguments, script=script), "-with-trace", str(trace)],
        cwd=folder,
        env=environment() | {"NXF_SYNTAX_PARSER": parser} | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    return Run(folder, done.returncode, done.stdout, read_trace(trace))


def read_trace(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    rows = [dict(row) for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t")]
    return [row | {"process": row["name"].split(" (")[0]} for row in rows]
