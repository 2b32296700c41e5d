"""A client with some blocks: python job.py WORKSPACE BLOCKS SECONDS_EACH [NAME_OF_ONE_THAT_KILLS]."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from teralign.blockwise import BlockRecord, Workspace, run_blocks
from teralign.cluster import Compute


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"z{self.number // 10:03d}_x{self.number % 10:03d}"


def work(item: Item, *, folder: Path, seconds: float, killer: str) -> BlockRecord:
    """Leave a trace that tells how often it was called, and a result that depends on the item only."""
    with (folder / f"calls-{item.name}").open("a") as file:
        file.write("x")
    if item.name == killer:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    (folder / f"result-{item.name}").write_bytes(bytes([item.number % 256]) * 100)
    return BlockRecord()


def main() -> None:
    folder, count, seconds, *killer = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    workspace = Workspace(Path(folder) / "partial")
    function = functools.partial(work, folder=Path(folder), seconds=float(seconds), killer="".join(killer))
    with workspace, Compute(os.environ.get("TERALIGN_SCHEDULER"), 2, 1, 1).connect() as client:
        workspace.prepare({"count": count})
        items = [Item(n) for n in range(int(count))]
        summary = run_blocks(function, items, client=client, workspace=workspace, stage="work", patience=30)
        print(summary.total, summary.resumed, len(summary.failed), flush=True)


if __name__ == "__main__":
    main()
