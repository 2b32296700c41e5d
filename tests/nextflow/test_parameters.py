"""Parameters are checked before anything runs, with one sentence about what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from teralign import __version__

from .runs import ROOT, nextflow

pytestmark = pytest.mark.nextflow

PAIR = {"fixed": "fix.n5", "moving": "mov.n5"}

WRONG_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (PAIR | {"bigstream_worker": 2}, r"--bigstream_worker\. Did you mean --bigstream_workers\?"),
    "camel case": (PAIR | {"defScale": "s2"}, r"no parameter --defScale\. Did you mean --def_scale\?"),
    "like nothing": (PAIR | {"qqqqqqqq": 2}, r"no parameter --qqqqqqqq\. See --help"),
    "no number": (PAIR | {"bigstream_workers": "two"}, r"--bigstream_workers must be a whole number, not 'two'"),
    "fraction": (PAIR | {"bigstream_workers": 1.5}, r"--bigstream_workers must be a whole number, not '1.5'"),
    "too small": (PAIR | {"bigstream_workers": 0}, r"--bigstream_workers must be at least 1, not 0"),
    "too large": (PAIR | {"bigstream_block_overlap": 0.7}, r"--bigstream_block_overlap must be at most 0.5, not 0.7"),
    "no flag": (PAIR | {"use_bigstream": "maybe"}, r"--use_bigstream must be true or false, not 'maybe'"),
    "no value": (PAIR | {"cluster_options": True}, r"--cluster_options needs a value; .* --cluster_options=VALUE"),
    "choice": (PAIR | {"bigstream_cluster": "yarn"}, r"--bigstream_cluster must be one of auto, local, nextflow"),
    "version": (PAIR | {"ome_zarr": 0.6}, r"--ome_zarr must be one of 0.4, 0.5, not '0.6'"),
    "steps": (PAIR | {"bigstream_local_steps": "affine;deform"}, r"--bigstream_local_steps cannot be 'affine;deform"),
    "spacing": (PAIR | {"fixed_spacing": "1,2"}, r"--fixed_spacing cannot be '1,2': Voxel size x,y,z"),
    "config": (PAIR | {"bigstream_config": "none.yml"}, r"--bigstream_config: the file none.yml does not exist"),
    "scheduler": (PAIR | {"dask_scheduler": "/no/file"}, r"--dask_scheduler: the file /no/file does not exist"),
    "two names": (PAIR | {"bigstream_workers": 2, "bigstream_local_align_workers": 3}, r"give --bigstream_workers"),
    "field spacing": (PAIR | {"bigstream_field_spacing": "1,2"}, r"--bigstream_field_spacing cannot be '1,2'"),
    "seed": (PAIR | {"seed": -1}, r"--seed must be at least 0"),
    "folder for a bucket": (PAIR | {"warped_dir": "out"}, r"--warped_dir cannot be 'out': Folder in a bucket"),
    "labels": (PAIR | {"fixed_mask": "image.zarr", "fixed_mask_labels": "1,x"}, r"--fixed_mask_labels cannot be"),
    "region": (PAIR | {"fixed_roi": "0,0,0,5,5"}, r"--fixed_roi cannot be '0,0,0,5,5': Align only in this box"),
    "expansion": (PAIR | {"expansion": 0}, r"--expansion must be above 0, not 0"),
    "format": (PAIR | {"warped_format": "jpg"}, r"--warped_format must be one of zarr, n5, precomputed"),
    "container": (PAIR | {"warped_container": "a/b"}, r"--warped_container cannot be 'a/b': Put all warped volumes"),
    "no start": (PAIR | {"initial_transform": True}, r"--initial_transform needs a value"),
    "list": (PAIR | {"outdir": ["a", "b"]}, r"--outdir takes one value, not the list \[a, b\]"),
    "short list": (PAIR | {"fixed_roi": [0, 0, 0, 5]}, r"--fixed_roi cannot be '0,0,0,5': Align only in this box"),
    "name": (PAIR | {"id": "a/b"}, r"--id cannot be 'a/b'"),
    "name that runs": (PAIR | {"id": "$(touch canary)"}, r"--id cannot be '\$\(touch canary\)'"),
    "name above": (PAIR | {"warped_name": ".."}, r"--warped_name cannot be '\.\.'"),
    "name below": (PAIR | {"warped_name": "a/b"}, r"--warped_name cannot be 'a/b'"),
    "bucket that runs": (PAIR | {"warped_dir": "s3://b/$(touch canary)"}, r"--warped_dir cannot be 's3://b/\$\("),
}  # fmt: skip

RIGHT: list[dict[str, Any]] = [
    PAIR,
    PAIR | {"use_bigstream": "true", "bigstream_workers": "4", "moving_spacing": "s2=1,1,.5;s3=2,2,1"},
    PAIR | {"def_scale": 0, "aff_scale": "0", "apply_scale": 0, "apply_grid_scale": 0, "fixed_channel": 0, "seed": 0},
    PAIR | {"bigstream_block_overlap": 0, "use_bigstream": False, "queue": "", "id": None},
    PAIR | {"dask_scheduler": "tcp://host:8786", "bigstream_field_spacing": 2, "seed": 7},
    PAIR | {"bigstream_global_steps": "", "bigstream_local_steps": True, "aff_scale": "auto"},
    PAIR | {"fixed_roi": "-1,0,0.5,5,5,5", "expansion": 4, "moving_expansion": "3.9", "apply_scale": "s0,s2"},
    PAIR
    | {
        "bigstream_global_steps": ["ransac", "affine"],
        "bigstream_local_steps": [],
        "fixed_roi": [-1, 0, 0.5, 5, 5, 5],
    },
    PAIR
    | {"initial_transform": ["a.mat", "b.zarr"], "bigstream_block_size": [64, 64, 32], "apply_scale": ["s0", "s2"]},
    {"input": "sheet.csv", "fixed_channel": 2, "warped_dir": "s3://bucket/folder/"},
]


def test_each_mistake_gets_its_sentence_and_what_is_right_none(volumes: Path) -> None:
    (volumes / "sheet.csv").write_text("id,fixed,moving\na,fix.n5,mov.n5\n")
    cases = [case for case, _ in WRONG_PARAMETERS.values()] + RIGHT
    (volumes / "cases.json").write_text(json.dumps(cases))
    script = ROOT / "tests" / "nextflow" / "sentences.nf"
    run = nextflow(volumes, "--cases", "cases.json", "--answers", "answers.json", script=script)
    assert run.returncode == 0, run.output
    answers = json.loads((volumes / "answers.json").read_text())
    for (name, (_, sentence)), answer in zip(WRONG_PARAMETERS.items(), answers, strict=False):
        assert answer is not None, f"{name}: no error"
        assert re.search(sentence, answer), f"{name}: {answer}"
        assert "\n" not in answer
    assert answers[len(WRONG_PARAMETERS) :] == [None] * len(RIGHT)


def test_a_wrong_parameter_ends_the_run_before_any_task(volumes: Path) -> None:
    run = nextflow(volumes, "--fixed", "fix.n5", "--moving", "mov.n5", "--defscale", "s2")
    assert run.returncode != 0
    assert "There is no parameter --defscale. Did you mean --def_scale?" in run.output
    assert run.trace == []
    assert not (volumes / "results").exists()


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_a_volume_without_a_voxel_size_is_refused_before_any_task(volumes: Path, parser: str) -> None:
    """In the words of Nextflow's parameters, also for what only goes along."""
    run = nextflow(
        volumes, "--fixed", "fix.n5", "--moving", "mov.n5", "--apply_to", "unsaid.tif:nearest", parser=parser
    )
    assert run.returncode != 0
    assert re.search(r"^--apply_to: .*unsaid\.tif does not say how large its voxels are", run.output, re.MULTILINE)
    assert "unsaid.tif:spacing=X,Y,Z" in run.output
    assert run.trace == []
    assert not (volumes / "results").exists()


