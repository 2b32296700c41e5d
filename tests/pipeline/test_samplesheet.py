"""Samplesheets as editors and spreadsheets save them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from teralign.errors import InputError
from teralign.pipeline import read_pairs
from teralign.pipeline.samplesheet import read_samplesheet

PLAIN = "id,fixed,moving\r\na,f.tif,mü.tif\r\n"

RIGHT: dict[str, bytes] = {
    "plain": PLAIN.encode(),
    "no last end of line": PLAIN.strip().encode(),
    "byte order mark": PLAIN.encode("utf-8-sig"),
    "cp1252": PLAIN.encode("cp1252"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, the other way": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "old Mac": PLAIN.replace("\r\n", "\r").encode(),
    "empty columns": "id,fixed,moving,,\na,f.tif,mü.tif,,\n".encode(),
    "empty column between": "id,,fixed,moving\na,,f.tif,mü.tif\n".encode(),
    "empty rows": "id,fixed,moving\n,,\na,f.tif,mü.tif\n,,\n\n ,,\n".encode(),
    "empty rows before": (",,\n\n" + PLAIN).encode(),
    "no-break spaces": "id,\u00a0fixed,moving\u00a0\n\u00a0a ,f.tif\u00a0, mü.tif\n".encode(),
    "comments": ("# made by hand\n" + PLAIN + "#b,f.tif,g.tif\n").encode(),
    "semicolons": PLAIN.replace(",", ";").encode("cp1252"),
    "tabs": PLAIN.replace(",", "\t").encode("utf-16"),
    "Excel says what separates": ("sep=;\r\n" + PLAIN.replace(",", ";")).encode(),
    "quotes": '"id","fixed","moving"\n"a","f.tif","mü.tif"\n'.encode(),
    "capitals": PLAIN.replace("id,fixed", "ID,Fixed").encode(),
    "short row": "id,fixed,moving,fixed_mask\na,f.tif,mü.tif\n".encode(),
}

WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"sheet\.csv has no rows"),
    "columns only": (b"id,fixed,moving\n", r"sheet\.csv has no rows"),
    "columns and commas": (b"id,fixed,moving\n,,\n,,\n", r"sheet\.csv has no rows"),
    "unknown column": (b"id,fixed,moving,colour\na,f,m,red\n", r"a column 'colour', which is not one of id,"),
    "missing column": (b"id,fixed\na,f\n", r"sheet\.csv, row 1: the column moving is missing or empty"),
    "empty cell": (b"id,fixed,moving\na,f,m\nb,,m\n", r"sheet\.csv, row 2: the column fixed is missing or empty"),
    "twice": (b"id,fixed,moving\na,f,m\na,f,m\n", r"has 2 rows with the id a: each pair needs its own"),
    "column twice": (b"id,fixed,moving,fixed\na,f,m,g\n", r"has 2 columns 'fixed'"),
    "no name": (b"id,fixed,moving,\na,f,m,x\n", r"row 1: 'x' is in a column without a name"),
    "too many cells": (b"id,fixed,moving\na,f,m,x\n", r"row 1: 'x' is in a column without a name"),
    "a workbook": (b"PK\x03\x04 and more", r"sheet\.csv is a spreadsheet; save it as CSV"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_spreadsheets_save_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(RIGHT[name])
    (row,) = read_samplesheet(path)
    assert {column: row.cells[column] for column in ("id", "fixed", "moving")} == {
        "id": "a",
        "fixed": "f.tif",
        "moving": "mü.tif",
    }


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_gets_its_sentence(name: str, tmp_path: Path) -> None:
    content, sentence = WRONG[name]
    path = tmp_path / "sheet.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_samplesheet(path)
    assert re.search(sentence, str(error.value)), str(error.value)


def pairs(volumes: Path, text: str, **given: object) -> list[dict[str, str]]:
    (volumes / "sheet.csv").write_text(text)
    found = read_pairs({"input": "sheet.csv", "aff_scale": "s3", "def_scale": "s2", **given}, volumes)
    return [
        {"id": pair.id, "options": pair.options["local"], "mask": str(pair.fixed_mask and pair.fixed_mask.name)}
        for pair in found
    ]


def test_what_a_row_leaves_empty_the_parameters_say(volumes: Path) -> None:
    sheet = "id,fixed,moving,moving_channel\na,fix.n5,mov.n5,0\nb,mov.n5,fix.n5,\n"
    found = pairs(volumes, sheet, fixed_mask="image.zarr", fixed_channel=0)
    assert [pair["options"] for pair in found] == ["--fixed-channel 0 --moving-channel 0"] * 2
    assert [pair["mask"] for pair in found] == ["image.zarr"] * 2


def test_labels_belong_to_the_mask_beside_them(volumes: Path) -> None:
    sheet = "id,fixed,moving,fixed_mask,apply_to\na,fix.n5,mov.n5,auto,spots.csv\nb,fix.n5,mov.n5,,\n"
    first, second = pairs(volumes, sheet, fixed_mask="image.zarr", fixed_mask_labels=5)
    assert first["options"].endswith("--fixed-mask auto")
    assert (second["mask"], second["options"][-21:]) == ("image.zarr", "--fixed-mask-labels 5")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,fixed,moving\na b,fix.n5,mov.n5\n", r"sheet\.csv, row 1, id: 'a b' cannot name a folder"),
        ("id,fixed,moving\na,fix.n5,no.n5\n", r"sheet\.csv, row 1, moving: .*/no\.n5 does not exist"),
        (
            "id,fixed,moving,fixed_mask,fixed_mask_labels\na,fix.n5,mov.n5,fix.n5,b\n",
            r"row 1, fixed_mask_labels must",
        ),
        ("id,fixed,moving,moving_channel\na,fix.n5,mov.n5,x\n", r"row 1, moving_channel must be a whole number"),
        ("id,fixed,moving\na,fix.n5,mov.n5\n,,\nb,fix.n5,unsaid.tif\n", r"row 3, moving: .* give --moving_spacing"),
    ],
)
def test_a_wrong_cell_is_named(text: str, sentence: str, volumes: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        pairs(volumes, text)
