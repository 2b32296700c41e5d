"""The notebooks of the documentation run, and what is stored in them is of no particular machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
PLACES = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|private|var)/")


def outputs(path: Path) -> list[dict]:
    cells = json.loads(path.read_text())["cells"]
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_outputs_are_small_and_name_no_machine(path):
    text = path.read_text()
    assert PLACES.search(text) is None
    assert len(text) < 400_000
    assert any("image/jpeg" in output.get("data", {}) for output in outputs(path))
    assert not any(output["output_type"] == "error" for output in outputs(path))


@pytest.mark.slow
def test_notebooks_run(tmp_path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    subprocess.run([sys.executable, ROOT / "docs" / "tools" / "notebooks.py", tmp_path], check=True)
    for path in NOTEBOOKS:
        stored, new = (
            ["".join(output.get("text", "")) for output in outputs(p)] for p in (path, tmp_path / path.name)
        )
        assert len(stored) == len(new)
