"""A pair that is not aligned is told what would do, and that does: mirrored, and with a wrong voxel size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from phantoms import Scene
from teralign.alignment import Side
from teralign.grids import Grid
from teralign.tasks.advising import warn_of_bad_starts
from teralign.tasks.global_align import global_align
from teralign.tasks.report_alignment import report_alignment
from teralign.transforms import Affine
from teralign.trust import FailOn, Gates, Verdict
from teralign.volumes import create_volume

GRID = Grid((72, 80, 88), (2.0, 2.0, 2.0))


def write(path: Path, array: np.ndarray) -> Path:
    writer = create_volume(path, grid=GRID, dtype=np.dtype(np.uint16), levels=1)
    voxels = np.clip(np.rint(array), 0, 65535).astype(np.uint16)
    for region in GRID.region.split(writer.write_shape):
        writer.write(region, voxels[region.slices])
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A volume and its mirror image along x, with other noise."""
    folder = tmp_path_factory.mktemp("mirrored")
    scene = Scene.cells(np.array(GRID.extent), count=500, radius=7.0)
    shift = Affine.from_parts(np.eye(3), [-6.0, 4.0, -8.0])
    mirrored = np.flip(scene.draw(GRID, shift.map_points, seed=1).array, 2)
    return write(folder / "fixed.zarr", scene.draw(GRID).array), write(folder / "moving.zarr", mirrored)


def test_a_bad_alignment_is_told_what_would_do_and_that_does(pair: tuple[Path, Path], tmp_path: Path) -> None:
    fixed, moving = (str(path) for path in pair)
    gates = Gates(FailOn.BAD)
    result = global_align(fixed, moving, output=tmp_path / "bad.mat", steps=["ransac"], gates=gates)
    assert result.verdict is Verdict.BAD
    assert [gate.gate for gate in result.gates.failed] == ["fail_on"]
    (advice,) = json.loads((tmp_path / "bad.json").read_text())["assessment"]["advice"]
    assert advice["cause"] == "mirrored along x"
    start = tmp_path / "start.mat"
    start.write_text(advice["value"].replace("; ", "\n") + "\n")
    again = global_align(
        fixed, Side(moving), output=tmp_path / "good.mat", steps=["ransac"], initial_transforms=[start], gates=gates
    )
    assert again.verdict is Verdict.GOOD
    assert again.gates.passed
    # Of a map without a record a report says the same.
    (tmp_path / "bad.json").unlink()
    found = report_alignment(fixed, moving, transforms=[tmp_path / "bad.mat"], output=tmp_path / "report")
    assert [advice.cause for advice in found.assessment.advice] == ["mirrored along x"]
    assert "mirrored along x" in found.report.read_text()


def test_a_start_that_its_record_calls_bad_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in (("bad", '{"verdict": "bad"}'), ("good", '{"verdict": "good"}'), ("other", "[1]")):
        (tmp_path / f"{name}.json").write_text(text)
    with caplog.at_level("WARNING", logger="teralign"):
        warn_of_bad_starts([f"{tmp_path}/{name}.mat" for name in ("good", "bad", "other", "none")])
    assert [record.message.split(": ")[0] for record in caplog.records] == [
        f"the start {tmp_path}/bad.mat is bad, as bad.json says"
    ]
