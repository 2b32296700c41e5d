"""The conformance cases for OME-Zarr transformations, by others: see conformance/README.md.

The same cases run by their own program, which needs Python 3.12, where its command `oztc` is there:

    pip install ome-zarr-transformations-conformance
    oztc -- python tests/transforms/test_conformance.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.transforms.coordinate_maps import find_coordinate_map

CASES = sorted(path.parent for path in (Path(__file__).parent / "conformance").rglob("conformance.toml"))


def map_case(path: Path, source: str, target: str, coordinates: list[list[float]]) -> list[list[float]]:
    found = find_coordinate_map(path, source, target).map_coordinates(np.array(coordinates, dtype=np.float64))
    return found.tolist()


def test_all_cases_are_here():
    assert len(CASES) == 24


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.removesuffix(".ome.zarr"))
def test_case(path: Path):
    case = tomllib.loads((path / "conformance.toml").read_text())
    source, target = case["source"], case["target"]
    if case["should_error"]:
        with pytest.raises(InputError):
            map_case(path, source["name"], target["name"], source["coordinates"])
        return
    found = map_case(path, source["name"], target["name"], source["coordinates"])
    # As the package does it: the difference is within both tolerances.
    np.testing.assert_allclose(found, target["coordinates"], atol=case["absolute_tolerance"], rtol=0)
    np.testing.assert_allclose(found, target["coordinates"], atol=0, rtol=case["relative_tolerance"])


@pytest.mark.skipif(shutil.which("oztc") is None, reason="the package's own program is not installed")
def test_the_package_says_so_too():
    ran = subprocess.run(["oztc", "--", sys.executable, __file__], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\tpass\n") >= len(CASES)


if __name__ == "__main__":
    where, first, last, given = sys.argv[-4:]
    try:
        answer = {"coordinates": map_case(Path(where), first, last, json.loads(given))}
    except InputError as error:
        sys.stdout.write(json.dumps({"message": str(error)}) + "\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(answer) + "\n")
