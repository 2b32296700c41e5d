"""Podman with a store of its own, as root, and in it the image of the Dockerfile, on a base of Debian's packages.

No registry is asked: mmdebstrap makes the base out of the packages that apt of this machine finds, and pip finds the
libraries where this machine's pip does. Both are mounted while the image is built, so that no address of theirs is in
its layers. What is built stays in build/containers, where the next session finds it: `podman build` repeats only what
has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from podman_settings import configure, variables

ROOT = Path(__file__).parents[2]
_PROGRAMS = ("podman", "buildah", "runc", "conmon", "mmdebstrap")
_IMAGE = "localhost/teralign:test"

# Like python:3.11-slim, the base lacks documentation. It also lacks ps and venv, which the Dockerfile then installs.
# Without the hook, usrmerge brings 47 MB of Perl.
_BASE = shlex.split("""
    --variant=minbase --include=python3,ca-certificates --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
    --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/*
    --dpkgopt=path-exclude=/usr/share/doc/* --dpkgopt=path-include=/usr/share/doc/*/copyright
    --customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*'
    --quiet
""")


def missing_for_image() -> str | None:
    """Return why the image cannot be built here, or None."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no image here: {', '.join(missing)} missing (podman buildah runc conmon netavark mmdebstrap)"
    if os.geteuid() != 0:
        return "the image is built as root only"
    return None if _suite() else "the image is built on Debian only: its base is made of Debian's packages"


@dataclass(frozen=True)
class Image:
    """The image of the Dockerfile, in a store of the tests."""

    name: str
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """What podman, and so the head of a workflow, needs in its environment."""
        return variables(self.folder)

    def podman(self, *arguments: str, timeout: float = 900) -> str:
        """Run podman; return what it prints."""
        return _call(["podman", *arguments], self.environ, timeout)

    def run(self, *arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of the image."""
        command = ["podman", "run", "--rm", "--pull=never", *options, self.name, *arguments]
        environ = os.environ | self.environ
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=900)

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The files of the image as a folder that can be written, until the block ends."""
        container = self.podman("create", "--pull=never", self.name, "true")
        try:
            yield Path(self.podman("mount", container))
        finally:
            self.podman("rm", "--force", container)

    def described(self) -> dict:
        """What `podman image inspect` says."""
        (found,) = json.loads(self.podman("image", "inspect", self.name))
        return found


def built_image() -> Image:
    """Build the image, as far as it is not there; RuntimeError where that fails.

    The base is made anew where its recipe has changed; everything else podman's own cache knows.
    """
    folder = ROOT / "build" / "containers"
    image = Image(_IMAGE, folder)
    state = Path("/run/teralign-tests") / hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    configure(folder, state)
    recipe = hashlib.sha256("\n".join([_suite(), *_BASE]).encode()).hexdigest()[:12]
    base = f"localhost/debian-python:{_suite()}-{recipe}"
    with tempfile.TemporaryDirectory(prefix="containers.") as place:
        machine = _Machine(Path(place))
        if base not in image.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            _call(["mmdebstrap", *_BASE, _suite(), f"{place}/base.tar", *map(str, machine.sources)], {}, 1800)
            image.podman("import", f"{place}/base.tar", base)
        before = image.podman("images", "--quiet", "--no-trunc", _IMAGE)
        mounts = [f"--volume={source}:{target}:ro" for source, target in machine.mounts()]
        options = ["--isolation=chroot", "--pull=never", "--network=host", "--layers", f"--build-arg=BASE={base}"]
        image.podman("build", *options, *mounts, "--tag", _IMAGE, str(ROOT), timeout=1800)
        if before and before != image.podman("images", "--quiet", "--no-trunc", _IMAGE):
            image.podman("rmi", before)
    return image


class _Machine:
    """How apt and pip of this machine find packages: files and folders, and where a container needs them."""

    def __init__(self, place: Path) -> None:
        """Write the settings that have to be collected into `place`."""
        self._place = place
        apt = Path("/etc/apt")
        listed = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
        lists = [path for path in listed if path.suffix in (".list", ".sources") and path.exists()]
        self.sources = [path for path in lists if _suite() in path.read_text()]
        for name in ("sources.list.d", "apt.conf.d"):
            (place / name).mkdir()
        for path in self.sources:
            shutil.copy(path, place / "sources.list.d")
        (place / "apt.conf.d" / "99machine").write_text(_call(["apt-config", "dump", "Acquire"], {}))
        self._pip = _pip_settings()
        lines = [f"{key} = {value}" for key, value in self._pip.items()]
        (place / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))

    def mounts(self) -> list[tuple[Path, Path]]:
        """Return what is mounted, and where."""
        found = [(self._place / name, Path("/etc/apt") / name) for name in ("sources.list.d", "apt.conf.d")]
        found.append((self._place / "pip.conf", Path("/etc/pip.conf")))
        known = ["/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/etc/apt/auth.conf.d", "/usr/share/keyrings"]
        named = [word for key in ("cert", "find-links") for word in self._pip.get(key, "").split()]
        authorities = ["/etc/ssl/certs/ca-certificates.crt"]
        paths = dict.fromkeys(Path(name) for name in [*known, *authorities, *named] if name.startswith("/"))
        return [*found, *((path, path) for path in paths if path.exists())]


_PIP = ("index-url", "extra-index-url", "trusted-host", "cert", "find-links", "proxy", "timeout", "default-timeout")


def _pip_settings() -> dict[str, str]:
    """What pip's files and variables say on this machine about where packages are; variables count more."""
    listed = _call([sys.executable, "-m", "pip", "config", "list"], {}).splitlines()
    pairs = [line.split("=", 1) for line in listed if "=" in line]
    files = {name.split(".", 1)[-1]: value for name, value in pairs if not name.startswith(":env:")}
    variables = {name.split(".", 1)[-1]: value for name, value in pairs if name.startswith(":env:")}
    return {key: value.strip("'\"") for key, value in (files | variables).items() if key in _PIP}


def _suite() -> str:
    """The name of this machine's Debian, empty where it is another system."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else ""


def _call(command: Sequence[str], environ: dict[str, str], timeout: float = 60) -> str:
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(
            f"{shlex.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout.strip()
