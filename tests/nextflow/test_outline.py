"""The whole graph of tasks, with stubs in place of the work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .runs import ROOT, Run, environment, nextflow

pytestmark = pytest.mark.nextflow

SHEET = """id,fixed,moving,fixed_mask,moving_channel,apply_to
first,fix.n5,mov.n5,image.zarr/s2,0,mov.n5/c1; image.ome.tif:nearest; spots.csv
second,fix.n5/c1,mov.n5/c1,,,
"""
PROCESSES = ("GLOBAL_ALIGN", "LOCAL_ALIGN", "APPLY_TRANSFORM", "TRANSFORM_POINTS", "REPORT", "INDEX_REPORTS")


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_results_of_each_pair_lie_in_its_folder(volumes: Path, parser: str) -> None:
    (volumes / "sheet.csv").write_text(SHEET)
    options = ["--input", "sheet.csv", "-stub-run", "-profile", "demo", "--use_bigstream"]
    reports = ["-with-report", "-with-timeline", "-with-dag"]
    run = nextflow(volumes, *options, "--bigstream_cluster", "nextflow", *reports, parser=parser)

    assert run.returncode == 0, run.output
    assert {name: run.tasks(name) for name in PROCESSES} == {
        "GLOBAL_ALIGN": 2,
        "LOCAL_ALIGN": 2,
        "APPLY_TRANSFORM": 4,
        "TRANSFORM_POINTS": 1,
        "REPORT": 2,
        "INDEX_REPORTS": 1,
    }
    shared = {
        "affine.mat",
        "affine.json",
        "aligned.zarr",
        "transform.zarr",
        "transform.blocks.json",
        "report",
        "warped.zarr",
    }
    results = volumes / "results"
    assert {path.name for path in (results / "second").iterdir()} == shared
    assert {path.name for path in (results / "first").iterdir()} == shared | {
        "warped_1_mov.zarr",
        "warped_2_image.zarr",
        "warped_3_spots.csv",
    }
    versions = (results / "pipeline_info" / "versions.txt").read_text()
    assert "LOCAL_ALIGN: teralign 0." in versions

    assert {path.name for path in results.iterdir() if path.is_file()} == {
        "index.html",
        "index.json",
        "teralign_mqc.json",
    }
    assert {path.name for path in (results / "pipeline_info").iterdir()} >= {
        "report.html",
        "timeline.html",
        "dag.html",
    }

    staging = task_file(run, "REGISTER:LOCAL_ALIGN (first)", ".command.run")
    assert "fixed_mask/image.zarr" in staging, "a mask is staged like the volumes"


def task_file(run: Run, name: str, file: str) -> str:
    """What is in a file of the work directory of a task."""
    (hash_,) = {row["hash"] for row in run.trace if row["name"] == name}
    return next((run.folder / "work").glob(f"{hash_}*/{file}")).read_text()


FAKE = """#!/bin/bash
# Writes down how it was called, and makes the outputs that were asked for. Volumes are looked up by the real command.
[ "$1" != resolve ] || exec {teralign} "$@"
echo "${{0##*/}} $*" >> called.txt
echo "$TERALIGN_INPUT_NAMES" > names.json
make() {{
    [ "${{0##*/}}" != report-alignment ] || exec mkdir -p "$1"
    touch "$1" "${{1%.*}}.json" "${{1%.*}}.blocks.json"
}}
while [ $# -gt 0 ]; do
    case $1 in --output | --aligned) make "$2" ;; esac
    shift
