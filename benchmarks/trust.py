"""How far the verdict can be trusted: pairs of known truth, aligned by the default steps, and what is said of them.

    TERALIGN_TEST_DATA=… python -m benchmarks trust [--set scored] [--kinds KIND…] [--one] [--maps FOLDER] [--advice]

Each kind of `benchmarks.trust_pairs` is made in two places, with --one in the first of them. The limits of the
verdict were chosen on the set "tuned"; the set "scored" has other places, volumes and seeds. A point is wrong if its
image is more than `WRONG` voxels from its true place. A pair is truly good if at most a tenth of its points are
wrong, bad if half of them are or none has a true place, and partly right in between. With --advice only the kinds
whose fault is known are tried, and scored is whether the advice names it: up to 30 s of CPU time more a pair.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tables import Row, markdown
from benchmarks.trust_pairs import KINDS, SCORED, TUNED, KnownPair, known_pair
from teralign.configuration import load_config
from teralign.registration import DeformConfig, StepReport, align
from teralign.tasks.advising import with_advice
from teralign.transforms import FIELD_STRIDE, Affine, Stack
from teralign.trust import Assessment, Clues, Verdict, assess

log = logging.getLogger("benchmarks")
COLUMNS = {
    "pair": "pair",
    "truth": "truth",
    "verdict": "verdict",
    "confirmed": "share:.2f",
    "blocks": "examined:d",
    "median error, voxels": "median:.2f",
    "points wrong": "wrong:.2f",
    "CPU s": "cpu_s:.2f",
}
ADVICE = {
    "pair": "pair",
    "truth": "truth",
    "verdict": "verdict",
    "fault": "made",
    "advice": "advice",
    "named": "named",
}
WRONG = 2.2  # voxels: 4 µm of a section of 1.84 µm
_FEW = 50  # points, with fewer the moving image shows nothing to speak of
_GOOD, _BAD = 0.1, 0.5  # shares of wrong points
_SEEDS = {"tuned": 100, "scored": 500}


@dataclass(frozen=True)
class Found:
    """The map that both commands find for a pair, one after the other, and the reports of all their steps."""

    transform: Stack
    reports: tuple[StepReport, ...]


@dataclass(frozen=True)
class Wanted:
    """The pairs to try: of a set, of these kinds, in one place or in two."""

    name: str
    kinds: Sequence[str]
    one: bool = False

    def pairs(self) -> Iterator[tuple[str, str, int]]:
        """Yield kind, place and seed of each pair."""
        places = list(TUNED if self.name == "tuned" else SCORED)
        for number, kind in enumerate(KINDS):
            for place in (places[number % 3], places[3 + number % 2])[: 1 if self.one else 2]:
                if kind in self.kinds:
                    yield kind, place, _SEEDS[self.name] + number


def trust(wanted: Wanted, *, maps: Path | None = None, advice: bool = False) -> Iterator[Row]:
    """Yield a row for each pair; maps in the folder `maps` are taken from there."""
    for kind, place, seed in wanted.pairs():
        pair = known_pair(kind, place, seed)
        file = None if maps is None else maps / f"{pair.name.replace(' ', '_')}.pickle"
        if file is not None and file.exists():
            found: Found = pickle.loads(file.read_bytes())
        else:
            found = align_pair(pair)
            if file is not None:
                file.write_bytes(pickle.dumps(found))
        yield try_pair(pair, found, advice=advice)


def try_pair(pair: KnownPair, found: Found | None = None, *, advice: bool = False) -> Row:
    """Compare the verdict with the truth, by default after an alignment; if asked for, the advice with the fault."""
    found = align_pair(pair) if found is None else found
    started = time.process_time()
    said = assess(pair.fixed, pair.moving, found.transform)
    row = _row(pair, found.transform, said, time.process_time() - started)
    return row | _advised(pair, found, said) if advice else row


def align_pair(pair: KnownPair) -> Found:
    """Return what `global-align` and then `local-align`, in one block, find; by default with their defaults."""
    config, images, kind = load_config(None), (pair.fixed, pair.moving), KINDS[pair.kind]
    nodes = pair.fixed.grid.nodes((FIELD_STRIDE,) * 3)
    reports: tuple[StepReport, ...] = ()
    if kind.start is None:
        first = align(*images, config.steps("global_align"), initial_transform=Stack())
        whole, reports = first.transform, first.reports
    else:
        whole = Stack((Affine.from_parts(np.eye(3), np.array(kind.start) * pair.unit),))
    steps = config.steps("local_align")
    if kind.smoothness is not None:
        um = kind.smoothness * pair.unit
        steps = [s.model_copy(update={"smoothness": um}) if isinstance(s, DeformConfig) else s for s in steps]
    second = align(*images, steps, initial_transform=whole, field_grid=nodes)
    return Found(whole @ second.transform, (*reports, *second.reports))


def _advised(pair: KnownPair, found: Found, said: Assessment) -> Row:
    """Return the causes that the advice names, and whether the fault of the kind is among them."""
    deform = next((r for r in found.reports if r.name == "deform"), None)
    least = None if deform is None else deform.details.get("min_jacobian")
    clues = Clues(
        verdict=said.verdict,
        transform=found.transform,
        fixed=pair.fixed.grid,
        moving=pair.moving.grid,
        spacing=pair.moving.grid.spacing,
        started=KINDS[pair.kind].start is not None,
        steps=found.reports,
        blocks={"ok" if deform is not None and deform.state == "improved" else "kept": 1},
        min_jacobian=least if isinstance(least, float) else None,
        gain=None if deform is None or deform.state == "kept" else deform.metric_after - deform.metric_before,
    )
    given = with_advice(said, clues, lambda: (pair.fixed, pair.moving), threads=1).advice
    named = [advice.cause for advice in given]
    expected = KINDS[pair.kind].fault
    return {
        "made": ", or ".join(expected),
        "advice": "; ".join(named) or "none",
        "named": "yes" if set(expected) & set(named) else "no",
    }


def _row(pair: KnownPair, found: Stack, said: Assessment, seconds: float) -> Row:
    errors = pair.errors(found.map_points) if len(pair.points) >= _FEW else np.zeros(0)
    wrong = float((errors > WRONG).mean()) if errors.size else 1.0
    return {
        "pair": pair.name,
        "truth": "good" if wrong <= _GOOD else "bad" if wrong >= _BAD else "partly",
        "verdict": said.verdict.value,
        "share": said.confirmed / max(1, said.examined),
        "examined": said.examined,
        "median": float(np.median(errors)) if errors.size else None,
        "wrong": wrong,
        "cpu_s": seconds,
    }


def summary(rows: Sequence[Row]) -> str:
    """Return how many pairs of each truth got which verdict, and the two faults that count."""
    lines = []
    for truth in ("good", "partly", "bad"):
        of = [row for row in rows if row["truth"] == truth]
        counts = ", ".join(f"{sum(row['verdict'] == v.value for row in of)} {v.value}" for v in Verdict)
        lines.append(f"truly {truth}: {len(of)} pairs, called {counts}")
    faults = {
        (a, b): sum((r["truth"], r["verdict"]) == (a, b) for r in rows) for a, b in (("bad", "good"), ("good", "bad"))
    }
    lines.append(f"bad called good: {faults['bad', 'good']}; good called bad: {faults['good', 'bad']}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the pairs of a set, and print the table and its sums."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks trust", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--set", choices=list(_SEEDS), default="scored", help="default scored")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--one", action="store_true", help="in one place, instead of two")
    parser.add_argument("--maps", type=Path, help="folder where the maps are kept, which take most of the time")
    parser.add_argument("--advice", action="store_true", help="score the advice on the kinds whose fault is known")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    if options.maps is not None:
        options.maps.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in options.kinds if KINDS[kind].fault or not options.advice]
    rows = []
    for row in trust(Wanted(options.set, kinds, options.one), maps=options.maps, advice=options.advice):
        log.info("%s: %s is called %s %s", row["pair"], row["truth"], row["verdict"], row.get("advice", ""))
        rows.append(row)
    print(markdown(rows, ADVICE if options.advice else COLUMNS) + "\n\n" + summary(rows))


if __name__ == "__main__":
    main()
