"""`load`: registrations from the files that `Registration.save`, `global-align` and `local-align` write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from teralign.alignment import Side, StageSummary
from teralign.api.frames import Frame
from teralign.api.images import ImageLike, frame_of
from teralign.api.registration import Registration
from teralign.api.saving import record_of
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, as_float_triple
from teralign.registration import StepReport
from teralign.results import FORMAT
from teralign.transforms import load_stack
from teralign.trust import Assessment

T = TypeVar("T")


def load(
    path: str | Path, *, fixed: ImageLike | Grid | None = None, moving: ImageLike | Grid | None = None
) -> Registration:
    """Return a registration that `Registration.save`, `global-align` or `local-align` wrote.

    `path` is the map: a `.zarr` or a `.mat`. Its record beside it says between which images it leads; a map without
    one needs `fixed` and `moving` to warp images: a DataArray, the path or URI of a volume, or a Grid.

    Raises InputError when there is no map, and when nothing says where the images lie.

    Examples:
        >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0))
        >>> path = found.save("transform.zarr")
        >>> again = ta.load("transform.zarr")
        >>> np.array_equal(again.warp(moving), found.warp(moving))
        True
    """
    place = Path(path)
    stack = load_stack([place])
    saved = _read(place)
    frames = {}
    for role, given in (("fixed", fixed), ("moving", moving)):
        known = _frame(saved, role)
        if given is not None:
            frames[role] = frame_of(given, known or Frame(Grid((1, 1, 1), (1.0, 1.0, 1.0))))
        elif known is not None:
            frames[role] = known
        else:
            raise InputError(f"nothing beside {place} says where its images lie: give {role}=, an image or its URI.")
    steps = tuple(_step(step) for step in saved.get("steps") or ())
    return Registration(stack, frames["fixed"], frames["moving"], steps, _blocks(saved), _assessment(saved))


def _read(path: Path) -> Mapping[str, Any]:
    """Return the record beside a map, of `save` or of a command; empty if there is none."""
    for name in (record_of(path), path.with_suffix(".blocks.json"), path.with_suffix(".json")):
        if not name.is_file():
            continue
        try:
            content = json.loads(name.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{name} is no JSON: {error}.") from error
        if not isinstance(content, dict) or content.get("format", FORMAT) != FORMAT:
            raise InputError(f"{name} is of another format than this version reads; give fixed= and moving=.")
        return content
    return {}


def _frame(saved: Mapping[str, Any], role: str) -> Frame | None:
    """Return the place of an image by a record, None where the record does not say it."""
    given = saved.get(role)
    if isinstance(given, Mapping) and "grid" in given:
        return TypeAdapter(Frame).validate_python(given)
    inputs = (saved.get("run") or {}).get("inputs", {})
    stated = inputs.get(role)
    if not isinstance(stated, Mapping):
        return None
    expansion = stated.get("expansion", 1.0)
    box, labels = stated.get("roi_um"), stated.get("mask_labels")
    side = Side(
        stated["uri"],
        _times(stated["spacing_um"], expansion),
        stated.get("channel", 0),
        stated.get("timepoint", 0),
        stated.get("mask"),
        None if labels is None else tuple(labels),
        None if box is None else (_times(box[0], expansion), _times(box[1], expansion)),
        expansion,
    )
    try:
        direction = side.open(role).direction
    except InputError as error:
        raise InputError(f"the {role} volume {side.uri} is not there any more: give {role}=. ({error})") from error
    return Frame(Grid(stated["shape"], stated["spacing_um"], stated["origin_um"]), direction, side)


def _times(values: Sequence[float], factor: float) -> FloatTriple:
    return as_float_triple(value * factor for value in values)


def _step(saved: Mapping[str, Any]) -> StepReport:
    numbers = {name: _number(saved.get(name)) for name in ("metric_before", "metric_after", "seconds")}
    return StepReport(
        name=saved["name"],
        state=saved["state"],
        reason=saved["reason"],
        metric_before=numbers["metric_before"],
        metric_after=numbers["metric_after"],
        seconds=numbers["seconds"],
        details=saved["details"],
    )


def _number(value: float | None) -> float:
    """Return a number of a record, in which null stands for NaN."""
    return math.nan if value is None else value


def _blocks(saved: Mapping[str, Any]) -> StageSummary | None:
    given = saved if "states" in saved else saved.get("blocks")  # of local-align, or of `save`
    return None if given is None else _checked(TypeAdapter(StageSummary), given)


def _assessment(saved: Mapping[str, Any]) -> Assessment | None:
    given = saved.get("assessment")
    found = None if given is None else _checked(TypeAdapter(Assessment), given)
    if found is None:
        return None
    return replace(found, reasons=tuple(found.reasons), advice=tuple(found.advice), blocks=tuple(found.blocks))


def _checked(kind: TypeAdapter[T], value: object) -> T | None:
    try:
        return kind.validate_python(value)
    except ValidationError:
        return None
