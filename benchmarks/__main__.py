"""Accuracy, CPU seconds, wall time and peak memory of Teralign and of every peer that can be installed, in one run.

    TERALIGN_TEST_DATA=… python -m benchmarks [--only PART]…
    TERALIGN_TEST_DATA=… python -m benchmarks trust [--help]
    TERALIGN_TEST_DATA=… python -m benchmarks error-estimate [--help]
    TERALIGN_TEST_DATA=… TERALIGN_TILES_TOOLS=… python -m benchmarks tiles|flatfield [--help]
    python -m benchmarks scale|tls|viewing|imports [--help]

Some parts have options of their own and no peers: the verdict and the estimated error on pairs of known truth
(`benchmarks.trust`, `benchmarks.error_estimate`), a cluster of a thousand workers (`benchmarks.scale`), what TLS
costs (`benchmarks.tls`), positions of tiles (`benchmarks.tiles`), their uneven light (`benchmarks.flatfield`),
chunks of the viewer (`benchmarks.viewing`), and `import teralign` (`benchmarks.imports`).

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
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    alignment,
    applying,
    blocks,
    commands,
    error_blocks,
    error_estimate,
    flatfield,
    giant,
    imports,
    robustness,
    scale,
    scaling,
    tiles,
    tls,
    trust,
    viewing,
    warp_speed,
)
from benchmarks.environments import FOLDER, PACKAGES
from benchmarks.tables import Row, markdown, save

log = logging.getLogger("benchmarks")
PARTS = (
    "synthetic",
    "blocks",
    "real",
    "commands",
    "robustness",
    "scaling",
    "applying",
    "converting",
    "giant",
    "warping",
    "tiles",
    "flatfield",
)

_ALONE = {
    "trust": trust.main,
    "error-blocks": error_blocks.main,
    "error-estimate": error_estimate.main,
    "flatfield": flatfield.main,
    "scale": scale.main,
    "tiles": tiles.main,
    "tls": tls.main,
    "viewing": viewing.main,
    "imports": imports.main,
}


def main() -> None:
    """Run the parts that are asked for, and print a table for each."""
    name, *arguments = sys.argv[1:] or [""]
    if name in _ALONE:
        _ALONE[name](arguments)
        return
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    results: dict[str, object] = {"machine": _machine(), "command": sys.argv[1:], "peers": dict(PACKAGES)}
    print(f"{results['machine']}\n", flush=True)
    wanted = options.only or PARTS
    if "tiles" in wanted and options.flatfield_peer is not None:
        wanted = [*wanted, "flatfield"]
    for name, part in _parts(options).items():
        if name not in wanted:
            continue
        print(f"## {part.title}\n", flush=True)
        done: list[Row] = []
        for row in part.rows():
            log.info("%s", markdown([row], part.columns).splitlines()[-1])
            done.append(row)
            save(options.output, results | {name: done})
        results[name] = done
        print(markdown(done, part.columns) + "\n", flush=True)
        if part.summary is not None:
            print(part.summary(done) + "\n", flush=True)


@dataclass(frozen=True)
class _Part:
    """A table: its title, its columns, what measures its rows, and the text of what follows from them."""

    title: str
    columns: Mapping[str, str]
    rows: Callable[[], Iterable[Row]]
    summary: Callable[[list[Row]], str] | None = None


def _parts(options: argparse.Namespace) -> dict[str, _Part]:
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    settings = alignment.Settings(options.threads, options.limit)
    tools = ["teralign", *(peer for peer in PACKAGES if peer in options.peers)]
    seeds = {tool: options.seeds if tool == "teralign" else options.peer_seeds for tool in tools}
    records = options.output.with_suffix(".robustness.jsonl")
    return {
        "synthetic": _Part(
            "Known truth, 128×128×192 voxels, from raw images to the full map",
            alignment.SYNTHETIC,
            lambda: alignment.synthetic(data, tools, seeds, settings),
        ),
        "blocks": _Part(
            "Known truth, local-align in one block and in blocks, 2 workers of 1 cpu",
            blocks.COLUMNS,
            lambda: blocks.blocks(data, options.seeds, workers=2),
        ),
        "real": _Part(
            "The real pair, 149×241×456 voxels",
            alignment.REAL,
            lambda: alignment.real(data, tools, options.affine, settings),
        ),
        "commands": _Part(
            "The real pair by the commands",
            commands.COLUMNS,
            lambda: commands.commands(data, options.affine, nextflow=options.nextflow),
        ),
        "robustness": _Part(
            "The global step from random starts, 74×120×228 voxels",
            robustness.COLUMNS,
            lambda: robustness.robustness(data, range(options.maps), records, options.threads),
        ),
        "scaling": _Part(
            "From small volumes to large ones, 2 workers of 1 cpu",
            scaling.COLUMNS,
            lambda: scaling.scaling(options.largest, workers=2),
        ),
        "applying": _Part(
            "apply-transform against reading and writing alone",
            applying.COLUMNS,
            lambda: applying.applying(options.largest, workers=2),
        ),
        "converting": _Part(
            "convert-volume, N5 to OME-Zarr, against reading and writing alone",
            applying.COLUMNS,
            lambda: applying.converting(options.largest, workers=2),
        ),
        "giant": _Part(
            "Volumes larger than any disk here, 2 workers of 1 cpu",
            giant.COLUMNS,
            lambda: giant.giant(options.largest, workers=2),
        ),
        "warping": _Part("Warping in memory, 256³ voxels, one thread", warp_speed.COLUMNS, warp_speed.warp_speed),
        "tiles": _Part(
            "Positions of tiles of known truth, one thread",
            tiles.COLUMNS,
            lambda: tiles.tiles(
                tiles.tools_of(None, options.tiles_peer),
                tiles.Wanted(options.seeds, options.peer_seeds, options.peer_seeds),
            ),
            tiles.what_holds,
        ),
        "flatfield": _Part(
            "Uneven light and dark level of planes of known truth, one thread",
            flatfield.COLUMNS,
            lambda: flatfield.flatfield(
                tiles.tools_of(None, options.flatfield_peer), flatfield.COUNTS, options.seeds, options.peer_seeds
            ),
        ),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, help="a part; repeats; default all")
    add("--peers", nargs="*", default=list(PACKAGES), choices=list(PACKAGES), help="default all")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="of Teralign's made pairs; default 1 to 5")
    add("--peer-seeds", nargs="+", type=int, default=[1], help="of the peers' made pairs; default 1")
    add("--affine", type=Path, help="where deformations of the real pair start (4×4, zyx, µm); default: our affine")
    add("--threads", type=int, default=1, help="of each tool; default 1")
    add("--limit", type=float, default=600, help="CPU seconds after which a tool is stopped; default 600")
    add("--nextflow", action="store_true", help="the real pair through the workflow as well")
    add("--maps", type=int, default=20, help="random maps of each kind; default 20")
    add("--largest", type=scaling.parse_shape, default=(384, 384, 384), help="x,y,z; default 384,384,384")
    add("--tiles-peer", type=Path, help="a Python with multiview-stitcher, for tiles")
    add("--flatfield-peer", type=Path, help="a Python with basicpy, for flatfield, which then comes with tiles")
    add("--output", type=Path, default=FOLDER / "results.json", help="the JSON; default .bench/results.json")
    return parser.parse_args()


def _machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(names)} cores of {names[0]}, {memory:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
