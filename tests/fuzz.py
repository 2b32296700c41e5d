"""Feed mutated files of every format to the commands that read them, and see that each ends well.

    python tests/fuzz.py [--seconds 600] [--seed 0] [--only NAME …]

Each round takes a good input, changes its files at random, and runs a command on it in a process whose memory is
bounded: it must end in time with a result or one clear sentence, without a traceback, and may write nothing outside
its folder. A round that does not is kept in `build/fuzz/` with what it said. Ends with `N rounds, M faults`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hostile.arena import Arena, arena, seen
from hostile.seed import Seed, change_of
from hostile.seeds import SEEDS

KEPT = Path(__file__).parents[1] / "build" / "fuzz"


@dataclass(frozen=True)
class Fault:
    """A round that ended badly: its input, the file that was changed last, and what is wrong."""

    seed: str
    round: str
    reason: str

    def __str__(self) -> str:
        return f"{self.seed} {self.round}: {self.reason}"


def campaign(
    folder: Path, seeds: Sequence[Seed], rng_seed: int, *, keep: Path | None = None
) -> Iterator[Fault | None]:
    """Rounds without end, the seeds in turn; None for each that ends well."""
    good = {seed.name: folder / "good" / seed.name for seed in seeds}
    for seed in seeds:
        good[seed.name].mkdir(parents=True)
        seed.write(good[seed.name])
    ring = folder / "ring"
    ring.mkdir()
    (ring / "canary").write_text("alive\n")
    with arena(folder) as opened:
        number = 0
        while True:
            for seed in seeds:
                number += 1
                yield _round(opened, seed, good[seed.name], ring, f"{rng_seed}:{number}", keep)


def _round(opened: Arena, seed: Seed, good: Path, ring: Path, name: str, keep: Path | None) -> Fault | None:
    rng = random.Random(f"{seed.name}:{name}")
    cage = ring / "cage"
    shutil.rmtree(cage, ignore_errors=True)
    shutil.copytree(good, cage)
    files = seed.files(cage)
    for path in rng.sample(files, k=min(len(files), rng.choice((1, 1, 1, 2)))):
        path.write_bytes(change_of(path)(path.read_bytes(), rng))
    outside = seen(ring, without=cage)
    call = rng.choice(seed.calls)
    kept = keep / f"{seed.name}-{name.replace(':', '-')}" if keep is not None else None
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(cage, kept)
    outcome = opened.run(call[0], call[1:], cage)
    reason = outcome.fault(codes=seed.codes)
    if seen(ring, without=cage) != outside:
        reason = f"something outside was written: {seen(ring, without=cage).keys() ^ outside.keys()}"
        shutil.rmtree(ring)
        ring.mkdir()
    if reason and kept is not None:
        (kept / "said.txt").write_text(f"{' '.join(call)}\n{reason}\n{outcome.stderr}")
    elif kept is not None:
        shutil.rmtree(kept)
    return Fault(seed.name, name, reason) if reason else None


def main() -> None:
    """Run rounds for a while."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(SEEDS))
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    rounds = faults = 0
    end = time.monotonic() + options.seconds
    chosen = [seed for name, seed in SEEDS.items() if not options.only or name in options.only]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(campaign(Path(folder), chosen, options.seed, keep=KEPT)) as found,
    ):
        for fault in found:
            rounds += 1
            if fault is not None:
                faults += 1
                print(fault, flush=True)
            if time.monotonic() > end:
                break
    print(f"{rounds} rounds, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
