"""What the benchmark command measures with: made pairs, scores, costs, tables."""

import sys

import numpy as np
import pytest
from benchmarks.blocks import jumps_at_faces
from benchmarks.costs import run
from benchmarks.pairs import TrueMap
from benchmarks.scaling import shapes
from benchmarks.tables import markdown

from benchmarks import imports, scores, tls, viewing
from teralign.alignment.stages import BlockLayout
from teralign.grids import Grid
from teralign.transforms import Affine
from teralign.volumes import create_volume

EXTENT = np.array([200.0, 220.0, 300.0])


def test_true_places_are_where_the_moving_image_shows_them():
    true = TrueMap.random(np.random.default_rng(3), EXTENT)
    fixed = np.random.default_rng(0).uniform(0.3, 0.7, (200, 3)) * EXTENT
    moving, found = true.to_moving(fixed)
    assert found.all()
    assert np.linalg.norm(moving - fixed, axis=1).mean() > 5
    np.testing.assert_allclose(true.to_fixed(moving), fixed, atol=1e-3)


def test_slices_of_a_made_image_are_mapped_like_points():
    true = TrueMap.random(np.random.default_rng(3), EXTENT)
    y, x = np.linspace(0, EXTENT[1], 7), np.linspace(0, EXTENT[2], 9)
    points = np.stack(np.meshgrid([30.0], y, x, indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_allclose(true.grid_to_fixed(30.0, y, x), true.to_fixed(points), atol=1e-9)


def test_errors_are_distances_at_the_points():
    grid = Grid((6, 7, 8), (2.0, 1.0, 1.5), (1.0, 0.0, 3.0))
    found = scores.moved(grid, Affine.from_parts(np.diag([1.1, 1, 1]), (0, 3, 4)))
    points = np.random.default_rng(0).uniform((1, 0, 3), (11, 6, 13), (50, 3))
    error = scores.errors(scores.at_points(found, grid, points), points * (1.1, 1, 1))
    assert error["mean"] == pytest.approx(5, abs=1e-4)
    assert error["p99"] == pytest.approx(5, abs=1e-4)


def test_an_image_under_the_true_map_is_most_alike():
    grid = Grid((40, 40, 40), (2.0, 1.0, 1.0))
    scene = np.random.default_rng(0).uniform(1, 1000, (40, 40, 44)).astype(np.uint16)
    fixed, moving = scene[..., 4:], scene[..., :40]
    score = scores.likeness(scores.moved(grid, Affine.from_parts(np.eye(3), (0, 0, 4))), fixed, moving, grid)
    assert score["ncc"] == pytest.approx(1)
    assert score["foreground_covered"] == pytest.approx(0.9, abs=0.02)
    assert scores.likeness(scores.unmoved(grid), fixed, moving, grid)["ncc"] < 0.1


def test_a_fold_is_seen():
    grid = Grid((5, 5, 10), (1.0, 1.0, 1.0))
    found = scores.unmoved(grid)
    assert scores.folded(found, grid) == 0
    found[..., 5, 2] -= 3
    assert scores.folded(found, grid) == pytest.approx(1 / 9)


def test_what_children_of_a_command_use_counts():
    work = "import sys; x = bytearray(300 << 20); sum(range(6_000_000)); import time; time.sleep(0.5)"
    outcome = run(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{work}'])"], limit=60
    )
    assert outcome.fault == ""
    assert outcome.cost.cpu_s > 0.1
    assert outcome.cost.peak_gib > 0.29


def test_a_command_without_a_result_has_a_phrase():
    assert run([sys.executable, "-c", "raise SystemExit('no licence')"], limit=60).fault == "failed: no licence"
    endless = run([sys.executable, "-c", "while True: pass"], limit=0.5)
    assert endless.fault.startswith("stopped after")


def test_a_row_without_a_result_says_why():
    rows = [{"tool": "a", "mean": 0.5}, {"tool": "b", "fault": "stopped"}]
    assert markdown(rows, {"": "tool", "mean µm": "mean:.2f"}).splitlines()[2:] == ["| a | 0.50 |", "| b | stopped |"]


def test_volumes_double_up_to_the_largest():
    assert shapes((1024, 1024, 2048)) == [(256,) * 3, (512,) * 3, (1024,) * 3, (1024, 1024, 2048)]
    assert shapes((128, 128, 128)) == [(128, 128, 128)]


def test_a_field_with_kinks_at_faces_jumps_there():
    layout = BlockLayout.of(Grid((64, 64, 64), (1.0, 1.0, 1.0)), None, (32, 32, 32), 0.1)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in layout.nodes.shape), indexing="ij")
    smooth = np.stack([z * z + y * y + x * x, x + y, z * z], axis=-1).astype(np.float32)
    assert jumps_at_faces(smooth, layout) == pytest.approx(1, abs=0.01)
    kinked = smooth + np.abs(z)[..., None].astype(np.float32)
    assert jumps_at_faces(kinked, layout) > 2


def test_imports_are_timed_against_an_empty_python(monkeypatch, capsys):
    monkeypatch.setattr(imports, "STATEMENTS", ("import teralign",))
    imports.main(["--times", "1"])
    *_, row = capsys.readouterr().out.splitlines()
    statement, _wall, _cpu, modules = (cell.strip() for cell in row.strip("|").split("|"))
    assert statement == "import teralign"
    assert 20 < int(modules) < 150


def test_chunks_of_every_layer_and_scale_are_timed(tmp_path, capsys):
    pytest.importorskip("neuroglancer", reason="the viewer needs the extra view")
    images = np.random.default_rng(0).integers(1, 900, (2, 70, 80, 90), np.uint16)
    for name, image in zip(("fixed", "moving"), images, strict=True):
        grid = Grid(image.shape, (1.0, 1.0, 1.0))
        create_volume(tmp_path / f"{name}.zarr", grid=grid, dtype=image.dtype).write(grid.region, image)
    np.savetxt(tmp_path / "shift.mat", [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    viewing.main([str(tmp_path / name) for name in ("fixed.zarr", "moving.zarr", "shift.mat")] + ["--chunks", "2"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows][:2] == ["fixed", "aligned"]
    assert all(float(row.split("|")[5]) > 0 for row in rows)  # CPU time


def test_what_tls_costs_is_the_median_of_the_differences_of_pairs():
    of_pairs = [(10.0, 11.0), (40.0, 40.5), (20.0, 26.0)]
    found = [("ms", kind, cpu) for pair in of_pairs for kind, cpu in zip(("plain", "tls"), pair, strict=True)]
    (row,) = tls.summed_up(found)
    assert (row["plain"], row["tls"], row["more"], row["least"], row["most"]) == (20, 26, 1, 0.5, 6)
    assert row["percent"] == 5
