"""Voxel sizes that a user gives for a volume, at each of its scales.

A single spacing is the voxel size of the finest scale; the other scales have it times their ratio to the finest
scale, by their metadata or else their shapes. If a parameter names an array, the spacing is the array's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from teralign.errors import InputError
from teralign.grids import FloatTriple, as_float_triple, reverse_axes
from teralign.pipeline.entries import parse_spacings
from teralign.pipeline.lookup import Located
from teralign.pipeline.parameters import Parameters
from teralign.volumes import Volume, open_volume, scale_ratio


@dataclass(frozen=True)
class Spacings:
    """The spacings that a parameter gives, (x, y, z) in µm: by the name of a scale, and under "" for all of them.

    `option` is the name of the parameter for users.
    """

    option: str
    by_scale: Mapping[str, FloatTriple]

    @classmethod
    def parse(cls, parameters: Parameters, name: str) -> Spacings:
        """Parse a parameter, which may not be given. Raises InputError for anything but positive numbers."""
        return cls(f"--{name}", parse_spacings(parameters.shared(name)))

    def find(self, located: Located, use: str) -> str:
        """Return the spacing x,y,z in µm that is given for the dataset of a use, "" if no spacing is given.

        Opens the dataset. Raises InputError when that fails, and when its voxel size is unknown.
        """
        return as_option(self._given(located, use))

    def open(self, located: Located, use: str) -> Volume:
        """Open the dataset of a use with its voxel size, as `find`."""
        return open_dataset(located, use, self._given(located, use), self.option)

    def _given(self, located: Located, use: str) -> FloatTriple | None:
        own = self.by_scale.get(located.datasets[use].split("/")[-1])
        shared = self.by_scale.get("")
        if located.container is None:
            return own or shared
        volume = open_dataset(located, use, own or shared, self.option)
        if own is not None or shared is None or located.is_array:
            return own or shared
        ratio = scale_ratio(volume)
        if ratio is None:
            raise located.given.refuse(
                f"the scales of {located.uri} do not say how many times coarser {located.datasets[use]} is than the "
                f"finest one, so give {self.option} for each scale: s2=1,1,2;s3=2,2,4."
            )
        return as_float_triple(s * r for s, r in zip(shared, reverse_axes(ratio), strict=True))


def as_option(spacing: FloatTriple | None) -> str:
    """Return a spacing as an option of a command takes it, "" for none."""
    return "" if spacing is None else ",".join(f"{size:.12g}" for size in spacing)


def open_dataset(located: Located, use: str, spacing: FloatTriple | None, option: str) -> Volume:
    """Open the dataset of a use; `spacing` is (x, y, z) in µm, and `option` the name of its parameter.

    Raises InputError, which names the parameter of the volume, when it cannot be opened or its voxel size is unknown.
    """
    try:
        turned = None if spacing is None else reverse_axes(spacing)
        return open_volume(located.dataset_uri(use), spacing=turned, option=option)
    except InputError as error:
        sentence = str(error).replace(f"{option} ", option) if option.endswith("=") else str(error)
        raise located.given.refuse(sentence) from error
