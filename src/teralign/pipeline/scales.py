"""The scales of a pair: the datasets that each task reads of both volumes.

`auto` leaves the choice of aff_scale and def_scale to the program: the finest level that the run has memory and time
for, of each volume, whatever the levels are called. It is also what is done where a parameter is not given, and a
volume has no dataset of the usual name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from teralign.pipeline.entries import parse_scales
from teralign.pipeline.levels import (
    Budget,
    KnownScale,
    ScalePair,
    choose_global,
    choose_local,
    find_levels,
    nearest_level,
    pair_levels,
)
from teralign.pipeline.lookup import Located, Scale, has_scale
from teralign.pipeline.parameters import Parameters
from teralign.pipeline.spacings import Spacings

AUTO = "auto"
Option = Literal["aff_scale", "def_scale"]
_USUAL: Mapping[Option, str] = {"aff_scale": "s3", "def_scale": "s2"}


@dataclass(frozen=True)
class Scales:
    """The scale of each use ("global", "local", "apply", "apply_2", …) of the fixed and of the moving volume.

    `applied` names the uses for warping, and `labels` names their results, "" where there is only one. `notes` are
    for the log.
    """

    fixed: Mapping[str, Scale]
    moving: Mapping[str, Scale]
    applied: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ScaleFinder:
    """The two volumes of a pair whose scales are sought, with the voxel sizes that the user gives."""

    parameters: Parameters
    fixed: Located
    moving: Located
    spacings: tuple[Spacings, Spacings]
    budget: Callable[[], Budget]

    def find(self) -> Scales:
        """Return the scales of all uses.

        Raises InputError where a choice is not possible, and for grids that do not go with the scales to warp.
        """
        wanted = {option: self._wanted(option) for option in _USUAL}
        found = {option: self._named(option, name) for option, name in wanted.items() if name != AUTO}
        chosen = [option for option in _USUAL if option not in found]
        if chosen:
            found |= self._chosen(chosen, found)
        by_use = {"global": found["aff_scale"], "local": found["def_scale"]}
        applied = self._applied(found["def_scale"])
        by_use |= {use: scales for use, (_, scales) in applied.items()}
        notes = [
            f"{option} {fixed.name or 'the only level'}, chosen of {self.fixed.name}"
            for option, (fixed, _) in found.items()
            if option in chosen and not self.fixed.is_array
        ]
        return Scales(
            fixed={use: fixed for use, (fixed, _) in by_use.items()},
            moving={use: moving for use, (_, moving) in by_use.items()},
            applied={use: label for use, (label, _) in applied.items()},
            notes=tuple(notes),
        )

    def _wanted(self, option: Option) -> str:
        """Return the scale that is given, else the usual one if both volumes have it, else "auto".

        Beside a volume of one level, the usual scale of the other may have voxels of another size.
        """
        given = self.parameters.get(option)
        volumes = (self.fixed, self.moving)
        unseen = next((volume for volume in volumes if volume.container is None), None)
        if given is not None:
            if given.text == AUTO and unseen is not None:
                raise given.refuse(f"the scales of {unseen.uri} are not looked up before the run; name one of them.")
            return given.text
        usual = _USUAL[option]
        if unseen is not None:
            return usual
        alike = self.fixed.is_array == self.moving.is_array
        return usual if alike and all(has_scale(volume, usual) for volume in volumes) else AUTO

    def _named(self, option: Option, name: str) -> tuple[Scale, Scale]:
        return Scale(option, name), Scale(option, name)

    def _chosen(
        self, options: Sequence[Option], named: Mapping[Option, tuple[Scale, Scale]]
    ) -> dict[Option, tuple[Scale, Scale]]:
        """Choose scales; the one for the local alignment is never the coarser one."""
        sides = [
            find_levels(volume, given) for volume, given in zip((self.fixed, self.moving), self.spacings, strict=True)
        ]
        pairs = pair_levels(*sides)
        budget = self.budget()
        found: dict[Option, tuple[Scale, Scale]] = {}
        if "aff_scale" in options:
            first = _index(pairs, named.get("def_scale")) or 0
            pair = choose_global(pairs[first:], budget)
            found["aff_scale"] = _scales("aff_scale", pair)
        if "def_scale" in options:
            last = _index(pairs, found.get("aff_scale") or named.get("aff_scale"))
            pair = choose_local(pairs if last is None else pairs[: last + 1], budget)
            found["def_scale"] = _scales("def_scale", pair)
        return found

    def _applied(self, default: tuple[Scale, Scale]) -> dict[str, tuple[str, tuple[Scale, Scale]]]:
        """Return by use the label of the results and the scales of a volume to warp."""
        names = parse_scales(self.parameters.get("apply_scale"))
        given = self.parameters.get("apply_grid_scale")
        grids = parse_scales(given)
        if given and len(grids) not in (1, max(1, len(names))):
            raise given.refuse(
                f"there are {len(grids)} scales of grids for {max(1, len(names))} to warp; give one, or one for each."
            )
        moving = [Scale("apply_scale", name) for name in names] or [default[1]]
        fixed = [Scale("apply_scale", name) for name in names] or [default[0]]
        if grids:
            fixed = [Scale("apply_grid_scale", name) for name in grids * (len(moving) // len(grids))]
        labels = names if len(names) > 1 else [""]
        uses = ["apply", *(f"apply_{n}" for n in range(2, len(moving) + 1))]
        return dict(zip(uses, zip(labels, zip(fixed, moving, strict=True), strict=True), strict=True))


def scale_of(located: Located, scale: Scale, spacings: Spacings) -> Scale:
    """Return the scale to read of a further volume: where the scale was chosen, that of the most similar voxels."""
    if scale.size is None or located.container is None or located.is_array:
        return scale
    if scale.name and has_scale(located, scale.name):
        return scale
    return _scale("def_scale", nearest_level(find_levels(located, spacings), scale.size))


def _index(pairs: Sequence[ScalePair], scales: tuple[Scale, Scale] | None) -> int | None:
    """Return the place of a scale of the fixed volume among the levels, None where it is not there."""
    names = [pair.fixed.name for pair in pairs]
    return names.index(scales[0].name) if scales is not None and scales[0].name in names else None


def _scales(option: str, pair: ScalePair) -> tuple[Scale, Scale]:
    return _scale(option, pair.fixed), _scale(option, pair.moving)


def _scale(option: str, level: KnownScale) -> Scale:
    return Scale(option, level.name, size=level.size)
