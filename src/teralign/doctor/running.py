"""Short calls of other programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

_SECONDS = 20


def output_of(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str | None:
    """Return what a program writes (standard output, then error), stripped; None if it fails or takes too long."""
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else None
