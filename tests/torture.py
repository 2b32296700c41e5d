"""Kill local-align, apply-transform and convert-volume at random moments, run them again, and compare the bytes.

    python tests/torture.py [--kills 100] [--seed 0]

Each round starts one of the commands on two workers, kills it and all its processes after a random time, and runs it
again: its output must have the bytes of the undisturbed run, nothing may be left beside it, and no process may be
left over. Ends with `N passed, M failed`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

WORKERS = ("--workers", "2", "--worker-cpus", "1", "--worker-mem-gb", "2")


@dataclass(frozen=True)
class Case:
    """A command, to which only its output is to be added, and what is known of it when undisturbed.

    That is the name of the output (which its metadata hold), its digest, and the seconds that it took.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    digest: str
    seconds: float


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = prepare(folder)
        faults = [fault for _ in range(options.kills) if (fault := disturb(rng.choice(cases), folder, rng))]
    for fault in faults:
        print(fault)
    print(f"{options.kills - len(faults)} passed, {len(faults)} failed")
    sys.exit(bool(faults))


def prepare(folder: Path) -> list[Case]:
    """Demo data, its global alignment, and both commands run undisturbed."""
    data = folder / "data"
    run("make-demo-data", "--output", str(data), "--shape", "128,112,96")
    affine = str(folder / "affine.mat")
    coarse = ("--fixed", f"{data}/fixed.n5/s1", "--moving", f"{data}/moving.n5/s1")
    fine = ("--fixed", f"{data}/fixed.n5/s0", "--moving", f"{data}/moving.n5/s0", *WORKERS)
    run("global-align", *coarse, "--output", affine)
    align = ("local-align", *fine, "--initial-transform", affine, "--block-size", "32", "--block-overlap", "0.25")
    first = undisturbed("local-align", (*align, "--output"), folder / "peace" / "field.zarr")
    warp = ("apply-transform", *fine, "--transform", affine, "--transform", str(folder / "peace" / "field.zarr"))
    second = undisturbed("apply-transform", (*warp, "--output"), folder / "peace" / "warped.zarr")
    convert = ("convert-volume", f"{data}/fixed.n5/s0", "--chunk-size", "32", *WORKERS)
    return [first, second, undisturbed("convert-volume", convert, folder / "peace" / "converted.zarr")]


def undisturbed(name: str, arguments: tuple[str, ...], output: Path) -> Case:
    """Run once in peace."""
    start = time.monotonic()
    run(*arguments, str(output))
    return Case(name, arguments, output.name, digest(output), time.monotonic() - start)


def disturb(case: Case, folder: Path, rng: random.Random) -> str:
    """Kill a run at some moment and repeat it; says what is wrong, or nothing."""
    output = folder / "war" / case.output
    command = [sys.executable, "-m", "teralign", *case.arguments, str(output)]
    after = rng.uniform(0.1, case.seconds)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    family = [process.pid]
    end = time.monotonic() + after
    while time.monotonic() < end and process.poll() is None:
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        time.sleep(0.1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if output.exists() and digest(output) != case.digest:
        return f"{case.name} killed after {after:.1f} s left an output that looks whole and is not"
    shutil.rmtree(output, ignore_errors=True)  # one that was whole before the kill
    run(*case.arguments, str(output))
    found, left = digest(output), sorted(p.name for p in output.parent.glob("*.partial"))
    shutil.rmtree(output.parent)
    if found != case.digest:
        return f"{case.name} killed after {after:.1f} s ended with other bytes"
    if left or any(psutil.pid_exists(pid) for pid in family):
        return f"{case.name} killed after {after:.1f} s left {left} and processes of {family}"
    return ""


def run(*arguments: str) -> None:
    """One command to its end."""
    subprocess.run(
        [sys.executable, "-m", "teralign", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def digest(folder: Path) -> str:
    """A fingerprint of all files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
