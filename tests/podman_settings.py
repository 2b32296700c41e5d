"""Settings of a Podman with a storage of its own, as root, on a machine that may be a container itself."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from pathlib import Path

_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{run}"
[storage.options.overlay]
skip_mount_home = "true"
"""

# Podman's defaults ask for more open files than a machine may allow that is a container itself, for systemd and for a
# network of their own.
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
netns = "host"
volumes = {volumes}
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def configure(folder: Path, run: Path, volumes: Sequence[str] = ()) -> dict[str, str]:
    """Write the settings of a storage in `folder` whose state lies in `run`; return the variables that name them.

    `volumes` (SOURCE:TARGET:ro) are mounted into every container.
    """
    files, processes = (resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    values = {"folder": folder, "run": run, "volumes": json.dumps(list(volumes))}
    limits = {"files": _limit(files, 2**20), "processes": _limit(processes, 2**15)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "storage.conf").write_text(_STORAGE.format(**values))
    (folder / "containers.conf").write_text(_CONTAINERS.format(**values, **limits))
    return variables(folder)


def variables(folder: Path) -> dict[str, str]:
    """Return the variables by which podman, and so the head of a workflow, finds the settings in `folder`."""
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }


def _limit(allowed: int, wanted: int) -> int:
    return wanted if allowed == resource.RLIM_INFINITY else min(allowed, wanted)
