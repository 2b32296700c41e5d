"""The report of a registration: that of `report-alignment`, in a frame of a notebook."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_rounds import GRID, SPACING

import teralign as ta
from teralign.errors import InputError


def test_a_report_of_arrays_and_one_of_volumes(rounds, tmp_path):
    counts = np.ones(GRID.shape, bool)
    counts[:4] = False
    found = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=["ransac"], fixed_mask=counts)
    report = found.report()
    content = json.loads(report.json)
    assert content["verdict"] == found.verdict
    assert content["fixed"]["uri"] == "in memory/fixed.zarr"
    page = report._repr_html_()
    assert page.startswith("<iframe srcdoc=")
    assert page.count('"') == 8  # the page itself is escaped
    assert report.save(tmp_path / "report").read_text() == report.html
    stored = ta.align(*rounds.files, steps=["ransac"]).report()
    assert json.loads(stored.json)["fixed"]["uri"] == rounds.files[0].uri
    assert str(content["verdict"]) in repr(report)


def test_images_that_were_in_memory_are_not_known_after_loading(found, tmp_path):
    path = found.save(tmp_path / "found.mat")
    with pytest.raises(InputError, match="align again"):
        ta.load(path).report()
