"""SDlogJ is that of the challenge's formula, whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from teralign.evaluation import OnThreads, fields, score_field
from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack, jacobian_determinants


def sdlogj(displacements):
    """The challenge's formula in voxels: correlations with (-½, 0, ½), cropped by two."""
    gradient = np.empty((*displacements.shape, 3))
    for i in range(3):
        for j in range(3):
            gradient[..., i, j] = ndimage.correlate1d(
                displacements[..., i], [-0.5, 0, 0.5], axis=j, mode="constant", cval=0.0
            )
    determinants = np.linalg.det((gradient + np.eye(3))[2:-2, 2:-2, 2:-2])
    return np.log((determinants + 3).clip(1e-9, 1e9)).std(), determinants.size


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(*[st.integers(5, 24)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 3.0)] * 3),
    strength=st.sampled_from([0.5, 3.0]),
)
def test_sdlogj_of_a_field_in_voxels(monkeypatch_session, seed, shape, spacing, strength):
    voxels = (
        ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(*shape, 3)), (1, 1, 1, 0)) * strength * 4
    )
    grid = Grid(shape, spacing, (5.0, -7.0, 1.0))
    field = DisplacementField((voxels * spacing).astype(np.float32), grid)
    found = score_field(Stack((field,)), grid, over=OnThreads(2))
    wanted, count = sdlogj(field.values.astype(np.float64) / spacing)
    assert found.voxels == count
    assert found.sdlogj == pytest.approx(wanted, rel=1e-6)
    determinants = jacobian_determinants(field)
    assert found.jacobian.min == pytest.approx(determinants.min(), rel=1e-4, abs=1e-4)
    assert found.jacobian.folded_share == pytest.approx((determinants <= 0).mean(), abs=2 / determinants.size)


@pytest.fixture(scope="module")
def monkeypatch_session():
    """Small pieces, so that a field has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "_NODES", (8, 7, 16))
        yield patch


def test_an_affine_changes_no_volume_unevenly_and_thin_volumes_have_no_sdlogj():
    affine = Affine.from_parts(np.diag([1.1, 0.9, 1.3]), (3.0, 1.0, 2.0))
    found = score_field(Stack((affine,)), Grid((9, 8, 7), (1.0, 2.0, 0.5)))
    assert found.sdlogj == pytest.approx(0, abs=1e-9)
    assert found.jacobian.median == pytest.approx(1.1 * 0.9 * 1.3, rel=1e-3)
    thin = score_field(Stack((affine,)), Grid((4, 8, 7), (1.0, 2.0, 0.5)))
    assert (thin.sdlogj, thin.voxels) == (None, 0)
