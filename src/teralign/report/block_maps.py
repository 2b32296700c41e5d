"""Maps and a table of the blocks of a local alignment, from the records that it left, and of the blocks assessed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from teralign.grids import FloatTriple, as_float_triple
from teralign.report.maps import Edges, VolumeMap, box_map
from teralign.trust import AssessedBlock, Verdict

OUTCOMES = ("ok", "kept", "empty", "masked", "outside", "outlier", "failed")
"""The states of blocks, from the best to the worst."""

B = TypeVar("B", AssessedBlock, "RecordedBlock")

_VERDICTS = tuple(verdict.value for verdict in (Verdict.GOOD, Verdict.DOUBTFUL, Verdict.BAD, Verdict.UNKNOWN))


@dataclass(frozen=True)
class RecordedBlock:
    """A block of a local alignment: its place (z, y, x) in µm, and what its record says; None where it says nothing.

    The lengths are those of the mean displacement over the block. `reason` says why the block is not `ok`.
    """

    name: str
    start: FloatTriple
    size: FloatTriple
    state: str
    reason: str
    metric_before: float | None
    metric_after: float | None
    min_jacobian: float | None
    displacement_um: float | None
    error_um: float | None
    seconds: float | None

    @property
    def gain(self) -> float | None:
        """The metric after, less that before."""
        if self.metric_before is None or self.metric_after is None:
            return None
        return self.metric_after - self.metric_before


def recorded_blocks(path: Path) -> list[RecordedBlock]:
    """Return the blocks of the .blocks.json of a local alignment, none if it lacks the places of its blocks."""
    content = json.loads(path.read_text())
    edges = _edges(content)
    if edges is None:
        return []
    return [_recorded(record, edges) for record in content["records"]]


def record_maps(blocks: Sequence[RecordedBlock]) -> list[VolumeMap]:
    """Return the maps of what is recorded for blocks."""
    higher = "What the steps improve; higher is better."
    found = [
        _map_of(
            _Quantity(
                "record-error", "Estimated error (local alignment)", "µm", "Forward and backward disagree by it."
            ),
            blocks,
            lambda b: b.error_um,
            low=0.0,
        ),
        _map_of(
            _Quantity(
                "state",
                "Outcome of the local alignment",
                "",
                "Blocks that are not ok take the map of their neighbours, or keep their start.",
            ),
            blocks,
            lambda b: OUTCOMES.index(b.state) if b.state in OUTCOMES else None,
            categories=OUTCOMES,
        ),
        _map_of(
            _Quantity("metric-before", "Metric before the local alignment", "", higher),
            blocks,
            lambda b: b.metric_before,
        ),
        _map_of(
            _Quantity("metric-after", "Metric after the local alignment", "", higher),
            blocks,
            lambda b: b.metric_after,
        ),
        _map_of(
            _Quantity("gain", "Gain of the metric", "", "The metric after the local alignment, less that before."),
            blocks,
            lambda b: b.gain,
        ),
        _map_of(
            _Quantity(
                "block-displacement",
                "Mean displacement of blocks",
                "µm",
                "The length of each block's mean displacement.",
            ),
            blocks,
            lambda b: b.displacement_um,
            low=0.0,
        ),
        _map_of(
            _Quantity("seconds", "Time of blocks", "s", "How long each block took."),
            blocks,
            lambda b: b.seconds,
            low=0.0,
        ),
    ]
    return [map_ for map_ in found if map_ is not None]


def assessed_maps(blocks: Sequence[AssessedBlock]) -> list[VolumeMap]:
    """Return the maps of verdict, estimated error and margin of assessed blocks."""
    found = [
        _map_of(
            _Quantity("verdict", "Verdict", "", "Whether the images agree best where the map puts them."),
            blocks,
            lambda b: _VERDICTS.index(b.verdict.value),
            categories=_VERDICTS,
        ),
        _map_of(
            _Quantity("error", "Estimated error", "µm", "The estimated remaining error of each block."),
            blocks,
            lambda b: b.error_um,
            low=0.0,
        ),
        _map_of(
            _Quantity(
                "margin",
                "Margin of the match",
                "",
                "By how much better the images agree at the place of the map than elsewhere; above 0 the block "
                "confirms the map.",
            ),
            blocks,
            lambda b: b.margin,
            low=-0.5,
            high=0.5,
        ),
    ]
    return [map_ for map_ in found if map_ is not None]


@dataclass(frozen=True)
class _Quantity:
    """The names of a map: its key, title, unit and note."""

    key: str
    title: str
    unit: str
    note: str


def _map_of(
    quantity: _Quantity,
    blocks: Sequence[B],
    value: Callable[[B], float | None],
    *,
    low: float | None = None,
    high: float | None = None,
    categories: tuple[str, ...] = (),
) -> VolumeMap | None:
    """Return the map of a value of blocks, None where no block has it; limits that are not given follow the values.

    With both limits it is diverging.
    """
    boxes = box_map(blocks, lambda b: b.start, lambda b: b.size, value)
    if boxes is None:
        return None
    made = VolumeMap(
        quantity.key,
        quantity.title,
        quantity.unit,
        quantity.note,
        *boxes,
        diverging=high is not None,
        categories=categories,
    )
    if not made.known:
        return None
    return made if categories else made.ranged(low, high)


def _edges(content: Mapping[str, Any]) -> Edges | None:
    """Return the edges of blocks in µm from a record, None for one without blocks or of an older version."""
    try:
        stage, fixed = content["run"]["parameters"]["stages"][-1], content["run"]["inputs"]["fixed"]
        z, y, x = (
            np.array(edges) * s + o - s / 2
            for edges, s, o in zip(stage["edges"], fixed["spacing_um"], fixed["origin_um"], strict=True)
        )
    except (KeyError, IndexError, TypeError):
        return None
    return z, y, x


def _recorded(record: Mapping[str, Any], edges: Edges) -> RecordedBlock:
    index = [int(part[1:]) for part in str(record["block"]).split("_")]
    start = as_float_triple(e[i] for e, i in zip(edges, index, strict=True))
    stop = [float(e[i + 1]) for e, i in zip(edges, index, strict=True)]
    displacement = record.get("displacement")
    return RecordedBlock(
        name=record["block"],
        start=start,
        size=as_float_triple(b - a for a, b in zip(start, stop, strict=True)),
        state=record["state"],
        reason=record.get("reason") or record.get("error") or "",
        metric_before=record.get("metric_before"),
        metric_after=record.get("metric_after"),
        min_jacobian=record.get("min_jacobian"),
        displacement_um=None if displacement is None else math.hypot(*displacement),
        error_um=record.get("error_um"),
        seconds=record.get("seconds"),
    )
