"""Kill commands that work in blocks at random moments, run them again, and compare the bytes.

Each round starts one of the commands on two workers, kills its first process at a random moment, and runs it again:
no other process of it may be left, its output must have the bytes of the undisturbed run, manifests included, and
nothing may lie beside it. Over all rounds of a command, 95 % of the work that had a record when it was killed must be
used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from teralign.grids import Grid
from teralign.volumes import create_volume, open_volume

WORKERS = ("--workers", "2", "--worker-cpus", "1", "--worker-mem-gb", "2")
REUSED = 0.95
_BEFORE = 0.25  # by this share of all blocks a kill may come too early to find one done
_BEYOND_SECONDS = 1.0
_LEAVE_SECONDS = 30.0  # a worker that is just starting sees that it is alone when it has loaded its libraries


@dataclass(frozen=True)
class Case:
    """A command, to which only its output is to be added, and what is known of it when undisturbed.

    That is the name of the output (which its metadata hold), its digest, and how many blocks it makes.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    digest: str
    blocks: int


@dataclass(frozen=True)
class Round:
    """A kill and what came of it: how many records were there and were used again, and what is wrong, if anything."""

    case: str
    after: float
    finished: int = 0
    reused: int = 0
    fault: str = ""

    def __str__(self) -> str:
        found = self.fault or f"{self.reused} of {self.finished} blocks used again"
        return f"{self.case} killed after {self.after:.1f} s: {found}"


def campaign(folder: Path, *, kills: int, seed: int) -> Iterator[Round]:
    """The rounds, the commands in turn."""
    rng = random.Random(seed)
    cases = prepare(folder)
    for number in range(kills):
        yield disturb(cases[number % len(cases)], folder, rng)


def shares(rounds: Iterable[Round]) -> Iterator[str]:
    """For each command how much of its finished work was used again."""
    for case, reused, finished in _sums(rounds):
        yield f"{case}: {reused} of {finished} finished blocks used again"


def enough_reused(rounds: Iterable[Round]) -> bool:
    """Whether every command used enough of its finished work again."""
    return all(reused >= REUSED * finished for _, reused, finished in _sums(rounds))


def _sums(rounds: Iterable[Round]) -> Iterator[tuple[str, int, int]]:
    rounds = list(rounds)
    for case in sorted({done.case for done in rounds}):
        own = [done for done in rounds if done.case == case]
        yield case, sum(done.reused for done in own), sum(done.finished for done in own)


def prepare(folder: Path) -> list[Case]:
    """Demo data, also as tiles, its global alignment, and the commands run undisturbed.

    The moving round is applied to more voxels than it has, which make more than one write unit.
    """
    data = folder / "data"
    run("make-demo-data", "--output", str(data), "--shape", "96,80,64", "--tiles", "2")
    tiles = str(folder / "tiles.json")
    run("import-tiles", f"{data}/fixed_tiles", tiles, "--spacing", "0.92,0.92,0.84")
    affine, field = str(folder / "affine.mat"), str(folder / "peace" / "field.zarr")
    coarse = ("--fixed", f"{data}/fixed.n5/s1", "--moving", f"{data}/moving.n5/s1")
    run("global-align", *coarse, "--output", affine)
    fixed, moving = f"{data}/fixed.n5/s0", ("--moving", f"{data}/moving.n5/s0")
    align = ("local-align", "--fixed", fixed, *moving, "--initial-transform", affine, "--block-size", "32")
    extent = open_volume(fixed).grid.extent
    create_volume(folder / "fine.zarr", grid=Grid((256,) * 3, [e / 256 for e in extent]), dtype="uint8")
    warp = ("apply-transform", "--fixed", f"{folder}/fine.zarr", *moving, "--transform", field)
    convert = ("convert-volume", fixed, "--chunk-size", "12")
    fuse = ("fuse-tiles", tiles, "--chunk-size", "16")
    return [
        undisturbed("local-align", (*align, *WORKERS, "--output"), Path(field)),
        undisturbed("apply-transform", (*warp, *WORKERS, "--output"), folder / "peace" / "warped.zarr"),
        undisturbed("convert-volume", (*convert, *WORKERS), folder / "peace" / "converted.zarr"),
        undisturbed("fuse-tiles", (*fuse, *WORKERS), folder / "peace" / "stitched.zarr"),
    ]


def undisturbed(name: str, arguments: tuple[str, ...], output: Path) -> Case:
    """Run once in peace."""
    blocks = json.loads(run(*arguments, str(output), "--dry-run").stdout)["blocks"]
    run(*arguments, str(output))
    return Case(name, arguments, output.name, digest(output), sum(blocks.values()))


def disturb(case: Case, folder: Path, rng: random.Random) -> Round:
    """Kill a run at some moment, before its first block or with any share of them done, and repeat it."""
    output = folder / "war" / case.output
    unfinished = output.with_name(output.name + ".partial")
    wanted = max(0, round(rng.uniform(-_BEFORE, 1) * case.blocks))
    after, left = killed((*case.arguments, str(output)), unfinished, wanted, rng.uniform(0, _BEYOND_SECONDS))
    finished = 0 if output.exists() else records(unfinished)
    whole = not output.exists() or digest(output) == case.digest
    for path in output.parent.glob(f"{output.stem}.*"):  # what was there in time, with its report
        if path != unfinished:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    log = run(*case.arguments, str(output)).stderr
    reused = sum(int(count) for count in re.findall(r": (\d+) blocks? finished before", log))
    faults = {
        "the output looked whole and was not": not whole,
        f"it left {', '.join(left)}": bool(left),
        "it ended with other bytes": digest(output) != case.digest,
        f"it left {unfinished.name}": unfinished.exists(),
    }
    shutil.rmtree(output.parent)
    return Round(case.name, after, finished, reused, "; ".join(what for what, true in faults.items() if true))


def killed(arguments: tuple[str, ...], workspace: Path, blocks: int, beyond: float) -> tuple[float, list[str]]:
    """Kill the first process of a command some seconds after its workspace has so many records.

    Gives how long it ran, and what outlives it.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "teralign", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and records(workspace) < blocks:
        time.sleep(0.05)
    try:
        process.wait(beyond)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    after = time.monotonic() - start
    end = time.monotonic() + _LEAVE_SECONDS
    while (left := alive_in_session(process.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    return after, left


def alive_in_session(session: int) -> list[str]:
    """The processes of a session that run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"process {process.pid} ({process.name()})")
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def records(workspace: Path) -> int:
    """How many blocks have a result in a workspace from which a run can go on."""
    if not (workspace / "key.json").exists():
        return 0
    return sum(b'"state": "failed"' not in path.read_bytes() for path in workspace.glob("records/*/*/*.json"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    done = subprocess.run([sys.executable, "-m", "teralign", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done


def digest(folder: Path) -> str:
    """A fingerprint of all files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()
