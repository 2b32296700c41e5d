"""Files of the kinds in use with bigstream, written for these tests: each means what it says, or is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import yaml

from phantoms import Scene, affine_about, cube, errors, pair
from teralign.cluster import Compute
from teralign.configuration import load_config
from teralign.configuration.sections import DEFAULT_STEPS
from teralign.errors import InputError
from teralign.tasks.global_align import global_align
from teralign.tasks.local_align import local_align
from teralign.transforms import load_stack
from teralign.volumes import create_volume

FILES = Path(__file__).parent / "bigstream"
EXPECTED = yaml.safe_load((Path(__file__).parent / "bigstream_files.yml").read_text(encoding="utf-8"))
LOADED = [name for name, means in EXPECTED.items() if "refused" not in means]
SECTIONS = {"global": "global_align", "local": "local_align"}


def test_every_file_has_its_meaning():
    assert sorted(EXPECTED) == sorted(path.stem for path in FILES.iterdir())
    assert len(EXPECTED) >= 25


@pytest.mark.parametrize("name", LOADED)
def test_a_file_means_what_it_says(name, caplog):
    caplog.set_level(logging.INFO)
    means, config = EXPECTED[name], load_config(FILES / f"{name}.yml")
    steps = {short: config.steps(section) for short, section in SECTIONS.items()}
    for short, section in SECTIONS.items():
        assert [step.name for step in steps[short]] == means.get(short, list(DEFAULT_STEPS[section]))
        assert config.dropped_steps(section) == tuple(means.get(f"dropped_{short}", ()))
    for place, value in means.get("values", {}).items():
        short, index, key = place.split(".")
        found = getattr(steps[short][int(index)], key)
        assert (list(found) if isinstance(found, tuple) else found) == value, place
    assert config.block_size == tuple(means.get("block_size", (128, 128, 128)))
    assert config.block_overlap == means.get("block_overlap", 0.1)
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [text.partition(": ")[2] for text in warnings] == means.get("warnings", [])
    for note in means.get("notes", []):
        assert sum(note in r.getMessage() for r in caplog.records) == 1, note


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in LOADED])
def test_a_file_is_refused_in_one_sentence(name):
    path = FILES / f"{name}.yml"
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) in {f"{path}: {EXPECTED[name]['refused']}", f"{path}: {EXPECTED[name]['refused']}."}


def test_steps_on_the_command_line_replace_all_others(caplog):
    config = load_config(FILES / "listed-steps-of-others.yml")
    assert [step.name for step in config.steps("local_align", ["rigid"])] == ["rigid"]
    assert config.dropped_steps("local_align", ["rigid"]) == ()
    assert not caplog.records


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two small volumes on disk, and the map between them."""
    folder = tmp_path_factory.mktemp("tiny")
    grid = cube(40)
    truth = affine_about(grid.centre, shift=(2, -3, 4), rotation=(1, -2, 1))
    for name, image in zip(("fixed", "moving"), pair(Scene.cells(100.0, count=300), grid, grid, truth), strict=True):
        writer = create_volume(folder / f"{name}.zarr", grid=grid, dtype=np.uint16, levels=1)
        writer.write(grid.region, image.array)
    return folder, grid, truth


def run_global(folder, name):
    return global_align(
        folder / "fixed.zarr",
        folder / "moving.zarr",
        output=folder / f"{name}.mat",
        config=FILES / f"{name}.yml",
    )


@pytest.mark.parametrize("name", ["prealignment", "listed-steps-of-others", "anchors-named-after-steps"])
def test_global_alignment_with_such_a_file(tiny, name):
    folder, grid, truth = tiny
    result = run_global(folder, name)
    assert [report.name for report in result.steps] == EXPECTED[name].get("global", ["ransac", "affine"])
    parameters = json.loads((folder / f"{name}.json").read_text())["run"]["parameters"]
    assert parameters["dropped_steps"] == EXPECTED[name].get("dropped_global", [])
    found = load_stack([folder / f"{name}.mat"])
    assert np.percentile(errors(found.map_points, truth.map_points, grid), 95) < 1.25  # µm: half a voxel


@pytest.mark.parametrize("name", ["two-passes", "spacing-by-axis", "listed-steps-of-others", "constraint-by-axis"])
def test_local_alignment_with_such_a_file(tiny, name):
    folder, grid, truth = tiny
    output = folder / f"{name}.zarr"
    result = local_align(
        folder / "fixed.zarr",
        folder / "moving.zarr",
        output=output,
        config=FILES / f"{name}.yml",
        compute=Compute(workers=1, worker_cpus=1),
    )
    assert result.states == {"ok": result.blocks}
    said = json.loads(output.with_suffix(".blocks.json").read_text())["run"]["parameters"]
    assert [step["step"] for step in said["steps"]] == EXPECTED[name].get("local", ["deform"])
    assert said["dropped_steps"] == EXPECTED[name].get("dropped_local", [])
    assert said["blocks"]["size"] == EXPECTED[name].get("block_size", [128, 128, 128])
    inside = grid.crop(grid.region.grow((-5, -5, -5)))
    assert np.percentile(errors(load_stack([output]).map_points, truth.map_points, inside), 95) < 1.25
    if name == "constraint-by-axis":
        assert result.min_jacobian >= 0.75
