"""How long a viewer waits for a chunk of 64³ voxels of the aligned volume, by scale: milliseconds of requests.

    python -m benchmarks viewing FIXED MOVING TRANSFORM… [--chunks 40]

A real server on this machine, one request at a time, as a warm page does: each chunk is asked for once, from the
middle of the volume, after others have compiled the loops and opened the files. `first` and `again` are medians of
the first answer and of the same one from memory. CPU time is that of server and client together: on a machine with
other work it shows what the wall time would be.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from urllib.request import Request, urlopen

import numpy as np

from benchmarks.tables import Row, markdown
from teralign.tasks.view_alignment import open_view, serve_view
from teralign.viewing.zarr_view import SERVED_CHUNK

COLUMNS = {
    "layer": "layer",
    "scale": "scale",
    "chunks": "chunks",
    "first (ms)": "first:.0f",
    "p95": "p95:.0f",
    "CPU (ms)": "cpu:.0f",
    "CPU p95": "cpu_p95:.0f",
    "again (ms)": "again:.1f",
}
_WARM = 3  # chunks before those that are counted


def waiting_times(fixed: str, moving: str, transforms: list[str], chunks: int) -> Iterator[Row]:
    """Measure; gives a row for each scale of the first channel of each layer."""
    view = open_view(fixed, moving, transforms=transforms)
    with serve_view(view) as viewed:
        address = viewed.link.partition("/v/")[0]
        for number, layer in enumerate(view.layers):
            for level, grid in enumerate(layer.pyramid.grids):
                counts = [-(-n // c) for n, c in zip(grid.shape, SERVED_CHUNK, strict=True)]
                middle = (np.array(counts) - 1) / 2
                places = sorted(itertools.product(*map(range, counts)), key=lambda p: np.abs(p - middle).sum())
                urls = [f"{address}/layers/{number}/s{level}/c/{'/'.join(map(str, p))}" for p in places]
                first = [_spent(url) for url in urls[: chunks + _WARM]][_WARM if len(urls) > _WARM else 0 :]
                again = [_spent(url) for url in urls[: chunks + _WARM]]
                wall, cpu = 1000 * np.array(first).T
                yield {
                    "layer": layer.name,
                    "scale": f"s{level}",
                    "chunks": len(first),
                    "first": np.median(wall),
                    "p95": np.percentile(wall, 95),
                    "cpu": np.median(cpu),
                    "cpu_p95": np.percentile(cpu, 95),
                    "again": 1000 * np.median(again, axis=0)[0],
                }


def _spent(url: str) -> tuple[float, float]:
    """Ask for a chunk; returns wall seconds and the CPU seconds of this process."""
    start, cpu = time.perf_counter(), time.process_time()
    try:
        with urlopen(Request(url, headers={"Accept-Encoding": "gzip"})) as answer:
            answer.read()
    except OSError as error:  # a chunk of only 0 is missing
        if getattr(error, "code", None) != 404:
            raise
    return time.perf_counter() - start, time.process_time() - cpu


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks viewing")
    parser.add_argument("fixed")
    parser.add_argument("moving")
    parser.add_argument("transforms", nargs="+")
    parser.add_argument("--chunks", type=int, default=40)
    given = parser.parse_args(arguments)
    rows = list(waiting_times(given.fixed, given.moving, given.transforms, given.chunks))
    sys.stdout.write(markdown(rows, COLUMNS) + "\n")
