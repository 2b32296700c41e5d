"""Results are JSON that every parser reads."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import teralign
from teralign.results import document, to_json, write_json


class Colour(enum.StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Result:
    output: Path
    colour: Colour
    values: tuple[float, ...]
    nothing: None = None


def strictly(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_dataclasses_enumerations_and_paths_become_json():
    result = Result(Path("/data/a.zarr"), Colour.RED, (1.5, 2.0))
    assert strictly(to_json(result)) == {
        "output": "/data/a.zarr",
        "colour": "red",
        "values": [1.5, 2.0],
        "nothing": None,
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -np.inf, np.float32("nan"), np.array([np.nan])])
def test_what_is_not_finite_becomes_null(number):
    found = strictly(to_json({"deep": [{"number": number}]}))
    assert found in ({"deep": [{"number": None}]}, {"deep": [{"number": [None]}]})


@pytest.mark.parametrize(
    ("number", "text"), [(np.float64(0.5), "0.5"), (np.int64(3), "3"), (np.bool_(True), "true"), (True, "true")]
)
def test_numbers_of_numpy_are_numbers(number, text):
    assert to_json(number) == text


def test_what_json_has_no_place_for_is_an_error():
    with pytest.raises(TypeError, match="no place for set"):
        to_json({"a": {1, 2}})
    with pytest.raises(TypeError, match="not list"):
        document([1])


def test_a_document_says_its_format_and_version(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"score": float("nan")})
    text = (tmp_path / "a" / "b.json").read_text()
    assert strictly(text) == {"format": 1, "teralign": teralign.__version__, "score": None}
    assert text.endswith("}\n")
