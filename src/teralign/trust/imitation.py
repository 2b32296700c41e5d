"""The error of a deformation, measured on an imitation of its images (parametric bootstrap, Efron 1979).

The true map of two images is not known, but that of an imitation is. A piece of the fixed image is imitated, and what
the moving one shows there, from what both have in common and noise that is new; the imitated moving image is bent by
the map that was found, but for the affine nearest to it. The same deformation is then sought between the imitations:
what it misses is its error on such images, be it from noise, blur, light or smoothing.

What is imitated, in windows of some voxels, for f and m, the two images less their local mean and divided by their
local deviation:

    the spectra |F|², |M|² and what is common, C = Re(F M*), averaged over bands along z and in the plane
    the structure, (F + M)/2, filtered until its spectrum is C; it has the local variance r
    noise of random phases with the spectra |F|² − C and |M|² − C; it has the local variance 1 − r

r is the local correlation. Contrasts, shading and signs follow from the local means and deviations.

Efron: Bootstrap methods: another look at the jackknife, 1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from teralign.grids import Bools, Floats, Grid
from teralign.registration import DeformConfig, Image
from teralign.registration.image import Volume32
from teralign.transforms import Affine, DisplacementField, Stack, node_positions

_WINDOW, _NARROW = 28, 16  # voxels: boxes about as wide as Gaussians of 8 and 5, of contrast and of correlation
_DARK = 0.05  # of the mean variance, added to all: noise in the dark is no structure
_BANDS = 12  # of spatial frequencies, along z and in the plane
_RIM = 12  # voxels of the imitated moving image beyond the fixed one, as long as displacements within a piece
_INVERSIONS = 20  # steps; each leaves a share of the error that is the steepest slope of the field
_SETTLED = 0.1  # of a voxel: where the last step was longer, the inverse is not known
_STRIDE = 4  # voxels between the points where the error is measured, and the nodes of the deformation
_LEAST, _MOST = 0.01, 0.995  # correlations that can be told from none and from all


@dataclass(frozen=True)
class MeasuredErrors:
    """Squared errors (n,) in µm² of a deformation at points (n, 3) µm, and which of them both images show."""

    points: Floats
    squares: Floats
    known: Bools


def measure_on_imitation(
    fixed: Image, moving: Image, *, transform: Stack, config: DeformConfig, threads: int = 1
) -> MeasuredErrors | None:
    """Return the errors of the deformation `config` on an imitation of two images; None where they show nothing.

    `transform` is the map that was found between them. The imitated noise is always the same, and the number of
    threads does not change the result.
    """
    from teralign.registration.deform import seen_on
    from teralign.registration.deform_engine import find_deformation

    grid, part = fixed.grid, _around(moving, fixed.grid, transform)
    if part is None:
        return None
    seen = seen_on(grid, part, transform, threads=threads)
    shown = _shown(seen) if fixed.mask is None else _shown(seen) & fixed.mask
    imitated = _imitate(fixed.array.astype(np.float32), seen.array, shown) if shown.any() else None
    if imitated is None:
        return None
    found = _bending_of(transform, grid)
    around = grid.crop(grid.region.grow((_RIM,) * 3))
    back, certain = _inverse(found, around, threads)
    structure = Image(_beyond(imitated.moving), around, _beyond(shown))
    bent = seen_on(around, structure, back, threads=threads)
    nodes = grid.nodes((_STRIDE,) * 3)
    result = find_deformation(
        Image(imitated.fixed, grid, fixed.mask),
        Image(bent.array + _beyond(imitated.noise), around, _shown(bent) & certain),
        config,
        initial=np.eye(4),
        field_grid=nodes,
        even_if_worse=True,
        threads=threads,
    )
    points = node_positions(nodes)
    miss = result.field.reshape(-1, 3) - (found.map_points(points, threads=threads) - points)
    known = Image(imitated.fixed, grid, shown).sample(points)[1]
    return MeasuredErrors(points, np.square(miss).sum(axis=1), known)


@dataclass(frozen=True)
class _Imitation:
    """The imitated images (z, y, x), on the fixed voxels; the noise of the moving one stands apart."""

    fixed: Volume32
    moving: Volume32
    noise: Volume32


def _imitate(fixed: Volume32, moving: Volume32, shown: Bools) -> _Imitation | None:
    """Return the imitation of two aligned images; None if one is flat. `shown` says where both show something."""
    f, m = _Contrast.of(fixed, shown), _Contrast.of(moving, shown)
    if f is None or m is None:
        return None
    sign = np.float32(1 if float(np.vdot(f.plain, m.plain)) >= 0 else -1)
    first, second = fft.rfftn(f.plain), sign * fft.rfftn(m.plain)
    bands = _Bands.of(fixed.shape)
    powers = bands.mean(_power(first)), bands.mean(_power(second))
    cross = bands.mean((first * np.conj(second)).real)
    common = np.clip(cross, 0, np.minimum(*powers))
    mixed = np.maximum((powers[0] + powers[1] + 2 * cross) / 4, np.finfo(np.float32).tiny)
    structure = fft.irfftn((first + second) / 2 * bands.spread(np.sqrt(common / mixed)), s=fixed.shape)
    rng = np.random.default_rng(0)
    noises = [
        _unit(
            fft.irfftn(
                fft.rfftn(rng.standard_normal(fixed.shape, np.float32)) * bands.spread(np.sqrt(p - common)),
                s=fixed.shape,
            )
        )
        for p in powers
    ]
    # Running sums can fall below zero.
    variances = [np.maximum(_local(c.plain * c.plain, _NARROW), 0) for c in (f, m)]
    product = sign * _local(f.plain * m.plain, _NARROW)
    r = np.clip(product / np.sqrt(variances[0] * variances[1] + 1e-6), _LEAST, _MOST)
    strength = structure * structure
    structure /= np.sqrt(
        np.maximum(_local(strength, _NARROW), 0) + 1e-3 * float(strength.mean()) + np.finfo(np.float32).tiny
    )
    parts = [
        (np.sqrt(v * r) * structure, np.sqrt(v * (1 - r)) * noise) for v, noise in zip(variances, noises, strict=True)
    ]
    return _Imitation(
        f.mean + f.deviation * (parts[0][0] + parts[0][1]),
        m.mean + sign * m.deviation * parts[1][0],
        m.deviation * parts[1][1],
    )


@dataclass(frozen=True)
class _Contrast:
    """An image (z, y, x) as its local mean, its local deviation, and what remains, `plain`: of the order of 1."""

    mean: Volume32
    deviation: Volume32
    plain: Volume32

    @classmethod
    def of(cls, image: Volume32, shown: Bools) -> _Contrast | None:
        """Return it for the voxels that are `shown`; None if none of them differ."""
        weight = np.maximum(_local(shown.astype(np.float32), _WINDOW), np.float32(1e-3))
        level = float(image[shown].mean(dtype=np.float64))
        offset = (image - np.float32(level)) * shown
        mean = _local(offset, _WINDOW) / weight
        variance = np.clip(_local(offset * offset, _WINDOW) / weight - mean * mean, 0, None)
        usual = float(variance[shown].mean(dtype=np.float64))
        if not usual > 0:
            return None
        deviation = np.sqrt(variance + np.float32(_DARK * usual))
        plain = (offset - mean * shown) / deviation
        return cls(*(a.astype(np.float32, copy=False) for a in (mean + np.float32(level), deviation, plain)))


@dataclass(frozen=True)
class _Bands:
    """The bands of spatial frequencies of a real Fourier transform: the band of each, and how many each has."""

    index: NDArray[np.intp]
    counts: Floats

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Bands:
        """Return the bands of a volume (z, y, x); a transform has its last axis halved."""
        z, y, x = np.abs(fft.fftfreq(shape[0])), fft.fftfreq(shape[1]), fft.rfftfreq(shape[2])
        along = np.minimum((2 * _BANDS * z).astype(np.intp), _BANDS - 1)
        across = (2 * _BANDS * np.hypot(y[:, None], x)).astype(np.intp)
        index = along[:, None, None] * (int(across.max()) + 1) + across
        return cls(index, np.maximum(np.bincount(index.ravel()), 1).astype(np.float64))

    def mean(self, values: Floats) -> Floats:
        """Return the means of values, one a frequency, over the bands."""
        return np.asarray(np.bincount(self.index.ravel(), values.ravel(), len(self.counts)) / self.counts)

    def spread(self, values: Floats) -> Volume32:
        """Return the values of the bands at each frequency."""
        return np.asarray(values.astype(np.float32)[self.index])


def _shown(image: Image) -> Bools:
    return np.ones(image.array.shape, bool) if image.mask is None else image.mask


def _power(values: NDArray[np.complexfloating]) -> Floats:
    return np.asarray(np.square(values.real) + np.square(values.imag))


def _local(values: Volume32, width: int) -> Volume32:
    """Return the means over boxes of `width` voxels."""
    return np.asarray(ndimage.uniform_filter(values, width, output=np.float32, mode="nearest"))


def _unit(noise: Volume32) -> Volume32:
    return noise / np.float32(max(float(noise.std()), 1e-9))


def _beyond(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array with what it mirrors at its faces, `_RIM` voxels wide."""
    return np.pad(array, _RIM, mode="symmetric")


