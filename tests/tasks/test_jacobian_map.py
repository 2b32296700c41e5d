"""Maps of the volume change of known maps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.errors import DataError
from teralign.grids import Grid
from teralign.tasks import jacobian_map as room
from teralign.tasks.jacobian_map import jacobian_map
from teralign.transforms import Affine, DisplacementField, jacobian_determinants, save_field
from teralign.volumes import create_volume, open_volume

NODES = Grid((12, 14, 70), (4.0, 5.0, 6.0), (5.0, -3.0, 8.0))
AFFINE = Affine.from_parts(np.array([[1.1, 0.05, 0], [0, 0.9, -0.1], [0.02, 0, 1.0]]), (5.0, 0.0, -2.0))


@pytest.fixture
def files(tmp_path):
    AFFINE.save(tmp_path / "a.mat")
    save_field(tmp_path / "u.zarr", bent())
    return tmp_path


def bent():
    at = np.moveaxis(np.indices(NODES.shape), 0, -1) * NODES.spacing
    values = 2.0 * np.sin(2 * np.pi * at[..., [2, 0, 1]] / 60.0)
    values[6, 7, 8, 2] += 9.0  # this node passes the next one, 6 µm away
    return DisplacementField(values, NODES)


def test_a_map_has_the_determinant_of_the_whole_stack_at_each_node(files):
    said = jacobian_map([files / "a.mat", files / "u.zarr"], str(files / "j.zarr"))
    found = open_volume(files / "j.zarr")
    wanted = np.linalg.det(AFFINE.matrix[:3, :3]) * jacobian_determinants(bent())
    assert found.grid == NODES
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.read(), wanted, rtol=1e-5)
    assert said.min == pytest.approx(wanted.min(), rel=1e-4)
    assert said.folded_share == pytest.approx((wanted <= 0).mean())
    assert said.folded_share > 0
    assert said.median == pytest.approx(np.median(wanted), rel=1e-3)
    written = json.loads((files / "j.summary.json").read_text())
    assert written["folded_share"] == said.folded_share


def test_an_affine_is_mapped_over_a_volume_with_a_pyramid(files):
    create_volume(files / "fixed.n5", grid=Grid((20, 41, 1201), (1.0, 1.5, 2.0)), dtype=np.uint8)
    jacobian_map([files / "a.mat"], str(files / "j.n5"), fixed=str(files / "fixed.n5"))
    assert open_volume(files / "j.n5/s0").grid == Grid((6, 11, 301), (4.0, 6.0, 8.0))
    for level in ("s0", "s1"):
        voxels = open_volume(files / f"j.n5/{level}").read()
        np.testing.assert_allclose(voxels, np.linalg.det(AFFINE.matrix[:3, :3]), rtol=1e-5)


def test_a_run_that_was_cut_off_goes_on(files, monkeypatch):
    def full(*_: object) -> None:
        raise DataError("the disk is full.")

    arguments = ([files / "a.mat", files / "u.zarr"], str(files / "j.zarr"))
    with monkeypatch.context() as patch:
        patch.setattr("teralign.filling.filling.make_levels", full)
        with pytest.raises(DataError, match="full"):
            jacobian_map(*arguments)
    assert not (files / "j.zarr").exists()
    assert (files / "j.zarr.partial").is_dir()
    with monkeypatch.context() as patch:
        patch.setattr(room, "volume_change", full)  # nothing is computed again
        jacobian_map(*arguments)
    assert not (files / "j.zarr.partial").exists()
    assert open_volume(files / "j.zarr").read().min() < 0
