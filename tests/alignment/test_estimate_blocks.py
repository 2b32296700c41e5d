"""The estimated errors of an alignment in many blocks, of which some are measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.alignment import ERROR_ENDING, BlockOptions
from teralign.cluster import Compute
from teralign.tasks.local_align import local_align
from teralign.volumes import open_volume


@pytest.fixture(scope="module")
def aligned(pair, tmp_path_factory):
    """The field of sixteen blocks."""
    output = tmp_path_factory.mktemp("estimates") / "transform.zarr"
    local_align(
        pair.fixed,
        pair.moving,
        output=output,
        initial_transforms=[pair.affine],
        blocks=BlockOptions((40, 52, 24)),
        compute=Compute(workers=1),
    )
    return output, json.loads(output.with_suffix(".blocks.json").read_text())


def test_some_blocks_are_measured_and_the_others_follow_from_them(aligned):
    _, report = aligned
    records = report["records"]
    assert [record["error_measured"] for record in records].count(True) == 8
    measured = [record["error_um"] for record in records if record["error_measured"]]
    spread = [record["error_um"] for record in records if not record["error_measured"]]
    assert 0.3 * min(measured) < min(spread) <= max(spread) < 3 * max(measured)


def test_the_volume_has_the_errors_of_measured_blocks_and_of_the_others(aligned):
    output, report = aligned
    errors = open_volume(output.with_suffix(ERROR_ENDING)).read()
    assert np.isfinite(errors).mean() > 0.5, "cubes at the faces hold too little"
    levels = {np.float32(record["error_um"]) for record in report["records"] if not record["error_measured"]}
    assert any(np.isclose(errors, level, rtol=1e-3).any() for level in levels)
    assert report["error_um"]["median"] == pytest.approx(float(np.nanmedian(errors)), rel=1e-3)


def test_the_estimate_is_near_the_truth(pair, aligned):
    output, report = aligned
    true = float(np.median(pair.errors(output)))
    assert true / 2.5 < report["error_um"]["median"] < 2.5 * true
