"""Accuracy, CPU seconds, wall time and peak memory of Teralign and of every peer that can be installed, in one run.

    TERALIGN_TEST_DATA=… python -m benchmarks [--only PART]…

Tables go to stdout as markdown, and as JSON to `.bench/results.json`; progress goes to stderr. Peers are installed in
environments of their own in `.bench/`, once.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks import alignment
from benchmarks.environments import FOLDER, PACKAGES
from benchmarks.tables import Row, markdown, save

log = logging.getLogger("benchmarks")


def main() -> None:
    """Run the parts that are asked for, and print a table for each."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    results: dict[str, object] = {"machine": _machine(), "command": sys.argv[1:], "versions": dict(PACKAGES)}
    print(f"{results['machine']}\n", flush=True)
    for part, (title, columns, rows) in _parts(options).items():
        if options.only and part not in options.only:
            continue
        print(f"## {title}\n", flush=True)
        done = []
        for row in rows():
            log.info("%s", markdown([row], columns).splitlines()[-1])
            done.append(row)
            save(options.output, results | {part: done})
        results[part] = done
        print(markdown(done, columns) + "\n", flush=True)


_Part = tuple[str, Mapping[str, str], Callable[[], Iterable[Row]]]


def _parts(options: argparse.Namespace) -> dict[str, _Part]:
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    settings = alignment.Settings(options.threads, options.limit)
    tools = ["teralign", *(peer for peer in PACKAGES if peer in options.peers)]
    seeds = {tool: options.seeds if tool == "teralign" else options.peer_seeds for tool in tools}
    return {
        "synthetic": (
            "Known truth, 128×128×192 voxels, from raw images to the full map",
            alignment.SYNTHETIC,
            lambda: alignment.synthetic(data, tools, seeds, settings),
        ),
        "real": (
            "The real pair, 149×241×456 voxels",
            alignment.REAL,
            lambda: alignment.real(data, tools, options.affine, settings),
        ),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=("synthetic", "real"), help="repeats")
    parser.add_argument(
        "--peers", nargs="*", default=list(PACKAGES), choices=list(PACKAGES), help="which; default all"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="of Teralign's synthetic pairs")
    parser.add_argument("--peer-seeds", nargs="+", type=int, default=[1], help="of the peers' synthetic pairs")
    parser.add_argument("--affine", type=Path, help="where deformations of the real pair start: 4×4, zyx, µm")
    parser.add_argument("--threads", type=int, default=2, help="of each tool; default 2")
    parser.add_argument("--limit", type=float, default=900, help="wall seconds for each run of a tool; default 900")
    parser.add_argument("--output", type=Path, default=FOLDER / "results.json", help="the JSON; default in .bench")
    return parser.parse_args()


def _machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(names)} cores of {names[0]}, {memory:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
