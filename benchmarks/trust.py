"""How far the verdict can be trusted: pairs of known truth, aligned by the default steps, and what is said of them.

    TERALIGN_TEST_DATA=… python -m benchmarks trust [--set scored] [--kinds KIND…] [--records FILE]

Each kind of `benchmarks.trust_pairs` is made in two places. The limits of the verdict were chosen on the set "tuned";
the set "scored" has other places, volumes and seeds. A point is wrong if its image is more than `WRONG` voxels from
its true place. A pair is truly good if at most a tenth of its points are wrong, bad if half of them are or none has a
true place, and partly right in between.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.tables import Row, markdown
from benchmarks.trust_pairs import KINDS, SCORED, TUNED, KnownPair, known_pair
from teralign.configuration import load_config
from teralign.registration import align
from teralign.transforms import FIELD_STRIDE, Stack
from teralign.trust import Assessment, Verdict, assess

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
WRONG = 2.2  # voxels: 4 µm of a section of 1.84 µm
_FEW = 50  # points, with fewer the moving image shows nothing to speak of
_GOOD, _BAD = 0.1, 0.5  # shares of wrong points
_SEEDS = {"tuned": 100, "scored": 500}


def trust(name: str, kinds: Sequence[str], records: Path | None = None) -> Iterator[Row]:
    """Yield a row for each pair of a set; rows in `records`, a file of JSON lines, are taken from there."""
    places = list(TUNED if name == "tuned" else SCORED)
    done = {row["pair"]: row for row in map(json.loads, records.read_text().splitlines())} if _is(records) else {}
    for number, kind in enumerate(KINDS):
        for place in (places[number % 3], places[3 + number % 2]) if kind in kinds else ():
            seed = _SEEDS[name] + number
            row = done.get(f"{kind}, {place}, {seed}") or try_pair(known_pair(kind, place, seed))
            if records is not None and row["pair"] not in done:
                with records.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            yield row


def _is(records: Path | None) -> bool:
    return records is not None and records.exists()


def try_pair(pair: KnownPair) -> Row:
    """Align a pair by the default steps of both commands, and compare the verdict with the truth."""
    found = align_pair(pair)
    started = time.process_time()
    said = assess(pair.fixed, pair.moving, found)
    return _row(pair, found, said, time.process_time() - started)


def align_pair(pair: KnownPair) -> Stack:
    """Return the map that `global-align` and then `local-align`, in one block, find with their defaults."""
    config, images = load_config(None), (pair.fixed, pair.moving)
    whole = align(*images, config.steps("global_align"), initial_transform=Stack()).transform
    nodes = pair.fixed.grid.nodes((FIELD_STRIDE,) * 3)
    return whole @ align(*images, config.steps("local_align"), initial_transform=whole, field_grid=nodes).transform


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
    parser.add_argument("--records", type=Path, help="where rows are kept, to go on from")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    rows = []
    for row in trust(options.set, options.kinds, options.records):
        log.info("%s: %s is called %s", row["pair"], row["truth"], row["verdict"])
        rows.append(row)
    print(markdown(rows, COLUMNS) + "\n\n" + summary(rows))


if __name__ == "__main__":
    main()
