"""The warped volumes and mapped tables of a pair: their sources, options and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from teralign.grids import FloatTriple
from teralign.pipeline.entries import RESULT_NAME, Entry, check_name, parse_entries
from teralign.pipeline.lookup import Located, find_volume, locate_table, select_scales, stem
from teralign.pipeline.parameters import Given, Parameters
from teralign.pipeline.resolved import StagedTable, WarpedImage
from teralign.pipeline.scales import Scales, scale_of
from teralign.pipeline.spacings import Spacings, as_option, open_dataset

_TAKEN = ("affine", "aligned", "transform", "report")
_CONTAINERS = ("zarr", "n5")
_FORMAT = "zarr"


@dataclass(frozen=True)
class Target:
    """The grids to warp onto, and the form of the results.

    `fixed` has a dataset for each use in `scales`, and `onto` the options of each. `options` are those of every
    volume. `container` is the container of all results, "" where each is its own; `suffix` is the format's.
    """

    fixed: Located
    scales: Scales
    onto: Mapping[str, Sequence[str]]
    options: Sequence[str]
    container: str
    suffix: str

    def images(self, name: str, volume: Located, options: Mapping[str, Sequence[str]]) -> list[WarpedImage]:
        """Return a volume to warp at each scale; once where several scales are the same dataset on the same grid."""
        found: dict[tuple[str, str], WarpedImage] = {}
        for use, label in self.scales.applied.items():
            key = self.fixed.datasets[use], volume.datasets[use]
            if key not in found:
                found[key] = self._image(f"{name}_{stem(label)}" if label else name, volume, use, options[use])
        if len(found) == 1:
            ((key, image),) = found.items()
            found[key] = self._image(name, volume, image.use, options[image.use])
        return list(found.values())

    def _image(self, name: str, volume: Located, use: str, options: Sequence[str]) -> WarpedImage:
        file = f"{name}.{self.suffix}"
        return WarpedImage(
            name=name,
            volume=volume.staged(),
            options=" ".join([*self.onto[use], *options, *self.options]),
            use=use,
            file=file,
            output=f"{self.container}/{name}" if self.container else file,
        )


def find_target(
    parameters: Parameters, fixed: Located, scales: Scales, given: Spacings, options: list[str]
) -> Target:
    """Return where the volumes of a pair are warped to; `options` are those of every volume.

    Raises InputError for a container or a format that cannot hold them.
    """
    suffix = _text(parameters, "warped_format", _FORMAT)
    name, folder = parameters.shared("warped_container"), parameters.shared("warped_dir")
    if name and (not RESULT_NAME.fullmatch(name.text) or name.text in _TAKEN):
        raise name.refuse(
            f"'{name.text}' cannot name a container: use letters, digits, dots, dashes and underscores, and none of "
            f"{', '.join(_TAKEN)}."
        )
    if name and suffix not in _CONTAINERS:
        raise name.refuse(f"only zarr and n5 containers hold several volumes, not the --warped_format {suffix}.")
    if name and folder:
        raise name.refuse(
            "volumes in a bucket (--warped_dir) cannot be put into one container; leave one of them out."
        )
    if folder and suffix not in (*_CONTAINERS, "precomputed"):
        raise folder.refuse(f"a bucket takes zarr, n5 and precomputed, not the --warped_format {suffix}.")
    onto = {use: options_of([("fixed-spacing", given.find(fixed, use))]) for use in scales.applied}
    return Target(fixed, scales, onto, options, f"{name.text}.{suffix}" if name else "", suffix)


def find_images(
    parameters: Parameters, moving: Located, target: Target, given: Spacings
) -> tuple[tuple[WarpedImage, ...], tuple[StagedTable, ...]]:
    """Return the volumes to warp, the moving volume first, and the tables of points to map.

    `given` are the spacings of the moving round. Raises InputError for what cannot be read, and for results of the
    same name.
    """
    own = parameters.get("warped_name")
    name = own.text if own else "warped"
    uses = target.scales.applied
    options = {use: options_of([("moving-spacing", given.find(moving, use))]) for use in uses}
    images, points = target.images(name, moving, options), []
    entries = parameters.own("apply_to")
    for number, entry in enumerate(parse_entries(entries) if entries else (), 1):
        assert entries is not None
        check_name(entry.uri, entries)
        if entry.is_table:
            table = locate_table(entry.uri, entries)
            points.append(StagedTable(entry.name or f"warped_{number}_{stem(table.name)}", table))
        else:
            found = _found(entry, entries, target.scales, given)
            options = {use: _entry_options(entry, found, use, given) for use in uses}
            images += target.images(entry.name or f"warped_{number}_{found.stem}", found, options)
    taken = (*_TAKEN, "OME") if target.container else _TAKEN  # OME: the list of the images of a container
    _check_names([image.name for image in images] + [table.name for table in points], taken, entries, own)
    return tuple(images), tuple(points)


def options_of(named: Iterable[tuple[str, str]]) -> list[str]:
    """Return options, without those that have no value."""
    return [f"--{name} {value}" for name, value in named if value]


def _found(entry: Entry, given: Given, scales: Scales, spacings: Spacings) -> Located:
    located = find_volume(entry.uri, given)
    wanted = {use: scale_of(located, scales.moving[use], spacings) for use in scales.applied}
    return select_scales(located, wanted)


def _entry_options(entry: Entry, volume: Located, use: str, spacings: Spacings) -> list[str]:
    return options_of(
        [
            ("moving-spacing", _entry_spacing(entry, volume, use, spacings)),
            ("moving-channel", entry.channels or ""),
            ("interpolation", entry.interpolation or ""),
        ]
    )


def _entry_spacing(entry: Entry, volume: Located, use: str, spacings: Spacings) -> str:
    """Return the spacing of a further volume to warp. Raises InputError if nothing gives its voxel size."""
    option = f"{entry.uri}:spacing="
    if entry.spacing is None:
        return replace(spacings, option=option).find(volume, use)
    x, y, z = (float(number) for number in entry.spacing.split(","))
    own: FloatTriple = x, y, z
    if volume.container is not None:
        open_dataset(volume, use, own, option)
    return as_option(own)


def _check_names(names: Sequence[str], taken: Sequence[str], entries: Given | None, own: Given | None) -> None:
    """Raise InputError unless each result has a name of its own that a file may have, and that is not `taken`."""
    given = entries or own
    for name, count in Counter(names).items():
        if not RESULT_NAME.fullmatch(name) or name in taken:
            assert given is not None
            raise given.refuse(
                f"'{name}' cannot name a result: use letters, digits, dots, dashes and underscores, and none of "
                f"{', '.join(taken)}."
            )
        if count > 1:
            assert given is not None
            raise given.refuse(f"{count} results would be called {name}; give each a name of its own (:name=NAME).")


def _text(parameters: Parameters, name: str, default: str) -> str:
    given = parameters.shared(name)
    return given.text if given else default
