"""`teralign resolve`: the pairs or rounds of tiles of a pipeline run, looked up before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.pipeline import Pair, TileRound, read_pairs, read_stitched_pairs, read_tile_rounds


@dataclass(frozen=True)
class Resolution:
    """The pairs of a run, or the rounds of tiles that it begins with."""

    pairs: tuple[Pair, ...] = ()
    rounds: tuple[TileRound, ...] = ()


def resolve(parameters: str | Path | Mapping[str, object], *, folder: str | Path = ".") -> Resolution:
    """Resolve the pairs that the parameters of a pipeline run name.

    `parameters` are the pipeline's by name (a mapping, or a JSON file with one); parameters that do not concern pairs
    are ignored. Relative paths start from `folder`, or, in a samplesheet, from its own folder. No voxels are read.
    With `workflow` "stitch" the rounds of tiles are resolved; with `stitched` too, which holds the volumes that were
    made of them by the rounds' ids, the pairs of these volumes.
    Raises InputError for an input that is missing, wrong or cannot be read.
    """
    values = parameters if isinstance(parameters, Mapping) else _read(Path(parameters))
    place = Path(folder).absolute()
    if values.get("workflow") != "stitch":
        return Resolution(pairs=tuple(read_pairs(values, place)))
    stitched = values.get("stitched")
    if isinstance(stitched, Mapping):
        return Resolution(pairs=tuple(read_stitched_pairs(values, place, stitched)))
    return Resolution(rounds=tuple(read_tile_rounds(values, place)))


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"the parameters {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"the parameters {path} are not valid JSON: {error}.") from error
    except RecursionError as error:
        raise InputError(f"the parameters {path} are nested too deeply; give values and lists of them.") from error
    if not isinstance(content, dict):
        raise InputError(f"the parameters {path} are not a JSON object.")
    return content
