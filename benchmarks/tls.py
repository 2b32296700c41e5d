"""What TLS costs in CPU time: the same work on clusters with and without it, in pairs, one after the other.

    python -m benchmarks tls [--pairs 3] [--blocks 2000] [--workers 200] [--shape 128,128,96]

Blocks of a second, each a task of its own, are those of `benchmarks.scale`: the CPU of client, scheduler and workers
together, and of the start of scheduler and workers with all their connections. The demo's pair is aligned in blocks
by `local-align` on two workers: the CPU of all processes from start to end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.costs import children_cpu
from benchmarks.scale import running, scale
from benchmarks.tables import Row, markdown

COLUMNS = {
    "work": "work:s",
    "CPU without": "plain:.2f",
    "with TLS": "tls:.2f",
    "more": "more:.2f",
    "from": "least:.2f",
    "to": "most:.2f",
    "in %": "percent:.1f",
}
_KINDS = ("plain", "tls")
_MEASURED = {
    "ms": "a block, in ms: client, scheduler and workers",
    "start": "start of scheduler and workers, in s",
    "demo": "local-align of the demo's pair, in s",
}


def pair_of_scales(blocks: int, workers: int, turn: int) -> Iterator[tuple[str, str, float]]:
    """Measure blocks on both kinds of cluster, in an order that changes with the turn: what, kind, CPU."""
    for kind in _KINDS if turn % 2 else _KINDS[::-1]:
        with tempfile.TemporaryDirectory() as folder:
            command = ("benchmarks.tls_scheduler", kind, "0")
            row = scale(blocks, workers, 2, 1.0, Path(folder), command)
        yield "ms", kind, sum(float(row[name] or 0) for name in ("client_ms", "scheduler_ms", "workers_ms"))
        yield "start", kind, float(row["start_s"] or 0)


def pair_of_alignments(data: Path, turn: int) -> Iterator[tuple[str, str, float]]:
    """Align the demo's pair on both kinds of cluster."""
    for kind in _KINDS if turn % 2 else _KINDS[::-1]:
        with tempfile.TemporaryDirectory() as name:
            folder, before = Path(name), children_cpu()
            with running(("benchmarks.tls_scheduler", kind, "2"), folder / "dask"):
                _align(data, folder)
            yield "demo", kind, children_cpu() - before


def _align(data: Path, folder: Path) -> None:
    """Align the demo's pair in blocks on the cluster of a folder."""
    volumes = ("--fixed", f"{data}/fixed.n5/s0", "--moving", f"{data}/moving.n5/s0")
    options = ("--initial-transform", f"{data}/affine.mat", "--block-size", "32")
    where = ("--scheduler", str(folder / "dask"), "--output", str(folder / "transform.zarr"))
    _run("local-align", *volumes, *options, *where)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "teralign", *arguments], check=True, capture_output=True)


def summed_up(found: Sequence[tuple[str, str, float]]) -> list[Row]:
    """A row for each work: the medians of both kinds, and median and range of the differences of the pairs."""
    rows: list[Row] = []
    for work in dict.fromkeys(work for work, _, _ in found):
        plain, tls = ([cpu for one, kind, cpu in found if (one, kind) == (work, wanted)] for wanted in _KINDS)
        more = [b - a for a, b in zip(plain, tls, strict=True)]
        rows.append(
            {
                "work": _MEASURED[work],
                "plain": median(plain),
                "tls": median(tls),
                "more": median(more),
                "least": min(more),
                "most": max(more),
                "percent": 100 * median(more) / median(plain),
            }
        )
    return rows


def main(arguments: Sequence[str]) -> None:
    """Print a row for each kind of work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tls", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3, help="of each work; default 3")
    parser.add_argument("--blocks", type=int, default=2000, help="default 2000")
    parser.add_argument("--workers", type=int, default=200, help="of the blocks; default 200")
    parser.add_argument("--shape", default="128,128,96", help="of the demo's volumes; default 128,128,96")
    options = parser.parse_args(arguments)
    found: list[tuple[str, str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        _run("make-demo-data", "--output", str(data), "--shape", options.shape)
        coarse = ("--fixed", f"{data}/fixed.n5/s1", "--moving", f"{data}/moving.n5/s1")
        _run("global-align", *coarse, "--output", f"{data}/affine.mat")
        with running(
            ("benchmarks.tls_scheduler", "tls", "2"), Path(folder) / "dask"
        ):  # compiles what is compiled once
            _align(data, Path(folder))
        for turn in range(options.pairs):
            for measured in (pair_of_scales(options.blocks, options.workers, turn), pair_of_alignments(data, turn)):
                for one in measured:
                    print(json.dumps(one), file=sys.stderr, flush=True)
                    found.append(one)
    print(markdown(summed_up(found), COLUMNS))
