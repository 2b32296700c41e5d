"""Run the notebooks of the documentation, and store what their cells give, here or in a folder.

python docs/tools/notebooks.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SECONDS = 300  # for a cell; a notebook takes about a minute


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with what its cells give, run in an empty folder. Raises CellExecutionError for a failure."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "image/jpeg" in output.get("data", {}):
                    output.data.pop("image/png", None)  # the same picture, five times as large
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOKS
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(run(path), target / path.name)
