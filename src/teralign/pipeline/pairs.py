"""The pairs of a run: from --fixed and --moving or from a samplesheet, with every volume looked up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from teralign.errors import InputError
from teralign.grids import FloatTriple, Triple, as_float_triple, reverse_axes
from teralign.pipeline.budget import budget_of, check_worker_memory, skipped_alignments
from teralign.pipeline.entries import (
    RESULT_NAME,
    check_path,
    mask_options,
    parse_channel,
    parse_expansion,
    parse_region,
)
from teralign.pipeline.images import find_images, find_target, options_of
from teralign.pipeline.levels import Budget
from teralign.pipeline.lookup import Located, Scale, find_volume, locate_table, open_anyhow, select_scales
from teralign.pipeline.parameters import Given, Parameters
from teralign.pipeline.resolved import Pair
from teralign.pipeline.samplesheet import PAIRS_SHEET, SheetKind, read_samplesheet
from teralign.pipeline.scales import ScaleFinder
from teralign.pipeline.spacings import Spacings
from teralign.pipeline.starts import find_transforms, follow_reuse
from teralign.volumes.uri import FIND_MASK

_SIDES = ("fixed", "moving")
_OF_ONE_PAIR = ("id", "apply_to", "fixed_landmarks", "moving_landmarks")


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
    return resolve_rows(read_rows(sheet, run, PAIRS_SHEET) if sheet else [run], run)


def resolve_rows(rows: Sequence[Parameters], run: Parameters) -> list[Pair]:
    """Resolve the pair of each row. Raises InputError as `read_pairs`."""
    ids = {row.row["id"] for row in rows if row.row is not None}
    budget = functools.cache(lambda: budget_of(run))
    pairs = [_pair(row, ids, budget) for row in rows]
    return follow_reuse(pairs, rows, skipped_alignments(run))


def read_rows(sheet: Given, run: Parameters, kind: SheetKind) -> list[Parameters]:
    """Return the parameters of each row of a samplesheet. Raises InputError where it cannot be read."""
    check_path(sheet.text, sheet)
    path = sheet.folder / Path(sheet.text).expanduser()
    return [
        replace(run, row=row.cells, sheet_folder=path.parent, row_name=f"{path.name}, row {row.number}")
        for row in read_samplesheet(path, kind)
    ]


def _pair(parameters: Parameters, ids: Collection[str], budget: Callable[[], Budget]) -> Pair:
    both = _volume(parameters, "fixed"), _volume(parameters, "moving")
    given = Spacings.parse(parameters, "fixed_spacing"), Spacings.parse(parameters, "moving_spacing")
    scales = ScaleFinder(parameters, *both, given, budget).find()
    fixed, moving = select_scales(both[0], scales.fixed), select_scales(both[1], scales.moving)
    sides = list(zip(_SIDES, (fixed, moving), given, strict=True))
    masks = [_mask(parameters, f"{side}_mask", scales.moving) for side in _SIDES]
    channels = [_channel(parameters, side, volume) for side, volume, _ in sides]
    known = {
        use: options_of((f"{side}-spacing", spacings.find(volume, use)) for side, volume, spacings in sides)
        for use in ("global", "local")
    }
    expansion = _expansion_options(parameters)
    regions = [option for side, volume, spacings in sides for option in _region(parameters, side, volume, spacings)]
    mask_texts = [option for side in _SIDES for option in mask_options(parameters, side)]
    target = find_target(parameters, fixed, scales, given[0], expansion)
    images, points = find_images(parameters, moving, target, given[1])
    pair_id = _pair_id(parameters, fixed, moving)
    transforms = find_transforms(parameters, pair_id, ids)
    if not transforms.whole:
        check_worker_memory(parameters, fixed)
    return Pair(
        id=pair_id,
        fixed=fixed.staged(),
        moving=moving.staged(),
        fixed_mask=masks[0].staged() if masks[0] else None,
        moving_mask=masks[1].staged() if masks[1] else None,
        transforms=transforms,
        options={
            **{use: _joined(channels, known[use], expansion, regions, mask_texts) for use in known},
            "report": _joined(channels, known["global"], expansion),
            "points": _joined(expansion),
        },
        rounds={use: _rounds(parameters, sides, use) for use in ("global", "apply")},
        images=images,
        points=points,
        landmarks=_landmarks(parameters),
        container=target.container,
        notes=scales.notes,
    )


def _volume(parameters: Parameters, side: str) -> Located:
    given = parameters.get(side)
    assert given is not None
    return find_volume(given.text, given)


def _mask(parameters: Parameters, name: str, scales: Mapping[str, Scale]) -> Located | None:
    """Find a mask, which may lack a voxel size; None where there is none, or it is to be found in the image."""
    given = parameters.get(name)
    if given is None or given.text == FIND_MASK:
        return None
    wanted = {use: replace(scales[use], optional=True) for use in ("global", "local")}
    found = select_scales(find_volume(given.text, given), wanted)
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


def _landmarks(parameters: Parameters) -> tuple[Path, ...]:
    """Return the tables of the same points of both volumes, or none. Raises InputError for one without the other."""
    given = [(side, parameters.own(f"{side}_landmarks")) for side in _SIDES]
    named = [(side, table) for side, table in given if table is not None]
    if len(named) == 1:
        side, table = named[0]
        other = {"fixed": "moving_landmarks", "moving": "fixed_landmarks"}[side]
        raise table.refuse(f"the same points of the other volume are missing: give {other} too, or neither.")
    return tuple(locate_table(table.text, table) for _, table in named)


def _pair_id(parameters: Parameters, fixed: Located, moving: Located) -> str:
    given = parameters.own("id")
    name = given.text if given else f"{moving.stem}-to-{fixed.stem}"
    if not RESULT_NAME.fullmatch(name):
        where = given.where if given else "--id"
        raise InputError(
            f"{where}: {name[:60]!r} cannot name a folder; use up to 200 letters, digits, dots, dashes and "
            "underscores."
        )
    return name


def _expansion_options(parameters: Parameters) -> list[str]:
    """Return the options of the factors by which the samples were expanded."""
    factors = {name: parse_expansion(parameters.get(name)) for name in ("expansion", "moving_expansion")}
    return [f"--{name.replace('_', '-')} {factor:.12g}" for name, factor in factors.items() if factor is not None]


def _rounds(parameters: Parameters, sides: Sequence[tuple[str, Located, Spacings]], use: str) -> str:
    """Return the cells of a row in a table of rounds after its transform: channels, spacings (x;y;z), expansions."""
    channels = [parse_channel(parameters.get(f"{side}_channel")) for side, _, _ in sides]
    lengths = [spacings.find(volume, use).replace(",", ";") for _, volume, spacings in sides]
    fixed = parse_expansion(parameters.get("expansion"))
    moving = parse_expansion(parameters.get("moving_expansion")) or fixed
    factors = ["" if factor is None else f"{factor:.12g}" for factor in (fixed, moving)]
    return ",".join(map(str, [*channels, *lengths, *factors]))


def _region(parameters: Parameters, side: str, volume: Located, spacings: Spacings) -> list[str]:
    """Return the option of a region of interest. Raises InputError for one that lies outside the volume."""
    given = parameters.get(f"{side}_roi")
    box = parse_region(given)
    if given is None or box is None:
        return []
    low, high = box
    if volume.container is not None:
        grid = spacings.open(volume, "local").grid
        begin, end = (reverse_axes(grid.to_physical([edge])[0]) for edge in _edges(grid.shape))
        if any(a >= e or b <= s for a, b, s, e in zip(low, high, begin, end, strict=True)):
            covered = " and ".join(f"{s:.6g} to {e:.6g}" for s, e in zip(begin, end, strict=True))
            raise given.refuse(f"this box lies outside {volume.uri}, which covers {covered} µm along x, y and z.")
    return [f"--{side}-roi {','.join(f'{number:.12g}' for number in (*low, *high))}"]


def _edges(shape: Triple) -> tuple[FloatTriple, FloatTriple]:
    """Return the indices of the outer corners of the first and the last voxel."""
    return (-0.5, -0.5, -0.5), as_float_triple(n - 0.5 for n in shape)


def _joined(*options: Iterable[str]) -> str:
    return " ".join(option for some in options for option in some)
