"""Messages call options by the names that users know."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from teralign.cli.main import load_command
from teralign.cli.names import OPTION_NAMES_VARIABLE, in_users_names
from teralign.provenance import INPUT_NAMES_VARIABLE

ROOT = Path(__file__).parents[2]


def test_only_whole_names_of_options_are_replaced(monkeypatch):
    monkeypatch.setenv(OPTION_NAMES_VARIABLE, "--block=--bigstream_block --fixed-mask=--fixed_mask")
    message = "give --block, --block-size or --fixed-mask=auto; not a--block"
    assert in_users_names(message) == "give --bigstream_block, --block-size or --fixed_mask=auto; not a--block"
    monkeypatch.delenv(OPTION_NAMES_VARIABLE)
    assert in_users_names(message) == message


def test_an_input_of_a_task_is_called_as_the_user_calls_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(INPUT_NAMES_VARIABLE, json.dumps({"moving": "/data/day 2/", "affine.mat": "pair/affine.mat"}))
    message = f"{tmp_path}/moving/m.n5/s0 and {tmp_path}/moving.n5, after {tmp_path}/affine.mat: moving"
    told = f"/data/day 2/m.n5/s0 and {tmp_path}/moving.n5, after pair/affine.mat: moving"
    assert in_users_names(message) == told


@pytest.mark.parametrize(
    ("names", "told"), [("", "--moving-spacing"), ("--moving-spacing=--moving_spacing", "--moving_spacing")]
)
def test_a_command_of_a_pipeline_asks_for_the_pipelines_parameter(tmp_path, monkeypatch, names, told):
    monkeypatch.setenv(OPTION_NAMES_VARIABLE, names)
    said = {"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX", "spacing": 1, "unit": "um"}}
    tifffile.imwrite(tmp_path / "fixed.tif", np.ones((8, 8, 8), np.uint16), **said)
    tifffile.imwrite(tmp_path / "moving.tif", np.ones((8, 8, 8), np.uint16))
    call = ["global-align", "--fixed", "fixed.tif", "--moving", "moving.tif", "--output", "affine.mat"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f" {told} " in done.stderr


def test_the_pipelines_names_are_those_of_options_and_parameters():
    names = re.search(rf"{OPTION_NAMES_VARIABLE} = '(.+)'", (ROOT / "configs" / "base.config").read_text())[1]
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    parameters = {f"--{name}" for group in schema["$defs"].values() for name in group["properties"]}
    commands = [load_command(name) for name in ("global-align", "local-align", "apply-transform")]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    for option, parameter in (entry.split("=") for entry in names.split()):
        assert option in options
        assert parameter in parameters
