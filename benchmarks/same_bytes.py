"""Whether two installations write the same bytes: every command on a made pair and on the real pair.

    python -m benchmarks.same_bytes --before OLD/.venv/bin --after .venv/bin

Each command runs once with either installation, on the same inputs and under the same relative names. Every file that
it writes is compared byte by byte, with three exceptions. Manifests are compared by their arrays, since older ones
depend on the version of Python. Tables of points are compared by their numbers. Reports (`.json` beside a result)
hold times and versions, so that they only have to exist. Exits with 1 when a file differs or is missing.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

_CLUSTER = ("--workers", "2", "--worker-cpus", "1", "--worker-mem-gb", "4")
_POINTS = "x,y,z\n20,30,40\n100.5,80.25,60\n60,70,20\n"


def main() -> None:
    """Run all commands with both installations and print a line a file that differs."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _run(options.before, root, "make-demo-data", "--output", "demo", "--shape", options.shape, "--seed", "3")
        pairs = {"demo": (str(root / "demo" / "fixed.n5"), str(root / "demo" / "moving.n5"), "s1", "s0")}
        if data := os.environ.get("TERALIGN_TEST_DATA"):
            easifish = Path(data) / "easifish"
            pairs["real"] = (str(easifish / "fix.n5"), str(easifish / "mov.n5"), "lowres", "lowres")
        else:
            print("TERALIGN_TEST_DATA is not set: the real pair is left out.", file=sys.stderr)
        wrong = 0
        for pair, (fixed, moving, coarse, fine) in pairs.items():
            for side, programs in (("before", options.before), ("after", options.after)):
                there = root / side / pair
                there.mkdir(parents=True)
                (there / "points.csv").write_text(_POINTS)
                for name, *arguments in _commands(fixed, moving, coarse, fine):
                    _run(programs, there, name, *arguments)
            wrong += _compare(pair, root / "before" / pair, root / "after" / pair)
    sys.exit(1 if wrong else 0)


def _commands(fixed: str, moving: str, coarse: str, fine: str) -> Iterator[Sequence[str]]:
    at_coarse = ("--fixed", f"{fixed}/{coarse}", "--moving", f"{moving}/{coarse}")
    at_fine = ("--fixed", f"{fixed}/{fine}", "--moving", f"{moving}/{fine}")
    whole = ("--transform", "transform.zarr")
    yield "global-align", *at_coarse, "--output", "affine.mat", "--aligned", "aligned.zarr"
    yield (
        *("local-align", *at_fine, "--initial-transform", "affine.mat", "--output", "transform.zarr"),
        *("--block-size", "96", *_CLUSTER),
    )
    for ending in ("zarr", "n5", "tif", "nrrd"):
        yield "apply-transform", *at_fine, *whole, "--output", f"warped.{ending}", *_CLUSTER
    yield (
        *("apply-transform", *at_fine, *whole, "--output", "nearest.zarr", "--ome-zarr", "0.4"),
        *("--interpolation", "nearest", *_CLUSTER),
    )
    yield "transform-points", *whole, "--points", "points.csv", "--output", "moved.csv"
    yield "transform-points", *whole, "--points", "points.csv", "--output", "back.csv", "--inverse"
    yield "compose-transforms", "transform.zarr", "composed.zarr"
    yield "invert-transform", *whole, "--output", "inverse.zarr"
    yield "convert-transform", "affine.mat", "affine.tfm"
    yield "jacobian-map", "transform.zarr", "jacobian.zarr"
    for ending in ("zarr", "n5", "precomputed", "ome.tif"):
        yield "convert-volume", f"{fixed}/{fine}", f"converted.{ending}"


def _run(programs: Path, folder: Path, name: str, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [programs / name, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{programs / name} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    print(f"{folder.parent.name}/{folder.name} {name} {arguments[-1]}", file=sys.stderr, flush=True)


def _compare(pair: str, before: Path, after: Path) -> int:
    names = {side: _files(folder) for side, folder in (("before", before), ("after", after))}
    wrong, same = 0, 0
    for name in sorted(names["before"] | names["after"]):
        missing = [side for side, found in names.items() if name not in found]
        if missing:
            print(f"{pair}: {name} is not there {missing[0]}")
        elif _is_report(name) or _content(before / name) == _content(after / name):
            same += 1
            continue
        else:
            print(f"{pair}: {name} differs")
        wrong += 1
    print(f"{pair}: {same} files the same, {wrong} not", flush=True)
    return wrong


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> object:
    if path.name == "manifest.npz":
        with np.load(path) as arrays:
            return {key: (arrays[key].dtype, arrays[key].tolist()) for key in arrays.files}
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(file)]
    return path.read_bytes()


def _is_report(name: str) -> bool:
    return "/" not in name and name.endswith(".json")


def _folder(name: str) -> Path:
    """Return an absolute path: commands run in folders of their own."""
    return Path(name).absolute()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_bytes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", type=_folder, required=True, help="the folder of one installation's commands")
    parser.add_argument("--after", type=_folder, required=True, help="the folder of the other's")
    parser.add_argument("--shape", default="128,128,96", help="of the made pair, x,y,z; default 128,128,96")
    return parser.parse_args()


if __name__ == "__main__":
    main()
