"""Two rounds of an EASI-FISH section, whole, at the coarse scale: as good as the best known, and nothing folds."""

from __future__ import annotations

import numpy as np
import pytest

from real_data import REAL_DATA, needs_real_data
from teralign.cluster import Compute
from teralign.evaluation.similarity import similarity
from teralign.tasks.global_align import global_align
from teralign.tasks.local_align import local_align
from teralign.transforms import load_stack, warp
from teralign.volumes import open_volume

pytestmark = [needs_real_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The volumes, the affine and the field, and what local-align said."""
    folder = tmp_path_factory.mktemp("easifish")
    uris = [str(REAL_DATA / "easifish" / f"{name}.n5" / "lowres") for name in ("fix", "mov")]
    global_align(*uris, output=folder / "affine.mat", steps=["ransac", "affine"])
    result = local_align(
        *uris,
        output=folder / "transform.zarr",
        initial_transforms=[folder / "affine.mat"],
        compute=Compute(workers=2, worker_cpus=1, worker_mem_gb=4.0),
    )
    return uris, folder, result


def score(uris, *transforms):
    """NCC and LNCC over the fixed foreground after these transforms."""
    fixed, moving = (open_volume(uri) for uri in uris)
    stack = load_stack(transforms)
    aligned = warp(moving.read(), moving.grid, grid=fixed.grid, region=fixed.grid.region, transform=stack)
    return similarity(fixed.read().astype(np.float32), aligned.astype(np.float32), aligned > 0)


def test_the_global_step_finds_what_bigstream_finds(found):
    uris, folder, _ = found
    assert score(uris).lncc_mean < 0.05
    after = score(uris, folder / "affine.mat")
    assert after.lncc_mean >= 0.85
    assert after.ncc >= 0.73


def test_the_local_step_improves_on_it_and_does_not_fold(found):
    uris, folder, result = found
    after = score(uris, folder / "transform.zarr")
    assert after.lncc_mean >= 0.89
    assert after.foreground_covered >= 0.84
    assert result.folded_share == 0
    assert result.min_jacobian > 0
    assert result.states.get("failed", 0) == 0