def _around(moving: Image, grid: Grid, transform: Stack) -> Image | None:
    """Return the part of the moving image that a grid of the fixed one maps to; None if it lies outside."""
    low, high = transform.bounds(grid.to_physical((0, 0, 0)), grid.to_physical(np.array(grid.shape) - 1))
    region = moving.grid.covering(low, high, margin=3).intersect(moving.grid.region)
    return moving.crop(region) if region.size else None


def _bending_of(transform: Stack, grid: Grid) -> Stack:
    """Return a map without the affine nearest to it over a grid: the deformation, which is to be found."""
    points = node_positions(grid.nodes((_STRIDE,) * 3))
    return Stack((Affine.nearest(points, transform.map_points(points)).inverse(),)) @ transform


def _inverse(found: Stack, grid: Grid, threads: int) -> tuple[Stack, Bools]:
    """Return the inverse of a deformation around a grid, and the voxels (z, y, x) where it is known."""
    nodes = grid.nodes((2, 2, 2))
    points = node_positions(nodes)
    back, last = points.copy(), np.zeros_like(points)
    for _ in range(_INVERSIONS):
        last = back
        back = points - (found.map_points(back, threads=threads) - back)
        if np.abs(back - last).max() < _SETTLED / 10 * min(grid.spacing):
            break
    field = DisplacementField((back - points).reshape(*nodes.shape, 3).astype(np.float32), nodes)
    step = np.sqrt(np.square(back - last).sum(axis=1)).reshape(nodes.shape) < _SETTLED * min(grid.spacing)
    z, y, x = ((np.arange(n) + 1) // 2 for n in grid.shape)
    return Stack((field,)), np.asarray(step[np.ix_(z, y, x)])
