"""How much longer a run takes whose workers are killed, one every few seconds."""

from __future__ import annotations

import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from torture.runs import END_SECONDS, Live, Peace, Victims, results
from torture.sites import Site

MOST = 2.5
"""The most that kills every 10 s may multiply the time by."""


@dataclass(frozen=True)
class Pace:
    """The seconds of a run in peace and of a disturbed one, how many workers were killed, and what is wrong."""

    peace: float
    disturbed: float
    kills: int
    faults: tuple[str, ...] = ()

    @property
    def factor(self) -> float:
        return self.disturbed / self.peace

    def __str__(self) -> str:
        times = f"{self.disturbed:.0f} s with {self.kills} workers killed, {self.peace:.0f} s in peace"
        return f"{times}: {self.factor:.2f} times as long{''.join(f'; {fault}' for fault in self.faults)}"


def measure(folder: Path, site: Site, peace: Peace, *, every: float = 10.0, seed: int = 0) -> Pace:
    """Run a pair while a worker process dies every so many seconds."""
    rng = random.Random(seed)
    live = Live(site, folder / "pace", peace.arguments)
    victims = Victims(live)
    kills = 0
    try:
        while live.end(every) is None:
            kills += victims.strike("worker process", signal.SIGKILL, rng)
        seconds = live.seconds()
        faults = {
            f"exit code {live.head.returncode}": live.head.returncode != 0,
            "other bytes": results(live.folder) != peace.digests,
            "processes are left": bool(live.left(END_SECONDS)),
        }
    finally:
        live.clear()
    shutil.rmtree(live.folder)
    return Pace(peace.seconds, seconds, kills, tuple(what for what, true in faults.items() if true))