def test_scales_may_be_called_0(volumes: Path) -> None:
    """0 is false in Groovy, and the name of most pyramids' finest level."""
    for name in ("fix.n5", "mov.n5"):
        for old, new in (("s2", "0"), ("s3", "1")):
            (volumes / name / old).rename(volumes / name / new)
    scales = ["--aff_scale", "1", "--def_scale", "1", "--apply_scale", "0", "--apply_grid_scale", "0"]
    run = nextflow(volumes, "--fixed", "fix.n5", "--moving", "mov.n5", *scales, "-preview")
    assert run.returncode == 0, run.output
    assert "global fix.n5/1, local fix.n5/1, warped mov.n5/0 on fix.n5/0" in run.output


@pytest.mark.parametrize(("engine", "missing"), [("none", "teralign"), ("apptainer", "apptainer and teralign")])
def test_without_the_commands_the_head_job_says_what_is_missing(engine: str, missing: str) -> None:
    call = [ROOT / "bin" / "on-head", engine, "image", "teralign", "resolve"]
    done = subprocess.run(call, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: the head job looks up the volumes, but {missing} cannot be found on its PATH;"
    )
    assert "make env" in done.stderr


ENGINE = """#!/bin/bash
echo "${0##*/} $*"
cat
"""


@pytest.mark.parametrize("engine", ["docker", "podman", "apptainer", "singularity"])
def test_in_a_container_profile_volumes_are_looked_up_in_the_container(tmp_path: Path, engine: str) -> None:
    """With a script in place of the engine, which prints how it was called and what it was given."""
    (tmp_path / engine).write_text(ENGINE)
    (tmp_path / engine).chmod(0o755)
    call = [ROOT / "bin" / "on-head", engine, "image:1", "teralign", "resolve", "/dev/stdin"]
    done = subprocess.run(
        call, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, cwd=tmp_path, capture_output=True, text=True, input="{}"
    )
    assert done.returncode == 0, done.stderr
    called, given = done.stdout.splitlines()
    assert called.startswith(f"{engine} ")
    assert called.endswith(f" {tmp_path} image:1 teralign resolve /dev/stdin")
    assert " /tmp:/tmp:ro " in called
    assert " /usr" not in called
    assert given == "{}"


def test_help_is_that_of_the_script_that_needs_no_nextflow(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "--help")
    assert run.returncode == 0
    text = subprocess.run([ROOT / "bin" / "pipeline-help"], capture_output=True, text=True, check=True).stdout
    assert text.split() == run.output.split()[-len(text.split()) :]


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "--version")
    assert run.returncode == 0
    assert f"teralign {__version__}" in run.output
