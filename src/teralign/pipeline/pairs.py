"""The pairs of a run: from --fixed and --moving or from a samplesheet, with every volume looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.pipeline.entries import Entry, check_name, mask_options, parse_channel, parse_entries
from teralign.pipeline.lookup import Located, Scale, locate_table, locate_volume, open_anyhow, stem
from teralign.pipeline.parameters import Given, Parameters
from teralign.pipeline.resolved import Pair, StagedTable, WarpedImage
from teralign.pipeline.samplesheet import read_samplesheet
from teralign.pipeline.spacings import Spacings, as_option, open_dataset
from teralign.volumes.uri import FIND_MASK

_SIDES = ("fixed", "moving")
_OF_ONE_PAIR = ("id", "apply_to")


def read_pairs(values: Mapping[str, object], folder: Path) -> list[Pair]:
    """Resolve the pairs that the parameters of a run name; relative paths start from `folder`.

    Raises InputError, which names the parameter or the cell, for whatever is missing, wrong or cannot be read.
    """
    run = Parameters(values, folder)
    sheet, sides = run.shared("input"), [run.shared(side) for side in _SIDES]
    if sheet and any(sides):
        raise InputError("Give either --input or --fixed and --moving, not both.")
    if not sheet and not all(sides):
        raise InputError("Nothing to align: give --fixed and --moving, or a samplesheet with --input. See --help.")
    for name in _OF_ONE_PAIR:
        if sheet and run.shared(name):
            raise InputError(f"--{name} is for one pair: with --input, use the samplesheet's column {name}.")
    for name in ("aff_scale", "def_scale"):
        run.first([name])
    return [_pair(parameters) for parameters in (_rows(sheet, run) if sheet else [run])]


def _rows(sheet: Given, run: Parameters) -> list[Parameters]:
    path = sheet.folder / Path(sheet.text).expanduser()
    return [
        replace(run, row=row.cells, sheet_folder=path.parent, row_name=f"{path.name}, row {row.number}")
        for row in read_samplesheet(path)
    ]


def _pair(parameters: Parameters) -> Pair:
    moving_scales = {
        "global": _scale(parameters, "aff_scale"),
        "local": _scale(parameters, "def_scale"),
        "apply": _scale(parameters, "apply_scale", "def_scale"),
    }
    fixed_scales = moving_scales | {"apply": _scale(parameters, "apply_grid_scale", "apply_scale", "def_scale")}
    fixed = _volume(parameters, "fixed", fixed_scales)
    moving = _volume(parameters, "moving", moving_scales)
    masks = [_mask(parameters, f"{side}_mask", moving_scales) for side in _SIDES]
    channels = [_channel(parameters, side, volume) for side, volume in zip(_SIDES, (fixed, moving), strict=True)]
    spacings = [Spacings.parse(parameters, f"{side}_spacing") for side in _SIDES]
    both = list(zip(_SIDES, (fixed, moving), spacings, strict=True))
    known = {
        use: {side: given.find(volume, use) for side, volume, given in both} for use in ("global", "local", "apply")
    }
    mask_texts = [option for side in _SIDES for option in mask_options(parameters, side)]
    aligned = {
        use: [*channels, *_options((f"{side}-spacing", known[use][side]) for side in _SIDES)]
        for use in ("global", "local")
    }
    onto = ("fixed-spacing", known["apply"]["fixed"])
    warped = WarpedImage(
        "warped", moving.staged(), _joined(_options([onto, ("moving-spacing", known["apply"]["moving"])]))
    )
    images, points = _others(parameters, moving_scales["apply"], onto, spacings[1])
    return Pair(
        id=_pair_id(parameters, fixed, moving),
        fixed=fixed.staged(),
        moving=moving.staged(),
        fixed_mask=masks[0].staged() if masks[0] else None,
        moving_mask=masks[1].staged() if masks[1] else None,
        options={
            **{use: _joined([*options, *mask_texts]) for use, options in aligned.items()},
            "report": _joined(aligned["global"]),
        },
        images=(warped, *images),
        points=tuple(points),
    )


def _scale(parameters: Parameters, *names: str) -> Scale:
    """Return the scale that the first of these parameters gives."""
    option, found = parameters.first(names)
    return Scale(option, found.text)


def _volume(parameters: Parameters, side: str, scales: Mapping[str, Scale]) -> Located:
    given = parameters.get(side)
    assert given is not None
    return locate_volume(given.text, given, scales)


def _mask(parameters: Parameters, name: str, scales: Mapping[str, Scale]) -> Located | None:
    """Find a mask, which may lack a voxel size; None where there is none, or it is to be found in the image."""
    given = parameters.get(name)
    if given is None or given.text == FIND_MASK:
        return None
    wanted = {use: replace(scales[use], optional=True) for use in ("global", "local")}
    found = locate_volume(given.text, given, wanted)
    if found.container is not None:
        try:
            for dataset in found.datasets.values():
                open_anyhow(found.container, dataset)
        except InputError as error:
            raise given.refuse(str(error)) from error
    return found


def _channel(parameters: Parameters, side: str, volume: Located) -> str:
    """Return the option of the channel to align. Raises InputError where the volume lacks it."""
    name = f"{side}_channel"
    given = parameters.get(name)
    channel = parse_channel(given)
    if given is not None and volume.container is not None:
        count = open_anyhow(volume.container, volume.datasets["local"]).channels
        if channel >= count:
            raise given.refuse(f"{volume.dataset_uri('local')} has no channel {channel}; it has {count}, from 0.")
    return f"--{side}-channel {channel}"


def _pair_id(parameters: Parameters, fixed: Located, moving: Located) -> str:
    given = parameters.own("id")
    name = given.text if given else f"{moving.stem}-to-{fixed.stem}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        where = given.where if given else "--id"
        raise InputError(
            f"{where}: '{name}' cannot name a folder; use letters, digits, dots, dashes and underscores."
        )
    return name


def _others(
    parameters: Parameters, scale: Scale, onto: tuple[str, str], spacings: Spacings
) -> tuple[list[WarpedImage], list[StagedTable]]:
    """Return the further data of a pair: volumes to warp, and tables of points."""
    given = parameters.own("apply_to")
    images, points = [], []
    for number, entry in enumerate(parse_entries(given) if given else (), 1):
        assert given is not None
        check_name(entry.uri, given)
        if entry.is_table:
            table = locate_table(entry.uri, given)
            points.append(StagedTable(f"warped_{number}_{stem(table.name)}", table))
        else:
            found = locate_volume(entry.uri, given, {"apply": scale})
            options = [onto, ("moving-spacing", _other_spacing(entry, found, spacings))]
            options += [("moving-channel", entry.channels or ""), ("interpolation", entry.interpolation or "")]
            name = f"warped_{number}_{found.stem}"
            images.append(WarpedImage(name, found.staged(), _joined(_options(options))))
    return images, points


def _other_spacing(entry: Entry, volume: Located, spacings: Spacings) -> str:
    """Return the spacing of a further volume to warp. Raises InputError if nothing gives its voxel size."""
    option = f"{entry.uri}:spacing="
    if entry.spacing is None:
        return replace(spacings, option=option).find(volume, "apply")
    x, y, z = (float(number) for number in entry.spacing.split(","))
    own: FloatTriple = x, y, z
    if volume.container is not None:
        open_dataset(volume, "apply", own, option)
    return as_option(own)


def _options(named: Iterable[tuple[str, str]]) -> list[str]:
    """Return options, without those that have no value."""
    return [f"--{name} {value}" for name, value in named if value]


def _joined(options: Iterable[str]) -> str:
    return " ".join(options)
