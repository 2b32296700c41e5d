"""Programs that the pipeline uses: Teralign's own commands, Java, Nextflow, container engines, schedulers of jobs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

from teralign.doctor.observation import Observation, Standing
from teralign.doctor.running import output_of

_OLDEST_NEXTFLOW = (25, 4, 4)
_JAVA = range(17, 25)
_OFFLINE = {"NXF_OFFLINE": "true"}

_ENGINES = {"docker": "docker", "podman": "podman", "apptainer": "apptainer", "singularity": "singularity"}
"""The profile of the pipeline for each container engine's command."""

# The command that submits jobs, one that tells it from others of its name, and the name of the scheduler.
_SCHEDULERS = (
    ("sbatch", "squeue", "Slurm"),
    ("bsub", "bjobs", "LSF"),
    ("qsub", "qconf", "SGE"),
    ("qsub", "qstat", "PBS"),
)
_PROFILES = {"Slurm": "slurm", "LSF": "lsf"}
_JOB_VARIABLES = {"SLURM_JOB_ID": "Slurm", "LSB_JOBID": "LSF", "JOB_ID": "SGE", "PBS_JOBID": "PBS"}


def program_checks() -> Iterator[Observation]:
    """Yield the checks of all programs; only the pipeline needs them."""
    yield _own_commands()
    yield _java()
    yield _nextflow()
    yield _containers()
    yield _scheduler()


def _own_commands() -> Observation:
    found = shutil.which("global-align")
    if found is None:
        advice = "activate the environment first (source .venv/bin/activate), or use a container profile."
        return Observation(
            "commands", Standing.ABSENT, "global-align is not on PATH", "tasks of the pipeline call it", advice
        )
    return Observation("commands", Standing.OK, f"on PATH, such as {found}")


def _java() -> Observation:
    purpose, advice = "Nextflow runs on it", "install Java 17 to 24, or let bin/nextflow of a checkout fetch one."
    command = os.environ.get("JAVA_CMD") or shutil.which("java")
    text = output_of([command, "-version"]) if command else None
    match = re.search(r'version "(\d+)[^"]*"', text or "")
    if match is None:
        return Observation("Java", Standing.ABSENT, "not on PATH", purpose, advice)
    if int(match[1]) not in _JAVA:
        return Observation("Java", Standing.ABSENT, f"version {match[1]} at {command}", purpose, advice)
    return Observation("Java", Standing.OK, f"version {match[1]} at {command}")


def _nextflow() -> Observation:
    purpose = "runs the pipeline; the commands need none"
    command = shutil.which("nextflow")
    if command is None:
        advice = "use bin/nextflow of a checkout, which fetches it, or install 25.04.4 or newer from nextflow.io."
        return Observation("Nextflow", Standing.ABSENT, "not on PATH", purpose, advice)
    match = re.search(r"version:?\s+(\d+)\.(\d+)\.(\d+)", output_of([command, "-version"], _OFFLINE) or "")
    if match is None:
        advice = f"see what {command} -version says; it needs Java 17 to 24."
        return Observation("Nextflow", Standing.ABSENT, f"{command} does not run", purpose, advice)
    version = ".".join(match.groups())
    if tuple(map(int, match.groups())) < _OLDEST_NEXTFLOW:
        advice = "install Nextflow 25.04.4 or newer (nextflow self-update)."
        return Observation("Nextflow", Standing.ABSENT, f"version {version} at {command}", purpose, advice)
    return Observation("Nextflow", Standing.OK, f"version {version} at {command}")


def _containers() -> Observation:
    purpose = "runs tasks of the pipeline without an installation of Teralign on each machine"
    here = [name for name in _ENGINES if shutil.which(name)]
    if not here:
        advice = "nothing to do where Teralign is installed; else ask for Apptainer or Docker."
        return Observation(
            "containers", Standing.ABSENT, "no Docker, Podman, Apptainer or Singularity", purpose, advice
        )
    if here == ["docker"] and output_of(["docker", "info"]) is None:
        advice = "start the Docker service, and join its group: sudo usermod -aG docker $USER."
        return Observation(
            "containers", Standing.ABSENT, "docker is here, but its service does not answer", purpose, advice
        )
    return Observation("containers", Standing.OK, f"{', '.join(here)} (-profile {_ENGINES[here[0]]})", purpose)


def _scheduler() -> Observation:
    purpose = "spreads tasks of the pipeline over many machines"
    job = next((name for variable, name in _JOB_VARIABLES.items() if os.environ.get(variable)), None)
    inside = f"; this is a job of {job}" if job else ""
    for submit, second, name in _SCHEDULERS:
        if shutil.which(submit) and shutil.which(second):
            if name in _PROFILES:
                return Observation("scheduler", Standing.OK, f"{name}{inside} (-profile {_PROFILES[name]})", purpose)
            advice = (
                f"give Nextflow a file with process.executor = '{name.lower()}' (-c), as configs/slurm.config is."
            )
            return Observation(
                "scheduler", Standing.NOTE, f"{name}{inside}, which has no profile yet", purpose, advice
            )
    advice = "nothing to do on a machine of your own; on a cluster run this on a login node."
    return Observation("scheduler", Standing.ABSENT, f"no Slurm, LSF, SGE or PBS{inside}", purpose, advice)
