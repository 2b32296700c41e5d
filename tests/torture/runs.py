"""Kill processes of whole runs of the workflow at random moments, and compare the bytes with those of a run in peace.

Each round is a run in a folder of its own. One victim after another is killed, by SIGKILL or SIGTERM: a worker
process, a whole worker task, a whole driver with its workers and its command, its scheduler alone, its command alone,
or the head. A run completes with the bytes of the run in peace, or it exits with another code than 0 within a minute
of the last kill, and a second run then completes with these bytes. Neither leaves a process, a job, a container or a
lock.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from nextflow.runs import MARK, command, demo_pair, environment
from torture.sites import Site

END_SECONDS = 60.0
"""The time that a run has to end, and all of it to be gone, after the last kill."""

_LONG_SECONDS = 90.0  # on a busy machine a run takes longer, but kills come as often
_PATIENCE_SECONDS = 900.0  # a run that takes longer never ends
_COMMANDS = ("local-align", "apply-transform")
_STEPS = ("--aff_scale", "s1", "--def_scale", "s0", "--bigstream_global_steps", "ransac,affine")
_BLOCKS = ("--bigstream_local_steps", "affine", "--bigstream_block_size", "16")  # some hundred: time to strike
_SIZES = ("--bigstream_global_align_cpus", "1", "--bigstream_global_align_mem_gb", "2", "--progress_seconds", "0")
_SHAPE = "96,80,48"


@dataclass(frozen=True)
class Kill:
    """A kill: what, by which signal, how many seconds after the start, and how many blocks were done then."""

    victim: str
    signal: str
    after: float
    blocks: int

    def __str__(self) -> str:
        return f"{self.victim} {self.signal.removeprefix('SIG')} at {self.after:.0f} s ({self.blocks} blocks)"


@dataclass(frozen=True)
class Round:
    """A run that was disturbed: its exit code, the seconds from the last kill to its end, and what is wrong."""

    site: str
    number: int
    kills: tuple[Kill, ...]
    code: int
    seconds: float
    ended_after: float
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        kills = ", ".join(map(str, self.kills)) or "nothing killed"
        end = f"exit code {self.code} after {self.seconds:.0f} s, {self.ended_after:.0f} s after the last kill"
        return f"{self.site} {self.number}: {kills}; {end}: {'; '.join(self.faults) or 'right'}"


@dataclass
class Live:
    """A run of the workflow that goes on while it is being watched."""

    site: Site
    folder: Path
    arguments: Sequence[str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        with (self.folder / "output.txt").open("a") as output:
            self.head = subprocess.Popen(
                command(*self.site.options, *self.arguments),
                cwd=self.folder,
                env=environment() | dict(self.site.environment) | {MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def seconds(self) -> float:
        """The seconds since its start."""
        return time.monotonic() - self.started

    def runs(self) -> bool:
        """Whether the head is there."""
        return self.head.poll() is None

    def end(self, seconds: float = _PATIENCE_SECONDS) -> int | None:
        """Its exit code; None where it does not end in time."""
        try:
            return self.head.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def blocks(self) -> int:
        """How many records of blocks there are, of any command."""
        return len(list(self.folder.glob("work/dask/*/*/blocks/records/**/*.json")))

    def left(self, seconds: float) -> list[str]:
        """What remains of the run after at most so many seconds: processes, jobs and containers."""
        end = time.monotonic() + seconds
        while (found := self._left()) and time.monotonic() < end:
            time.sleep(0.3)
        return found

    def _left(self) -> list[str]:
        return [*map(_described, self.site.processes(self.mark)), *self.site.jobs()]

    def locks(self) -> list[str]:
        """The locks of directories, and unfinished work, that the run has left."""
        found = [*self.folder.glob("work/dask/*/*/blocks"), *self.folder.glob("work/dask/*/*/lock.json*")]
        return [str(path.relative_to(self.folder)) for path in found]

    def clear(self) -> None:
        """End whatever remains."""
        for process in self.site.processes(self.mark):
            with suppress(psutil.Error):
                process.kill()
        self.head.wait()


def _described(process: psutil.Process) -> str:
    try:
        return f"process {process.pid} ({' '.join(process.cmdline())[:120]})"
    except psutil.Error:
        return f"process {process.pid}"


VICTIMS = ("worker process", "worker task", "driver", "scheduler", "client", "head")
"""What is killed. There are worker tasks only where workers are tasks of their own."""


class Victims:
    """The processes of a run that may be killed, by what they are."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._finders: dict[str, Callable[[], list[psutil.Process]]] = {
            "worker process": lambda: self._of("spawn_main"),
            "worker task": lambda: self._of("start-dask-worker"),
            "driver": lambda: self._of("start-dask-scheduler"),
            "scheduler": lambda: self._of("start-dask-scheduler"),
            "client": lambda: [p for name in _COMMANDS for p in self._of(name)],
            "head": lambda: [psutil.Process(live.head.pid)] if live.runs() else [],
        }

    def strike(self, name: str, number: signal.Signals, rng: random.Random) -> bool:
        """Send a signal to one of these; False where there is none."""
        found = self._finders[name]()
        if not found:
            return False
        try:
            victim = rng.choice(found)
            whole = name in ("worker task", "driver") and number is signal.SIGKILL
            for process in [*(victim.children(recursive=True) if whole else ()), victim]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
        except psutil.Error:
            return False
        return True

    def _of(self, part: str) -> list[psutil.Process]:
        """The Python processes with a part of their command line: not the shells around them."""
        found = []
        for process in self._live.site.processes(self._live.mark):
            with suppress(psutil.Error):
                words = process.cmdline()
                line = " ".join(words)
                named = part in line if part == "spawn_main" else any(word.endswith(f"/{part}") for word in words)
                if named and "python" in words[0] and "leash.py" not in line:
                    found.append(process)
        return found