done
[ "${{0##*/}}" != index-reports ] || touch {{.,pair/report}}/{{index.html,report.json}} index.json teralign_mqc.json
"""


def test_commands_are_called_as_parameters_say(volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a script in place of Teralign's commands; the parameters come from a file, some by their former names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where no bucket answers
    for name in ("global-align", "start-dask-scheduler", "report-alignment", "index-reports", "teralign"):
        path = volumes / "commands" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE.format(teralign=shutil.which("teralign", path=environment()["PATH"])))
        path.chmod(0o755)
    (volumes / "my steps.yml").write_text("")
    parameters = {
        "id": "pair",
        "fixed": "fix.n5",
        "moving": "mov.n5",
        "moving_mask": "image.zarr",
        "apply_to": "image.ome.tif:nearest; s3://bucket/more.zarr",
        "warped_dir": "s3://bucket/aligned/",
        "bigstream_config": "my steps.yml",
        "bigstream_local_steps": "affine, deform",
        "bigstream_field_spacing": 2.5,
        "ome_zarr": "0.4",
        "seed": 7,
        "use_bigstream": True,
        "bigstream_local_align_workers": 1,
        "bigstream_local_align_worker_cpus": 1,
        "bigstream_local_align_worker_mem_gb": 1.25,
    }
    (volumes / "parameters.json").write_text(json.dumps(parameters))
    path = f"{volumes / 'commands'}{os.pathsep}{environment()['PATH']}"
    run = nextflow(volumes, "-params-file", "parameters.json", PATH=path)

    assert run.returncode == 0, run.output
    assert "1 Dask worker in each task with blocks, 1 core and 1.25 GB each" in run.output
    called = task_file(run, "REGISTER:GLOBAL_ALIGN (pair)", "called.txt")
    assert " --ome-zarr 0.4 --seed 7 --config config.yml" in called
    assert "/moving_mask/image.zarr/s3 " in called
    names = json.loads(task_file(run, "REGISTER:GLOBAL_ALIGN (pair)", "names.json"))
    own = str(volumes)
    assert names.items() >= {"fixed": own, "moving": own, "moving_mask": own, "pair": "pair"}.items()
    called = task_file(run, "REGISTER:LOCAL_ALIGN (pair)", "called.txt")
    assert " --workers 1 --worker-cpus 1 --worker-mem-gb 1.250 --local -- local-align " in called
    assert "/moving_mask/image.zarr/s2 " in called
    names = json.loads(task_file(run, "REGISTER:LOCAL_ALIGN (pair)", "names.json"))
    assert names["affine.mat"] == "pair/affine.mat"
    assert " --steps affine,deform --field-spacing 2.5 --seed 7 " in called
    called = task_file(run, "REGISTER:APPLY_TRANSFORM (pair: warped_1_image)", "called.txt")
    assert " --interpolation nearest --ome-zarr 0.4 --work-dir " in called
    called = task_file(run, "REGISTER:APPLY_TRANSFORM (pair: warped_2_more)", "called.txt")
    assert "/fixed/fix.n5/s2 --moving s3://bucket/more.zarr/s2 --" in called, "an address is not staged"
    assert " --output s3://bucket/aligned/pair/warped_2_more.zarr --overwrite" in called
    assert (volumes / "results" / "pair" / "warped_2_more.json").exists(), "what says where the volume is"
    assert "--interpolation" not in task_file(run, "REGISTER:APPLY_TRANSFORM (pair: warped)", "called.txt")
    called = task_file(run, "REGISTER:REPORT (pair)", "called.txt")
    assert " --blocks transform.blocks.json --global-report affine.json " in called
    assert " --name pair --output pair/report\n" in called


@pytest.mark.parametrize(
    ("profile", "cluster", "parser", "workers"),
    [
        ("slurm", "auto", "v1", "1 Dask worker in each task with blocks and 3 more that join it"),
        ("lsf", "local", "v2", "3 Dask workers in each task with blocks"),
    ],
)
def test_profiles_say_what_auto_is(volumes: Path, profile: str, cluster: str, parser: str, workers: str) -> None:
    pair = ["--fixed", "fix.n5", "--moving", "mov.n5", "-preview", "-profile", profile]
    cluster_options = ["--use_bigstream", "--bigstream_cluster", cluster, "--bigstream_workers", "3"]
    run = nextflow(volumes, *pair, *cluster_options, "--cluster_options=--account=lab", parser=parser)
    assert run.returncode == 0, run.output
    assert f"Computing on {workers}, 1 core and 8 GB each" in run.output


KEYS = "envWhitelist = 'AWS_ACCESS_KEY_ID,"


@pytest.mark.parametrize(
    ("profiles", "parser", "settings"),
    [
        ("slurm,apptainer", "v1", ["executor = 'slurm'", "bigstream_cluster_auto = 'nextflow'", "apptainer {", KEYS]),
        ("lsf,singularity", "v2", ["executor = 'lsf'", "bigstream_cluster_auto = 'nextflow'", "singularity {", KEYS]),
        ("standard,podman", "v1", ["executor = 'local'", "bigstream_cluster_auto = 'local'", "podman {", KEYS]),
        ("demo,docker", "v2", ["pollInterval = '200ms'", "bigstream_cluster_auto = 'local'", "docker {", KEYS]),
        ("k8s", "v1", ["executor = 'k8s'", "bigstream_cluster_auto = 'nextflow'", "container = ", "queue = null"]),
        (
            "awsbatch",
            "v1",
            ["executor = 'awsbatch'", "bigstream_cluster_auto = 'local'", "container = ", "TERALIGN_WORKERS"],
        ),
    ],
)
def test_profiles_can_be_read(profiles: str, parser: str, settings: list[str]) -> None:
    done = subprocess.run(
        [str(ROOT / "bin" / "nextflow"), "config", "-profile", profiles, str(ROOT)],
        env=environment() | {"NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [setting for setting in settings if setting not in done.stdout] == []


def test_resume_notices_what_changed_and_nothing_else(volumes: Path) -> None:
    options = ["--fixed", "fix.n5", "--moving", "mov.n5", "-stub-run", "-profile", "demo", "--use_bigstream"]
    chunk = volumes / "mov.n5" / "s2" / "7" / "0" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"before")
    assert nextflow(volumes, *options).returncode == 0

    again = nextflow(volumes, *options, "-resume", "--bigstream_cluster", "nextflow", "--bigstream_workers", "5")
    anew = {row["process"].rpartition(":")[2] for row in again.trace if row["status"] != "CACHED"}
    assert anew == {"INDEX_REPORTS"}, "a cluster of another size is no other result"

    times = chunk.stat()
    chunk.write_bytes(b"behind")
    os.utime(chunk, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = nextflow(volumes, *options, "-resume")
    states = {row["process"].rpartition(":")[2]: row["status"] for row in again.trace}
    assert states["GLOBAL_ALIGN"] == "CACHED", "it reads another scale"
    assert states["LOCAL_ALIGN"] == states["APPLY_TRANSFORM"] == "COMPLETED"

    attributes = volumes / "fix.n5" / "s3" / "attributes.json"
    attributes.write_text(json.dumps(json.loads(attributes.read_text()) | {"changed": True}))
    again = nextflow(volumes, *options, "-resume")
    assert {row["process"].rpartition(":")[2] for row in again.trace if row["status"] == "COMPLETED"} >= {
        "GLOBAL_ALIGN"
    }


def test_the_scripts_pass_the_strict_parser() -> None:
    done = subprocess.run(
        [str(ROOT / "bin" / "nextflow"), "lint", "main.nf", "nextflow.config", "modules", "subworkflows", "configs"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nextflow_is_fetched_once_by_processes_that_race(tmp_path: Path) -> None:
    """Two first calls at a time in a fresh checkout leave one complete set of jars."""
    for part in ("bin/nextflow", "configs/nextflow/pom.xml", "configs/nextflow/fetch.py"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    environ = environment() | {"PATH": path_without_nextflow(tmp_path / "path")}
    calls = [
        subprocess.Popen([tmp_path / "bin" / "nextflow", "-version"], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for call in calls:
        output, _ = call.communicate(timeout=300)
        assert call.returncode == 0
        assert "version 2" in output
    left = [path for path in (tmp_path / ".nextflow-dist").iterdir() if not path.is_symlink()]
    assert len(left) == 1


def path_without_nextflow(folder: Path) -> str:
    """PATH, with links to the other commands in place of a directory that has a Nextflow."""
    directories = []
    for number, directory in enumerate(map(Path, environment()["PATH"].split(os.pathsep))):
        if (directory / "nextflow").exists():
            links = folder / str(number)
            links.mkdir(parents=True)
            for command in directory.iterdir():
                if command.name != "nextflow":
                    (links / command.name).symlink_to(command)
            directory = links
        directories.append(str(directory))
    return os.pathsep.join(directories)


def test_a_nextflow_on_path_goes_first(tmp_path: Path) -> None:
    (tmp_path / "nextflow").write_text('#!/bin/sh\necho "mine: $*"\n')
    (tmp_path / "nextflow").chmod(0o755)
    path = os.pathsep.join([str(ROOT / "bin"), str(tmp_path), environment()["PATH"]])
    done = subprocess.run(
        ["nextflow", "run", "it"], env=environment() | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "mine: run it\n"
