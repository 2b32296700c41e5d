"""What stands for local-align and apply-transform: real blocks of nothing, on the real cluster, in a real workspace.

    python blocks.py COMMAND --output OUTPUT --work-dir FOLDER …

Each block takes a moment and writes bytes that follow from its name alone. No library of images is loaded, so that
many such runs are had in the time of one real one.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from teralign.blockwise import BlockRecord, Workspace, run_blocks
from teralign.cluster import Compute
from teralign.cluster.useful_workers import tell_useful_workers
from teralign.errors import TeralignError
from teralign.files import writing

_BLOCKS = 60
_SECONDS = 0.4


@dataclass(frozen=True)
class Block:
    """A block that only has a name."""

    number: int

    @property
    def name(self) -> str:
        return f"z{self.number // 10:03d}_x{self.number % 10:03d}"


def work(block: Block, *, command: str, folder: Path) -> BlockRecord:
    """Take a moment, and write what follows from the names."""
    time.sleep(_SECONDS)
    with writing(folder / block.name) as file:
        file.write(hashlib.sha256(f"{command} {block.name}".encode()).digest() * 1000)
    return BlockRecord()


def main() -> None:
    command = Path(sys.argv[1]).name
    options = dict(zip(sys.argv[2:-1], sys.argv[3:], strict=True))
    output = Path(options["--output"])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with Workspace(options["--work-dir"]) as workspace, Compute(os.environ["TERALIGN_SCHEDULER"]).connect() as client:
        workspace.prepare({"command": command})
        tell_useful_workers(_BLOCKS)
        function = functools.partial(work, command=command, folder=workspace.output)
        run_blocks(function, [Block(n) for n in range(_BLOCKS)], client=client, workspace=workspace, stage="work")
        workspace.finish(workspace.output, output)
    if command == "local-align":
        output.with_suffix(".blocks.json").write_text("{}")


if __name__ == "__main__":
    try:
        main()
    except TeralignError as error:
        print(f"Error: {error}", file=sys.stderr)
        os._exit(error.exit_code)
    os._exit(0)
