"""The commands and the Python of the tutorial and the how-to pages run as they stand, one page after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import blocks
import pytest

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"
TUTORIAL = DOCS / "tutorial.md"
HOW_TOS = [
    page for page in [*sorted((DOCS / "how-to").glob("*.md")), DOCS / "clusters.md"] if list(blocks.runnable(page))
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The folder in which the tutorial was run, and what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, blocks.run(TUTORIAL, folder)


def test_the_tutorial_ends_with_a_report_and_a_small_error(tutorial):
    folder, printed = tutorial
    assert (folder / "report" / "index.html").stat().st_size < 5_000_000
    assert json.loads((folder / "report" / "report.json").read_text())["verdict"] in ("good", "doubtful", "unknown")
    score = next(json.loads(line) for line in printed.splitlines() if '"tre_um_after"' in line)
    assert score["tre_um_after"]["median"] < 1.0 < score["tre_um_before"]["median"]
    moved = (folder / "spots_day1.csv").read_text().splitlines()
    assert moved[0] == "x,y,z,space"


def test_the_readme_has_the_commands_of_the_tutorial_and_python_that_runs(tutorial, tmp_path):
    shown = list(blocks.runnable(README))
    known = "".join(text for _, text in blocks.runnable(TUTORIAL)).replace(" \\\n   ", "")
    given = "".join(text for language, text in shown if language == "sh").replace(" \\\n   ", "")
    assert [line for line in given.splitlines() if line not in known.splitlines()] == []
    (python,) = (text for language, text in shown if language == "python")
    done = subprocess.run([sys.executable, "-c", python], cwd=tutorial[0], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(("good", "doubtful"))


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)
def test_a_page_runs_on_the_files_of_the_tutorial(tutorial, tmp_path, page):
    folder = tmp_path / "work"
    shutil.copytree(tutorial[0], folder)
    blocks.run(page, folder)


def test_most_how_to_pages_run_something():
    assert len(HOW_TOS) >= 5
