"""The differences between imaging rounds: light, gain, offset and noise.

A voxel of signal s (counts) reads offset + s + n; n is normal with variance s · counts_per_photon + read_noise².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teralign.grids import Floats, Region, Triple


@dataclass(frozen=True)
class Round:
    """The conversion of the scene into counts in one round; unevenness and bleaching span the whole field of view.

    `brightness` scales the scene; `unevenness` is the amplitude of the light's logarithm along y and x; a round
    bleaches to exp(−`bleaching`) at the last slice; about `haze` counts of autofluorescence belong to it alone.
    """

    name: str
    index: int
    brightness: float
    unevenness: float
    bleaching: float
    haze: float
    offset: float
    read_noise: float
    counts_per_photon: float

    def light(self, whole: Triple, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the light on the voxels of `region` in a volume of shape `whole`: a factor along each of z, y, x."""
        z, y, x = _fractions(whole, region)
        return (
            self.brightness * np.exp(-self.bleaching * z),
            np.exp(0.8 * self.unevenness * np.cos(np.pi * (0.9 * y - 0.1))),
            np.exp(self.unevenness * np.cos(np.pi * (1.3 * x + 0.2))),
        )

    def fog(self, whole: Triple, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the autofluorescence of this round alone, in counts: a factor along each of z, y, x."""
        return self.fog_at(*_fractions(whole, region))

    def fog_at(self, z: Floats, y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the autofluorescence in counts at fractions of the field of view: a factor along each of z, y, x."""
        shift = 0.7 * self.index
        return (
            self.haze * (1 + 0.4 * np.cos(np.pi * (1.4 * z + shift))),
            1 + 0.4 * np.cos(np.pi * (1.7 * y + 1.3 * shift)),
            1 + 0.4 * np.cos(np.pi * (2.1 * x + 0.6 * shift)),
        )


def _fractions(whole: Triple, region: Region) -> list[Floats]:
    """Return the positions of the voxels of `region` in the whole volume, 0 to 1 along each axis."""
    return [np.arange(a, b) / n for a, b, n in zip(region.start, region.stop, whole, strict=True)]


FIXED_ROUND = Round(
    name="fixed",
    index=0,
    brightness=1.0,
    unevenness=0.05,
    bleaching=0.1,
    haze=10.0,
    offset=200.0,
    read_noise=6.0,
    counts_per_photon=2.0,
)
MOVING_ROUND = Round(
    name="moving",
    index=1,
    brightness=0.6,
    unevenness=0.25,
    bleaching=0.45,
    haze=25.0,
    offset=215.0,
    read_noise=6.0,
    counts_per_photon=2.0,
)
