"""The peers, each in an environment of its own in `.bench/`, which is made once.

Versions are pinned, so that figures of two days can be compared.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".bench"
PACKAGES: Mapping[str, Sequence[str]] = {
    "greedy": ("picsl-greedy==1.4.0.3",),
    "ants": ("antspyx==0.6.3",),
    "elastix": ("itk-elastix==0.25.4",),
    "simpleitk": ("SimpleITK==2.5.7", "numpy==2.4.6"),
    "bigstream": ("bigstream==5.0.3", "zarr==2.18.7", "numcodecs==0.15.2"),  # it does not import with zarr 3
}
TILE_PACKAGES: Mapping[str, Sequence[str]] = {
    "multiview-stitcher": ("multiview-stitcher==0.1.62", "tifffile==2026.3.3"),
}
_LIMIT = 900  # seconds to install one


class NotInstalledError(Exception):
    """A peer cannot be installed here; the message is the reason, in a phrase."""


def python_of(peer: str) -> Path:
    """The Python of a peer's environment, made when it is not there. Raises NotInstalledError."""
    packages = (*PACKAGES.get(peer, ()), *TILE_PACKAGES.get(peer, ()))
    folder, wanted = FOLDER / peer, "\n".join(packages)
    marker = folder / "packages.txt"
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(folder)])
        _call([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages])
        marker.write_text(wanted)
    return folder / "bin" / "python"


def _call(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=_LIMIT, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"not installed within {_LIMIT} s") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise NotInstalledError(f"cannot be installed: {lines[-1][:120] if lines else 'no reason given'}") from None
