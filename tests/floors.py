"""Run pytest with the lowest version of each dependency that pyproject.toml allows: python tests/floors.py [PYTEST…].

The environment is .floors beside the checkout's other folders; it is made again when pyproject.toml changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".floors"
LINTERS = {"ruff", "mypy"}  # no test imports them


def lowest_versions() -> list[str]:
    """Each dependency of Teralign and its tests, pinned to its floor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [line for name in extras if name != "validators" for line in extras[name]]
    pins = set()
    for requirement in map(Requirement, lines):
        if requirement.name not in LINTERS | {"teralign"} and requirement.specifier:
            (bound,) = requirement.specifier
            extra = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            pins.add(f"{requirement.name}{extra}=={bound.version}")
    return sorted(pins)


def make_environment() -> Path:
    """Return the Python of an environment with the lowest versions, made if it is missing or outdated."""
    python = FOLDER / "bin" / "python"
    pins = "\n".join(lowest_versions()) + "\n"
    marker = FOLDER / "lowest.txt"
    if not marker.exists() or marker.read_text() != pins:
        venv.create(FOLDER, clear=True, with_pip=True)
        wanted = FOLDER / "wanted.txt"
        wanted.write_text(pins)
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", wanted], check=True)
        subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
        wanted.rename(marker)
    return python


if __name__ == "__main__":
    python = make_environment()
    # Old versions use what others have deprecated since; SimpleITK 2.4 even crashes where such a warning is an error.
    options = ["-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    sys.exit(subprocess.run([python, "-m", "pytest", *options, *sys.argv[1:]], cwd=ROOT, env=environment).returncode)
