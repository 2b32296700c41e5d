"""Charliecloud itself, and the command lines that Nextflow writes for other engines, by commands in their place.

Neither Apptainer, nor Singularity, nor Docker runs here. `commands/apptainer` takes what the manuals of the first two
have and no more, and runs it with Charliecloud; Docker's command lines are run by podman, which understands them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextflow.runs import environment, nextflow
from nextflow.small_rounds import assert_the_same
from schedulers.test_same_bytes import QUICK

from .podman import Image
from .test_same_bytes import assert_in_containers

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(1800)]

APPTAINER = Path(__file__).parent / "commands" / "apptainer"
AS_TASKS = ["--bigstream_cluster", "nextflow"]


@pytest.fixture(scope="module")
def unpacked(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image as a folder, as `ch-convert` makes it, with a folder to mount this machine's on."""
    if shutil.which("ch-run") is None:
        pytest.skip("no Charliecloud here: ch-run missing (charliecloud)")
    with image.unpacked() as folder:
        (folder / "ch").mkdir()
        variables = image.described()["Config"]["Env"]
        (folder / "ch" / "environment").write_text("\n".join([*variables, ""]))
        (folder / tmp_path_factory.getbasetemp().parts[1]).mkdir(exist_ok=True)
        yield folder


def in_place_of(folder: Path, name: str, program: Path | str) -> dict[str, str]:
    """Make a command of this name; returns the PATH on which it is first."""
    (folder / "bin").mkdir()
    (folder / "bin" / name).symlink_to(program)
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{environment()['PATH']}"}


def calls(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "bin" / "calls").read_text().splitlines()]


def test_charliecloud_gives_the_bytes_of_the_machine(
    unpacked: Path, small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    options = ["-profile", "demo,charliecloud", "-c", str(QUICK), *AS_TASKS, "--container", str(unpacked)]
    done = nextflow(tmp_path, *small_rounds, *options, timeout=1200, USER="root")
    assert_the_same(done, digests_alone)
    assert_in_containers(done, "ch-run", workers=3)


def test_apptainer_by_a_shim_is_asked_for_what_it_knows_and_gives_the_same_bytes(
    unpacked: Path, small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    """The folders that Nextflow names are enough for volumes, results and credentials; the image is read-only."""
    path = in_place_of(tmp_path, "apptainer", APPTAINER)
    options = ["-profile", "apptainer", "-c", str(QUICK), "--container", str(unpacked)]
    done = nextflow(tmp_path, *small_rounds, *options, timeout=1200, **path)
    assert_the_same(done, digests_alone)
    assert_in_containers(done, "apptainer exec", workers=0)
    assert not [call for call in calls(tmp_path) if "refused" in call]
    assert len(calls(tmp_path)) == len(done.trace) + 1  # and the head job, which looks up the volumes


@pytest.mark.parametrize("engine", ["singularity", "docker"])
def test_command_lines_of_others_are_understood(
    engine: str, image: Image, unpacked: Path, small_rounds: list[str], tmp_path: Path
) -> None:
    """With stubs in place of the commands of tasks; the volumes are looked up in the image."""
    path = in_place_of(tmp_path, engine, APPTAINER if engine == "singularity" else _as_docker(tmp_path))
    name = str(unpacked) if engine == "singularity" else image.name
    options = ["-stub-run", "-profile", f"demo,{engine}", *AS_TASKS, "--container", name]
    done = nextflow(tmp_path, *small_rounds, *options, timeout=1200, **image.environ, **path)
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    assert_in_containers(done, f"{engine} exec" if engine == "singularity" else "docker run", workers=0)


def _as_docker(folder: Path) -> Path:
    """What Debian's package podman-docker has as its command."""
    program = folder / "as-docker"
    program.write_text('#!/bin/sh\nexec podman "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    "words", ["run image true", "exec --nv image true", "exec -B /is/missing . true", "exec none true"]
)
def test_the_shim_is_strict(words: str, tmp_path: Path) -> None:
    path = in_place_of(tmp_path, "apptainer", APPTAINER)
    done = subprocess.run(
        ["apptainer", *words.split()], cwd=tmp_path, env=os.environ | path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("FATAL: ")
    assert "refused" in calls(tmp_path)[0]
