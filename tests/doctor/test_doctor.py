"""`teralign doctor` tells what works, and what to do where something is missing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from teralign.cluster import available_memory
from teralign.doctor import Standing, all_observations
from teralign.doctor.folders import file_system
from teralign.doctor.libraries import library_checks
from teralign.doctor.programs import program_checks
from teralign.tasks.doctor import doctor

COMMAND = [sys.executable, "-m", "teralign", "doctor"]


def program(folder: Path, name: str, script: str = "exit 0") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """A PATH with no program but those that a test adds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_CMD", raising=False)
    return folder


def by_name(checks):
    return {check.name: check for check in checks}


def test_this_machine_has_what_every_command_needs(tmp_path):
    found = doctor(tmp_path)
    assert [check for check in found.checks if check.standing is Standing.MISSING] == []
    assert sum(found.counts.values()) == len(found.checks)
    assert all(check.advice.endswith(".") for check in found.checks if check.standing is not Standing.OK)
    memory = by_name(found.checks)["memory"].found
    assert abs(float(memory.split()[0]) - available_memory() / 1e9) < 2


def test_the_command_prints_json_where_there_is_no_terminal(tmp_path):
    done = subprocess.run([*COMMAND, "--folder", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["state"] == "ok"
    assert {"name", "standing", "found", "purpose", "advice"} == found["checks"][0].keys()


def test_a_person_gets_text_with_advice(bare_path):
    script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    done = subprocess.run([sys.executable, "-c", script, *COMMAND], capture_output=True, text=True)
    assert done.returncode == 0
    assert "→ use bin/nextflow of a checkout, which fetches it" in done.stdout
    assert done.stdout.rstrip().endswith("The pipeline needs Nextflow: bin/nextflow of a checkout fetches it.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_missing(tmp_path):
    tmp_path.chmod(0o500)
    assert by_name(all_observations(tmp_path))["results"].standing is Standing.MISSING


def test_a_folder_that_does_not_exist_ends_with_1(tmp_path):
    done = subprocess.run([*COMMAND, "--folder", tmp_path / "none"], capture_output=True, text=True)
    assert done.returncode == 1
    check = {entry["name"]: entry for entry in json.loads(done.stdout)["checks"]}["results"]
    assert check["standing"] == "missing"
    assert "cannot be written: No such file or directory" in check["found"]


def test_an_old_library_is_named(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.2" if name == "scipy" else real(name))
    check = list(library_checks())[1]
    assert check.standing is Standing.MISSING
    assert check.found.startswith("lacks scipy 1.2, older than ")
    assert "pip install --upgrade teralign" in check.advice


def test_an_absent_extra_names_its_installation(monkeypatch):
    def version(name):
        if name == "h5py":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    real = metadata.version
    monkeypatch.setattr(metadata, "version", version)
    check = by_name(library_checks())["extra hdf5"]
    assert (check.standing, check.found) == (Standing.ABSENT, "lacks h5py")
    assert "pip install 'teralign[hdf5]'" in check.advice


def test_without_programs_each_says_what_to_do(bare_path):
    checks = by_name(program_checks())
    assert {check.standing for check in checks.values()} == {Standing.ABSENT}
    assert "activate the environment" in checks["commands"].advice


@pytest.mark.parametrize(
    ("programs", "found", "standing"),
    [
        (["sbatch", "squeue"], "Slurm (-profile slurm)", Standing.OK),
        (["bsub", "bjobs"], "LSF (-profile lsf)", Standing.OK),
        (["qsub", "qconf"], "SGE, which has no profile yet", Standing.NOTE),
        (["qsub", "qstat"], "PBS, which has no profile yet", Standing.NOTE),
    ],
)
def test_schedulers_are_told_apart(bare_path, programs, found, standing):
    for name in programs:
        program(bare_path, name)
    check = by_name(program_checks())["scheduler"]
    assert (check.found, check.standing) == (found, standing)


def test_versions_of_java_and_nextflow_are_checked(bare_path):
    program(bare_path, "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    program(bare_path, "nextflow", "echo '  version 24.10.1 build 5930'")
    checks = by_name(program_checks())
    assert (checks["Java"].standing, checks["Java"].found.split(" at ")[0]) == (Standing.ABSENT, "version 11")
    assert (checks["Nextflow"].standing, checks["Nextflow"].found.split(" at ")[0]) == (
        Standing.ABSENT,
        "version 24.10.1",
    )
    program(bare_path, "java", """echo 'openjdk version "21.0.2" 2024-01-16' >&2""")
    program(bare_path, "nextflow", "echo '  version 25.10.0 build 1'")
    checks = by_name(program_checks())
    assert {checks["Java"].standing, checks["Nextflow"].standing} == {Standing.OK}


def test_docker_without_its_service_is_no_engine(bare_path):
    program(bare_path, "docker", "exit 1")
    assert "does not answer" in by_name(program_checks())["containers"].found
    program(bare_path, "apptainer")
    assert by_name(program_checks())["containers"].standing is Standing.OK


def test_the_innermost_mount_names_the_file_system(tmp_path):
    mounts = tmp_path / "mounts"
    inner = tmp_path / "a b"
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {str(inner).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n")
    assert file_system(inner / "c", mounts) == "nfs4"
    assert file_system(tmp_path, mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "none") == "unknown"
