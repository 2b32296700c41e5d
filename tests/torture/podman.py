"""Podman with a storage of its own, and an image that holds nothing: containers see this machine's programs.

So it takes a second and no network, and the containers are real ones: namespaces of processes and of mounts, limits
of memory, an engine that starts and ends them. tests/containers runs the image of the Dockerfile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nextflow.runs import ROOT, environment
from podman_settings import configure, variables

_LINKS = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp", "usr")
_PROGRAMS = ("podman", "conmon", "runc")

_PROGRAM = """\
#!/usr/bin/env bash
# Podman, whose containers have the environment of this machine: the mark of the run, and where Python is.
[ "$1" = run ] || exec {podman} "$@"
shift
exec {podman} run --env-host "$@"
"""


@dataclass(frozen=True)
class Podman:
    """A storage of Podman, the image in it, and the variables by which its programs find both."""

    folder: Path
    image: str

    @property
    def environ(self) -> dict[str, str]:
        """What the programs need in their environment."""
        return {"PATH": f"{self.folder / 'bin'}{os.pathsep}{environment()['PATH']}", **variables(self.folder)}

    def containers(self) -> list[str]:
        """The containers that there are, in whatever state."""
        listed = self.call("ps", "--all", "--format", "container {{.Names}} ({{.Status}})")
        return listed.splitlines()

    def call(self, *arguments: str) -> str:
        """Run podman."""
        command = [str(self.folder / "bin" / "podman"), *arguments]
        done = subprocess.run(command, env=environment() | self.environ, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout


def _volumes() -> list[str]:
    """This machine's programs, Python and this checkout, read-only at their own paths."""
    folders = sorted({Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), ROOT})
    return [f"{folder}:{folder}:ro" for folder in folders if Path("/usr") not in folder.parents]


def missing_for_podman() -> str | None:
    """Return why no container can be started here, or None."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no Podman here: {', '.join(missing)} missing"
    if os.geteuid() != 0:
        return "Podman with a storage of its own is run as root"
    try:
        with running_podman() as podman:
            podman.call("run", "--rm", podman.image, "true")
    except RuntimeError as error:
        return f"Podman runs no container here: {error}"
    return None


@contextlib.contextmanager
def running_podman() -> Iterator[Podman]:
    """Make a storage with the image for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="podman."))
    podman = Podman(folder, "localhost/this-machine:latest")
    program = folder / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(_PROGRAM.format(podman=shutil.which("podman")))
    program.chmod(0o755)
    configure(folder, folder / "run", _volumes())
    try:
        with tarfile.open(folder / "image.tar", "w") as tar:
            for name, target in _LINKS.items():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                tar.addfile(link)
            for name in _FOLDERS:
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                tar.addfile(directory)
        podman.call("import", str(folder / "image.tar"), podman.image)
        yield podman
    finally:
        with contextlib.suppress(RuntimeError):
            podman.call("rm", "--all", "--force", "--time", "0")
        subprocess.run(["umount", "--lazy", folder / "store" / "overlay"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