@dataclass(frozen=True)
class Peace:
    """A pair, and the bytes of the results of its run in peace."""

    arguments: tuple[str, ...]
    digests: dict[str, str]
    seconds: float


def pair_in(folder: Path) -> tuple[str, ...]:
    """Make a pair in `folder`, unless it is there, and return the options of its runs."""
    data = folder / "data" if (folder / "data").exists() else demo_pair(folder, _SHAPE, seed=3)
    pair = ("--id", "pair", "--fixed", f"{data}/fixed.n5", "--moving", f"{data}/moving.n5")
    return (*pair, *_STEPS, *_BLOCKS, *_SIZES)


def lightened(site: Site, folder: Path, arguments: Sequence[str]) -> Site:
    """The site with commands first on its PATH that take a moment, and no image: see light/blocks.py."""
    resolved = folder / "resolved.json"
    if not resolved.exists():
        names = [name.removeprefix("--") for name in arguments[::2]]
        options = dict(zip(names, arguments[1::2], strict=True))
        answer = subprocess.run(
            ["teralign", "resolve", "/dev/stdin", "--folder", str(folder)],
            input=json.dumps(options),
            env=environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        resolved.write_text(answer.stdout)
    path = site.environment.get("PATH", environment()["PATH"])
    path = f"{Path(__file__).parent / 'light'}{os.pathsep}{path}"
    return replace(site, environment={**site.environment, "PATH": path, "TORTURE_RESOLVED": str(resolved)})


def in_peace(folder: Path, site: Site, arguments: tuple[str, ...]) -> Peace:
    """Run a pair undisturbed, or take what such a run has left in `folder`."""
    kept = folder / f"peace-{site.name}.json"
    if kept.exists():
        return Peace(arguments, **json.loads(kept.read_text()))
    live = Live(site, folder / "peace", arguments)
    try:
        code = live.end()
        if code != 0:
            raise SystemExit(f"The run in peace ended with {code}:\n{(live.folder / 'output.txt').read_text()}")
        found = Peace(arguments, results(live.folder), live.seconds())
        if left := live.left(END_SECONDS):
            raise SystemExit(f"The run in peace left {left}")
    finally:
        live.clear()
    shutil.rmtree(live.folder)
    kept.write_text(json.dumps({"digests": found.digests, "seconds": found.seconds}))
    return found


def results(folder: Path) -> dict[str, str]:
    """The digest of each file of the results that does not name times."""
    pair = folder / "results" / "pair"
    parts = [pair / "affine.mat", *(pair / "transform.zarr").rglob("*"), *(pair / "warped.zarr").rglob("*")]
    files = sorted(path for path in parts if path.is_file())
    return {str(path.relative_to(pair)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def campaign(
    folder: Path, site: Site, peace: Peace, *, kills: int, seed: int, each: int = 5, before: Sequence[Round] = ()
) -> Iterator[Round]:
    """Rounds with up to `each` kills, until there were so many more than `before`, in rounds that these follow."""
    number, done = max((found.number + 1 for found in before), default=0), 0
    draws = Draws(site, seed)
    for _ in range(sum(len(found.kills) for found in before)):
        draws.take()
    while done < kills:
        rng = random.Random(f"{seed}-{site.name}-{number}")
        found = disturb(folder / f"{site.name}-{number}", site, peace, number, rng, draws, min(each, kills - done))
        done += len(found.kills)
        number += 1
        yield found


class Draws:
    """Victims and signals without end: each pair once, in a random order, before any comes again."""

    def __init__(self, site: Site, seed: int) -> None:
        self._rng = random.Random(f"{seed}-{site.name}")
        names = [name for name in VICTIMS if site.worker_tasks or name != "worker task"]
        self._pairs = list(itertools.product(names, (signal.SIGKILL, signal.SIGTERM)))
        self._left: list[tuple[str, signal.Signals]] = []

    def next(self) -> tuple[str, signal.Signals]:
        """Return the next pair, the same one until it is taken."""
        if not self._left:
            self._left = self._rng.sample(self._pairs, len(self._pairs))
        return self._left[-1]

    def take(self) -> None:
        """Go on to the pair after the next."""
        self.next()
        self._left.pop()


def disturb(
    folder: Path,
    site: Site,
    peace: Peace,
    number: int,
    rng: random.Random,
    draws: Draws,
    most: int,
) -> Round:
    """One round; its folder is kept where something is wrong."""
    live = Live(site, folder, peace.arguments)
    try:
        kills, last = _strike(live, peace, rng, draws, most)
        code = live.end()
        seconds, ended = live.seconds(), time.monotonic() - last
        faults = list(_faults_of_end(live, peace, code, ended, last))
    finally:
        live.clear()
    if code != 0:
        faults += _faults_of_rerun(folder, site, peace)
    if not faults:
        shutil.rmtree(folder)
    return Round(site.name, number, tuple(kills), -999 if code is None else code, seconds, ended, tuple(faults))


def _strike(live: Live, peace: Peace, rng: random.Random, draws: Draws, most: int) -> tuple[list[Kill], float]:
    """Kill one victim after another, at most so many; return the kills, and the time of the last one."""
    kills: list[Kill] = []
    victims = Victims(live)
    last = live.started
    while len(kills) < most and live.runs():
        _pause(live, rng.uniform(0, 2.0 * min(peace.seconds, _LONG_SECONDS) / (most + 1)))
        name, number = draws.next()
        while live.runs() and live.seconds() < _PATIENCE_SECONDS:
            blocks = live.blocks()
            if victims.strike(name, number, rng):
                last = time.monotonic()
                draws.take()
                kills.append(Kill(name, number.name, live.seconds(), blocks))
                break
            time.sleep(0.2)
        if name == "head":
            break
    return kills, last


def _pause(live: Live, seconds: float) -> None:
    end = time.monotonic() + seconds
    while live.runs() and time.monotonic() < end:
        time.sleep(0.1)


def _faults_of_end(live: Live, peace: Peace, code: int | None, ended: float, last: float) -> Iterator[str]:
    if code is None:
        yield f"no end after {live.seconds():.0f} s"
        return
    if code == 0 and results(live.folder) != peace.digests:
        yield "exit code 0 with other bytes"
    if code != 0 and ended > END_SECONDS:
        yield f"its end came {ended:.0f} s after the last kill"
    left = live.left(max(5.0, END_SECONDS - (time.monotonic() - last)))
    if left:
        yield f"left {', '.join(left)}"
    if code == 0 and live.locks():
        yield f"left {', '.join(live.locks())}"


def _faults_of_rerun(folder: Path, site: Site, peace: Peace) -> Iterator[str]:
    live = Live(site, folder, (*peace.arguments, "-resume"))
    try:
        code = live.end()
        if code != 0:
            yield f"its rerun ended with {'nothing at all' if code is None else code}"
        elif results(folder) != peace.digests:
            yield "its rerun gave other bytes"
        left = [*live.left(END_SECONDS), *(live.locks() if code == 0 else ())]
        if left:
            yield f"its rerun left {', '.join(left)}"
    finally:
        live.clear()


def logged(path: Path, found: Round) -> None:
    """Append a round to a log, from which a campaign goes on."""
    with path.open("a") as log:
        log.write(json.dumps(asdict(found)) + os.linesep)


def read_log(path: Path) -> list[Round]:
    """The rounds of a log."""
    if not path.exists():
        return []
    return [
        Round(**found | {"kills": tuple(Kill(**kill) for kill in found["kills"]), "faults": tuple(found["faults"])})
        for found in map(json.loads, path.read_text().splitlines())
    ]
