"""The rounds of a run that begins with tiles: what to stitch, and, once that is done, the pairs to align."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from teralign.errors import InputError
from teralign.pipeline.entries import RESULT_NAME, check_path, parse_channel, parse_spacings
from teralign.pipeline.fingerprint import fingerprint
from teralign.pipeline.pairs import read_rows, resolve_rows
from teralign.pipeline.parameters import Given, Parameters
from teralign.pipeline.resolved import Pair
from teralign.pipeline.samplesheet import TILES_SHEET
from teralign.pipeline.spacings import as_option


@dataclass(frozen=True)
class TileRound:
    """A round of tiles to stitch.

    `source` is the file or folder to stage, and `fingerprint` changes with it. `options` are those of import-tiles,
    and `channel` is the one that decides where tiles lie. `fixed` is the id of the round that this one is aligned
    onto, or the volume; empty where it is only stitched.
    """

    id: str
    source: Path
    fingerprint: str
    options: str
    channel: int
    fixed: str


def read_tile_rounds(values: Mapping[str, object], folder: Path) -> list[TileRound]:
    """Return the rounds of tiles that the parameters of a run name; relative paths start from `folder`.

    Raises InputError, which names the parameter or the cell, for what is missing, wrong or does not exist.
    """
    rows = _rows(values, folder)
    ids = {_id(row) for row in rows}
    return [_round(row, ids) for row in rows]


def read_stitched_pairs(values: Mapping[str, object], folder: Path, stitched: Mapping[str, str]) -> list[Pair]:
    """Resolve the pairs of rounds that have been stitched: the rows that name a fixed volume or another round.

    `stitched` holds the volume of each round by its id. Raises InputError as `read_pairs`.
    """
    all_rows = _rows(values, folder)
    lacking = {_id(row) for row in all_rows} - set(stitched)  # rounds that could not be stitched, which the run names
    rows = [
        replace(row, row={**_cells(row), "fixed": stitched.get(given.text, given.text), "moving": stitched[_id(row)]})
        for row in all_rows
        if (given := row.get("fixed")) is not None and not {_id(row), given.text} & lacking
    ]
    return resolve_rows(rows, Parameters(values, folder)) if rows else []


def _rows(values: Mapping[str, object], folder: Path) -> list[Parameters]:
    run = Parameters(values, folder)
    sheet, tiles = run.shared("input"), run.shared("tiles")
    if run.shared("moving"):
        raise InputError("--workflow stitch makes the moving volume out of tiles: give --tiles in place of --moving.")
    if bool(sheet) == bool(tiles):
        raise InputError("Nothing to stitch: give --tiles, or a samplesheet of rounds with --input. See --help.")
    return read_rows(sheet, run, TILES_SHEET) if sheet else [run]


def _cells(row: Parameters) -> dict[str, str]:
    return {**(row.row or {}), "id": _id(row)}


def _round(row: Parameters, ids: Collection[str]) -> TileRound:
    given, fixed = row.own("tiles"), row.get("fixed")
    assert given is not None
    if fixed is not None and fixed.text == _id(row):
        raise fixed.refuse("a round is not aligned onto itself; leave the fixed round's own cell empty.")
    source = _source(given)
    sizes = parse_spacings(row.get("tiles_spacing"))
    if set(sizes) - {""}:
        raise InputError("--tiles_spacing is the voxel size of the tiles, three lengths in µm: x,y,z.")
    options = [f"--spacing {as_option(sizes[''])}"] if sizes else []
    options += _layout(row.get("tiles_mirror"), row.get("tiles_swap_xy"))
    channel = parse_channel(row.get("tiles_channel"))
    target = "" if fixed is None else fixed.text
    return TileRound(_id(row), source, fingerprint(source, ""), " ".join(options), channel, target)


def _layout(mirror: Given | None, swap: Given | None) -> list[str]:
    """Return the options of import-tiles for another layout."""
    if mirror is not None and not re.fullmatch(r"[xyz]([,;][xyz])*", mirror.text):
        raise mirror.refuse(f"'{mirror.text}' names other axes than x, y and z; give for example x or x,y.")
    if swap is not None and swap.text not in ("true", "false"):
        raise swap.refuse(f"give true or false, not '{swap.text}'.")
    found = ["--swap-xy"] if swap is not None and swap.text == "true" else []
    return found + ([f"--mirror {mirror.text.replace(';', ',')}"] if mirror is not None else [])


def _source(given: Given) -> Path:
    check_path(given.text, given)
    source = given.folder / Path(given.text).expanduser()
    if not source.exists():
        raise given.refuse(f"{given.text} does not exist; name the folder or the file that import-tiles reads.")
    return source


def _id(row: Parameters) -> str:
    given, tiles = row.own("id"), row.own("tiles")
    name = given.text if given else Path(tiles.text).name.partition(".")[0] if tiles else ""
    if not RESULT_NAME.fullmatch(name):
        where = given.where if given else "--id"
        raise InputError(
            f"{where}: {name[:60]!r} cannot name a folder; use up to 200 letters, digits, dots, dashes and "
            "underscores."
        )
    return name
