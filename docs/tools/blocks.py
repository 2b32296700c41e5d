"""The blocks of the pages that are run: fenced `sh` and `python` blocks, in their order."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def runnable(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def run(page: Path, folder: Path) -> str:
    """Run the blocks of a page in `folder` in their order; return what they print. Raises at the first failure."""
    printed = []
    for language, text in runnable(page):
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed.append(done.stdout)
        if done.returncode:
            raise RuntimeError(f"{page.name}: exit code {done.returncode} of\n{text}\n{done.stdout}")
    return "\n".join(printed)
