"""How long Python takes until Teralign can be used: milliseconds of `import`, in a fresh process each time.

    python -m benchmarks imports [--times 9]

Medians over the processes, wall and CPU time, less those of a Python that imports nothing. Files are in the system's
memory, as on the second call of a day. The first row is the promise of `import teralign as ta`, below 300 ms; the
second is what every command needs; the third is what the first use of a name such as `ta.align` takes.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.tables import Row, markdown

COLUMNS = {"statement": "statement", "wall (ms)": "wall:.0f", "CPU (ms)": "cpu:.0f", "modules": "modules:.0f"}
STATEMENTS = (
    "import teralign",
    "import teralign.cli.main",
    "from teralign import align",
    "import numpy",
)
_COUNT = "; import sys; print(len(sys.modules))"


def import_times(times: int) -> Iterator[Row]:
    """Measure; yields a row for each statement."""
    _one("pass")  # so that the interpreter's own files are in memory
    empty = [_one("pass") for _ in range(times)]
    idle_wall, idle_cpu = (statistics.median(values) for values in list(zip(*empty, strict=True))[:2])
    for statement in STATEMENTS:
        _one(statement)
        runs = [_one(statement) for _ in range(times)]
        wall, cpu, modules = (statistics.median(values) for values in zip(*runs, strict=True))
        yield {"statement": statement, "wall": wall - idle_wall, "cpu": cpu - idle_cpu, "modules": modules}


def _one(statement: str) -> tuple[float, float, int]:
    """Run a statement in a new Python; returns wall and CPU milliseconds, and the modules that are loaded then."""
    before, start = _children(), time.perf_counter()
    command = [sys.executable, "-c", statement + _COUNT]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall, cpu = time.perf_counter() - start, _children() - before
    return 1000 * wall, 1000 * cpu, int(done.stdout)


def _children() -> float:
    """Return the CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks imports")
    parser.add_argument("--times", type=int, default=9, help="processes for each statement")
    given = parser.parse_args(arguments)
    sys.stdout.write(markdown(list(import_times(given.times)), COLUMNS) + "\n")
