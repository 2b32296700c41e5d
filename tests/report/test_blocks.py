import json

import pytest

from teralign.errors import InputError
from teralign.report import summarise_blocks


def test_blocks_are_counted_and_measured(tmp_path):
    records = [
        {"block": "a", "state": "ok", "reason": "", "metric_before": 0.2, "metric_after": 0.8, "min_jacobian": 0.9},
        {"block": "b", "state": "ok", "reason": "", "metric_before": 0.4, "metric_after": 0.6, "min_jacobian": 0.7},
        {"block": "c", "state": "empty", "reason": "the fixed volume is 0 everywhere here"},
        {"block": "d", "state": "kept", "reason": "no gain", "metric_before": None, "metric_after": float("nan")},
    ]
    path = tmp_path / "t.blocks.json"
    path.write_text(json.dumps({"output": "t.zarr", "records": records}))
    summary = summarise_blocks(path)
    assert summary.blocks == 4
    assert summary.states == {"ok": 2, "empty": 1, "kept": 1}
    assert summary.reasons == {"the fixed volume is 0 everywhere here": 1, "no gain": 1}
    assert summary.metric_before == pytest.approx({"min": 0.2, "p10": 0.22, "median": 0.3, "p90": 0.38, "max": 0.4})
    assert summary.metric_after["median"] == pytest.approx(0.7)
    assert summary.min_jacobian["min"] == 0.7


def test_no_blocks_make_an_empty_summary(tmp_path):
    path = tmp_path / "t.blocks.json"
    path.write_text('{"records": []}')
    assert summarise_blocks(path).metric_before == {}


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"records": [1]}', '{"records": [{"name": "a"}]}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "t.blocks.json"
    path.write_text(text)
    with pytest.raises(InputError, match="local-align writes"):
        summarise_blocks(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        summarise_blocks(tmp_path / "none.json")
