"""Runs the real Nextflow on this checkout, in folders of its own."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

MARK = "TERALIGN_TEST_RUN"
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


def demo_pair(folder: Path, shape: str, seed: int, tiles: int = 0) -> Path:
    """The folder of two made-up rounds of this shape (x,y,z) with a known map between them, also as tiles x tiles."""
    data = folder / "data"
    subprocess.run(
        ["make-demo-data", "--output", str(data), "--shape", shape, "--seed", str(seed)]
        + (["--tiles", str(tiles)] if tiles else []),
        check=True,
        env=environment(),
        capture_output=True,
    )
    return data


def processes(value: str, part: str = "") -> list[psutil.Process]:
    """The processes that have `value` as their mark, and `part` in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def run_watched(
    command: Sequence[str | Path], folder: Path, environ: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command that starts a workflow in `folder`; where it does not end, fail with what each process is at."""
    value = environ.get(MARK) or uuid.uuid4().hex
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**environ, MARK: value, "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            hanging = _ask_and_kill(value)
            output, errors = process.communicate()
            logs = "\n".join(f"{path}:\n{_ending(path)}" for path in sorted(folder.rglob(".command.log")))
            log = _ending(folder / ".nextflow.log")
            pytest.fail(f"no end after {timeout} s\n{hanging}\n{output}\n{errors}\n{logs}\n.nextflow.log:\n{log}")
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _ask_and_kill(value: str) -> str:
    """Have the marked processes tell what their threads are at, in their own logs, and end them; lists them."""
    found = processes(value)
    lines = []
    for process in found:
        try:
            lines.append(
                f"{process.pid} of {process.ppid()}, {process.status()}, {sum(process.cpu_times()[:2]):.0f} CPU-s, "
                f"{process.num_threads()} threads: {' '.join(process.cmdline())[:400]}"
            )
            name = process.name()
            if name.startswith("java"):
                process.send_signal(signal.SIGQUIT)
            elif name.startswith("python") or "align" in name or "dask" in name:
                process.send_signal(signal.SIGABRT)
        except psutil.Error:
            continue
    time.sleep(3)
    for process in processes(value):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return "\n".join(lines)


def _ending(path: Path) -> str:
    return path.read_text(errors="replace")[-6000:] if path.exists() else "(none)"


def command(*arguments: str, script: Path = ROOT / "main.nf") -> list[str]:
    return [str(ROOT / "bin" / "nextflow"), "run", str(script), *arguments]


def nextflow(
    folder: Path,
    *arguments: str,
    parser: str = "v1",
    script: Path = ROOT / "main.nf",
    timeout: float = 500,
    **environ: str,
) -> Run:
    """Run the workflow in `folder` to its end."""
    trace = folder / "trace.txt"
    trace.unlink(missing_ok=True)
    done = run_watched(
        [*command(*arguments, script=script), "-with-trace", str(trace)],
        folder,
        environment() | {"NXF_SYNTAX_PARSER": parser} | environ,
        timeout=timeout,
    )
    return Run(folder, done.returncode, done.stdout + done.stderr, read_trace(trace))


def read_trace(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    rows = [dict(row) for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t")]
    return [row | {"process": row["name"].split(" (")[0]} for row in rows]
