"""Pairs for which it is known where an alignment is right: made from real volumes and the phantom, good and hopeless.

The fixed image of a pair is a window of a scene; the moving one is the scene seen through x = A (y + b(y)), as in
`benchmarks.pairs`, and then through a further map G: turned, mirrored, stretched, shifted away. So tissue beyond the
window comes into view. An effect changes the moving image, or both: light, noise, contrast, missing parts, another
tissue. Lengths are in voxels of the scene, so that a brain of 40 µm voxels and a section of 1.8 µm are treated alike.
"""

from __future__ import annotations

import functools
import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.pairs import TrueMap
from teralign.demo import make_phantom
from teralign.grids import Bools, Floats, Grid, Region, Triple, as_float_triple, as_triple, group_means
from teralign.registration import Image
from teralign.volumes import open_volume

Volume = NDArray[np.float32]
_UNIT = 1.84  # µm: the voxel for which the amplitudes of `TrueMap` are made
_SHAPE: Triple = (64, 80, 96)
_SIGNAL = 1000.0  # counts of the brightest 0.1 %
_OFFSET = 200.0
_GLOW = 150.0  # of tissue that is cut out by an outline
_POINTS = 4000
_BRIGHT = 75.0  # percentile of the scene above which its points are scored

# Places of the scenes: a volume, and the first voxel (z, y, x) of the window. Those tuned on and those scored share
# no voxel of a window.
TUNED: Mapping[str, tuple[str, Triple]] = {
    "section a": ("fix", (40, 20, 20)),
    "section b": ("fix", (50, 120, 140)),
    "section c": ("mov", (30, 30, 330)),
    "template": ("allen", (30, 0, 8)),
    "phantom a": ("phantom 1", (24, 24, 24)),
}
SCORED: Mapping[str, tuple[str, Triple]] = {
    "section d": ("fix", (30, 30, 250)),
    "section e": ("fix", (60, 130, 350)),
    "section f": ("mov", (40, 100, 60)),
    "brain": ("brain", (90, 40, 60)),
    "phantom b": ("phantom 2", (24, 24, 24)),
}


@dataclass(frozen=True)
class Kind:
    """What a pair is like: the map G, the window, and effects by name with their strength."""

    turn: float = 0.0  # degrees about z
    tilt: float = 0.0  # degrees about y
    mirror: bool = False
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of the window
    declared: tuple[float, float, float] = (1.0, 1.0, 1.0)  # the spacing in the metadata, of the true one
    shape: Triple = _SHAPE
    bend: float = 1.0
    effects: Mapping[str, float] = field(default_factory=dict)
    hopeless: bool = False  # the moving image shows nothing of the fixed one
    start: tuple[float, float, float] | None = None  # (z, y, x): a start that is given, which is wrong by so much
    smoothness: float | None = None  # of the deformation, if it is not found from the images
    fault: tuple[str, ...] = ()  # the causes of advice of which any names the fault that was made


def _with(fault: tuple[str, ...] = (), **effects: float) -> Kind:
    return Kind(effects=effects, fault=fault)


def _lost(fault: tuple[str, ...] = (), **effects: float) -> Kind:
    return Kind(effects=effects, fault=fault, hopeless=True)


_SIZE = ("voxel size", *(f"voxel size along {axes}" for axes in ("z", "y", "x", "z, y, x", "y, x")))
_CAMERA = ("pattern of the camera",)
_OTHER = ("different structures", "another channel, or other tissue")


KINDS: Mapping[str, Kind] = {
    "plain": Kind(),
    "plain, bent more": Kind(bend=1.8),
    "noisy, SNR 2": _with(noise=0.5),
    "noisy, SNR 1": _with(noise=1.0),
    "blurred": _with(blur=2.0),
    "inverted": _with(invert=1.0),
    "gamma 0.5": _with(gamma=0.5),
    "gamma 2": _with(gamma=2.0),
    "dark with depth": _with(depth=0.4),
    "stripes": _with(stripes=0.4),
    "saturated 30 %": _with(saturate=0.3),
    "saturated 80 %": _with(saturate=0.8),
    "half missing": _with(cut=0.5),
    "padding": _with(padding=0.3),
    "holes": _with(holes=10),
    "half of the cells gone": _with(gone=0.5),
    "sparse spots": _with(spots=700),
    "few spots": _with(spots=150),
    "overlap 40 %": Kind(shift=(0, 0, 0.6)),
    "overlap 25 %": Kind(shift=(0, 0, 0.75)),
    "turned 25°": Kind(turn=25),
    "scaled 1.1": Kind(scale=1.1),
    "slab of 12": Kind(shape=(12, 112, 128), bend=0.6),
    "slab of 5": Kind(shape=(5, 128, 144), bend=0.4),
    "small": Kind(shape=(40, 44, 48), bend=0.6),
    "slipped": _with(slip=8),
    "z ×5": Kind(declared=(5, 1, 1), fault=_SIZE),
    "z ×2": Kind(declared=(2, 1, 1), fault=_SIZE),
    "z ÷3": Kind(declared=(1 / 3, 1, 1), fault=_SIZE),
    "x ×2": Kind(declared=(1, 1, 2), fault=_SIZE),
    "x ×5": Kind(declared=(1, 1, 5), fault=_SIZE),
    "mirrored": Kind(mirror=True, fault=("mirrored", "mirrored along z", "mirrored along y", "mirrored along x")),
    "turned 90°": Kind(turn=90, fault=("turned by 90° about z",)),
    "turned 180°": Kind(turn=180, fault=("turned by 180° about z",)),
    "tilted 180°": Kind(tilt=180, fault=("turned by 180° about y",)),
    "twice as large": Kind(scale=2.0, fault=_SIZE),
    "overlap 5 %": Kind(shift=(0, 0, 0.95)),
    "no overlap": Kind(shift=(0, 0, 1.3), hopeless=True),
    "other place": _with(elsewhere=1),
    "other tissue": _lost(_OTHER, tissue=1),
    "noise": _lost(noise_only=0),
    "noise with structure": _lost(noise_only=2.5),
    "scrambled phases": _lost(phases=1),
    "background": _lost(background=1),
    "wrong channel": _lost(_OTHER, channel=1),
    "camera's pattern in both": _with(_CAMERA, elsewhere=1, pattern=0.3),
    "camera's stripes in both": _with(_CAMERA, elsewhere=1, grid=0.5),
    "other slab": Kind(shape=(12, 112, 128), effects={"elsewhere": 1}),
    "other spots": _with(elsewhere=1, spots=300),
    "one bright spot": _lost(noise_only=0, beacon=1),
    "smoothing too weak": Kind(smoothness=0.3, effects={"noise": 1.0}, fault=("smoothing too weak",)),
    "smoothing too strong": Kind(
        smoothness=300.0, bend=1.8, fault=("smoothing too strong", "start out of reach, or smoothing too strong")
    ),
    "shifted start": Kind(start=(20.0, -18.0, 26.0), bend=0.3, fault=("shifted",)),
    "sharp outline": _with(outline=1),
    "other place, same outline": _lost(_OTHER, outline=1, inside=1),
    "other tissue, same outline": _lost(_OTHER, outline=1, inside=2),
    "other place, same box": _lost(_OTHER, outline=2, inside=1),
}


@dataclass(frozen=True)
class KnownPair:
    """Two images; bright points (n, 3) µm of the fixed one that the moving one shows, and their true places."""

    name: str
    kind: str
    fixed: Image
    moving: Image
    points: Floats
    places: Floats

    @property
    def unit(self) -> float:
        """The edge of a voxel of the fixed image in µm."""
        return float(np.prod(self.fixed.grid.spacing) ** (1 / 3))

    def errors(self, found: Callable[[Floats], Floats]) -> Floats:
        """The distances in voxels of the points' images under a map from their true places."""
        return np.asarray(np.linalg.norm(found(self.points) - self.places, axis=1) / self.unit)


def known_pair(kind: str, place: str, seed: int) -> KnownPair:
    """Make a pair; the same arguments make the same one."""
    wanted = KINDS[kind]
    name = f"{kind}, {place}, {seed}"
    rng = np.random.default_rng([zlib.crc32(f"{kind} {place}".encode()), seed])
    source, start = (TUNED | SCORED)[place]
    scene, spacing = _scene(source)
    start = as_triple(min(a, max(0, n - s)) for a, n, s in zip(start, scene.shape, wanted.shape, strict=True))
    shape = as_triple(min(n - a, s) for a, n, s in zip(start, scene.shape, wanted.shape, strict=True))
    grid = Grid(shape, spacing)
    if spots := wanted.effects.get("spots"):
        scene = _spots(scene.shape, int(spots * scene.size / math.prod(shape)), rng)
    window = Region(start, as_triple(a + n for a, n in zip(start, shape, strict=True)))
    true = _SeenMap.random(rng, grid, wanted)
    seen_from = _elsewhere(scene.shape, window) if "elsewhere" in wanted.effects else start
    scene, other = _outlined(scene, window, wanted, rng, place)
    shown, missing = _render(other, seen_from, grid, true)
    moving, more = _effects(shown, wanted, rng, place)
    missing |= more
    fixed = scene[window.slices]
    fixed_noise = wanted.effects.get("noise", 0.0)
    images = [_camera(fixed, rng, fixed_noise), 0.6 * _camera(moving, rng, fixed_noise)]
    images = _both(images, wanted, rng)
    declared = as_float_triple(s * d for s, d in zip(spacing, wanted.declared, strict=True))
    offset = (np.array(start) - seen_from) * spacing
    points, places = _landmarks(fixed, grid, true, missing, rng, wanted, offset)
    as_counts = [np.clip(image + 0.5, 0, 65535).astype(np.uint16) for image in images]
    return KnownPair(
        name,
        kind,
        Image(as_counts[0], grid),
        Image(as_counts[1], Grid(shape, declared)),
        points,
        places * np.array(wanted.declared),
    )


@dataclass(frozen=True)
class _SeenMap:
    """y = G(ψ⁻¹(x)) of the fixed points x, with ψ a `TrueMap` in units of `unit` µm; `slip` tears."""

    true: TrueMap
    unit: float
    further: Floats  # (4, 4), µm
    slip: float  # µm along y, of moving points beyond `plane`
    plane: float  # µm along x

    @classmethod
    def random(cls, rng: np.random.Generator, grid: Grid, kind: Kind) -> _SeenMap:
        unit = float(np.prod(grid.spacing) ** (1 / 3)) / _UNIT
        extent = np.array(grid.extent)
        made = TrueMap.random(rng, extent / unit)
        centre = extent / 2
        linear = _turn(0, kind.turn) @ _turn(1, kind.tilt) @ np.diag([1.0, 1.0, -1.0 if kind.mirror else 1.0])
        linear = linear * kind.scale
        further = np.eye(4)
        further[:3, :3] = linear
        further[:3, 3] = centre - linear @ centre - np.array(kind.shift) * extent
        # Shifts are at most a fifth of a thin window.
        offset = (made.linear @ (extent / unit / 2)) + made.shift - extent / unit / 2
        shift = made.shift - offset + np.clip(offset, -0.2 * extent / unit, 0.2 * extent / unit)
        true = TrueMap(made.linear, shift, made.coefficients * kind.bend)
        slip = kind.effects.get("slip", 0.0) * unit * _UNIT
        return cls(true, unit, further, slip, float(centre[2]))

    def to_fixed(self, points: Floats) -> Floats:
        y = points.copy()
        y[:, 1] -= self.slip * (points[:, 2] > self.plane)
        back = np.linalg.inv(self.further)
        y = y @ back[:3, :3].T + back[:3, 3]
        return self.true.to_fixed(y / self.unit) * self.unit

    def to_moving(self, points: Floats) -> tuple[Floats, Bools]:
        y, found = self.true.to_moving(points / self.unit)
        y = (y * self.unit) @ self.further[:3, :3].T + self.further[:3, 3]
        y[:, 1] += self.slip * (y[:, 2] > self.plane)
        return y, found


def _turn(axis: int, degrees: float) -> Floats:
    i, j = [(1, 2), (0, 2), (0, 1)][axis]
    angle, matrix = np.deg2rad(degrees), np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


@functools.cache
def _scene(source: str) -> tuple[Volume, tuple[float, float, float]]:
    """A scene (z, y, x), 0 for background and about `_SIGNAL` for the brightest, and its spacing in µm."""
    if source.startswith("phantom"):
        phantom = make_phantom((224, 256, 288), int(source.split()[1]))
        array = group_means(phantom.fixed.render(Region.whole(phantom.fixed.grid.shape)), (2, 2, 2))
        spacing = phantom.fixed.grid.downsample((2, 2, 2)).spacing
    else:
        data = Path(os.environ["TERALIGN_TEST_DATA"])
        if source == "allen":
            volume = open_volume(data / "allen" / "average_template_100.nrrd")
        elif source == "brain":
            volume = open_volume(data / "mousebrain" / "brain_50_40_40um.tif", spacing=(50.0, 40.0, 40.0))
        else:
            volume = open_volume(data / "easifish" / f"{source}.n5" / "lowres")
        array, spacing = volume.read().astype(np.float32), volume.grid.spacing
    smooth = ndimage.gaussian_filter(array.astype(np.float32), 0.6)
    low, high = np.percentile(smooth[::2, ::2, ::2], (1.0, 99.9))
    return (np.clip((smooth - low) / (high - low), 0, 3) * np.float32(_SIGNAL)).astype(np.float32), spacing


def _spots(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> Volume:
    marks = np.zeros(shape, np.float32)
    index = tuple(rng.integers(0, n, count) for n in shape)
    marks[index] = rng.lognormal(0, 0.5, count)
    return np.asarray(ndimage.gaussian_filter(marks, 1.1) * np.float32(_SIGNAL * 18), dtype=np.float32)


def _elsewhere(shape: tuple[int, ...], window: Region) -> Triple:
    """The first voxel of a window of the scene, as far from another one as there is room."""
    starts = []
    for n, a, b in zip(shape, window.start, window.stop, strict=True):
        size = b - a
        starts.append(0 if a > n - b else n - size)
    return as_triple(starts)


def _outlined(
    scene: Volume, window: Region, kind: Kind, rng: np.random.Generator, place: str
) -> tuple[Volume, Volume]:
    """Return the scenes that both images see: cut by one sharp outline, with what lies inside of it.

    An outline is a ball with bumps in the window (1), or a box (2); all tissue in it glows. The moving image shows
    the same inside of it, another place of the scene (1), or other tissue (2).
    """
    if not (outline := kind.effects.get("outline")):
        return scene, scene
    shape = window.shape
    if outline == 1:
        axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
        bumps = ndimage.gaussian_filter(rng.normal(size=shape), 10)
        mask = np.sqrt(sum(axis**2 for axis in axes)) + 0.12 * bumps / bumps.std() < 0.9
    else:
        mask = np.zeros(shape, bool)
        mask[tuple(slice(n // 10, n - n // 10) for n in shape)] = True
    inside = {
        0: scene[window.slices],
        1: scene[Region(start := _elsewhere(scene.shape, window), as_triple(np.add(start, shape))).slices],
        2: _other_tissue(scene[window.slices], 1.0, rng, place),
    }
    cut = []
    for part in (inside[0], inside[int(kind.effects.get("inside", 0))]):
        whole = np.zeros_like(scene)
        whole[window.slices] = mask * (part + np.float32(_GLOW))
        cut.append(whole)
    return cut[0], cut[1]


def _render(scene: Volume, start: Triple, grid: Grid, true: _SeenMap) -> tuple[Volume, Bools]:
    """The scene on the moving voxels, and which of them show nothing since the scene ends."""
    out = np.empty(grid.shape, np.float32)
    y, x = (np.arange(n) * s for n, s in zip(grid.shape[1:], grid.spacing[1:], strict=True))
    for z in range(grid.shape[0]):
        points = np.stack(np.meshgrid([z * grid.spacing[0]], y, x, indexing="ij"), -1).reshape(-1, 3)
        at = (true.to_fixed(points) / grid.spacing + np.array(start)).T
        out[z] = ndimage.map_coordinates(scene, at, order=1, cval=-1.0).reshape(grid.shape[1:])
    missing: Bools = out < 0
    return np.where(missing, np.float32(0), out), missing


def _camera(image: Volume, rng: np.random.Generator, noise: float) -> Volume:
    """Counts with shot and read noise, and more `noise` as a share of a bright signal."""
    signal = 0.5 * _SIGNAL
    seen = rng.poisson(np.clip(image, 0, None) * 0.3) / 0.3 + rng.normal(0, 5 + noise * signal * 0.5, image.shape)
    return np.asarray(_OFFSET + seen, dtype=np.float32)


def _effects(image: Volume, kind: Kind, rng: np.random.Generator, place: str) -> tuple[Volume, Bools]:
    """The moving image after its effects, and which voxels lost their tissue."""
    shape, missing = image.shape, np.zeros(image.shape, bool)
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    for name, strength in kind.effects.items():
        if name == "blur":
            image = ndimage.gaussian_filter(image, (strength, strength / 3, strength / 3))
        elif name == "invert":
            image = np.float32(_SIGNAL) - np.clip(image, 0, _SIGNAL)
        elif name == "gamma":
            image = np.float32(_SIGNAL) * (image / np.float32(_SIGNAL)) ** strength
        elif name == "depth":
            image = image * np.exp(-z / strength)[:, None, None]
        elif name == "stripes":
            phase = np.arange(shape[2])[None] + 0.3 * np.arange(shape[1])[:, None]
            image = image * (1 + strength * np.sin(2 * np.pi * phase / 14))[None]
        elif name == "cut":
            missing |= np.broadcast_to(x > 1 - strength, shape)
        elif name == "padding":
            missing |= np.broadcast_to((y > 1 - strength)[:, None], shape)
        elif name == "holes":
            at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
            for centre in rng.uniform(0, 1, (int(strength), 3)) * shape:
                missing |= ((at - centre) ** 2).sum(axis=-1) < 11**2
        elif name == "gone":
            image = image * (ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0)
        elif name in _REPLACED:
            image = _REPLACED[name](image, strength, rng, place)
        elif name == "beacon":
            image = image.copy()
            image[tuple(n // 2 for n in shape)] = 60 * _SIGNAL
            image = ndimage.gaussian_filter(image, 1.0)
    light = np.exp(0.25 * np.cos(np.pi * (x * 1.3 + 0.2))) * np.exp(0.2 * np.cos(np.pi * (y * 0.9 - 0.1)))[:, None]
    image = np.where(missing, np.float32(0), image * light * np.exp(-0.45 * z)[:, None, None])
    return image.astype(np.float32), missing


def _noise_only(image: Volume, sigma: float, rng: np.random.Generator, place: str) -> Volume:
    noise = ndimage.gaussian_filter(rng.normal(size=image.shape), sigma)
    return np.asarray(np.clip(300 + 150 * noise / noise.std(), 0, None), dtype=np.float32)


def _scrambled(image: Volume, strength: float, rng: np.random.Generator, place: str) -> Volume:
    power = np.abs(np.fft.rfftn(image - image.mean()))
    phases = np.fft.rfftn(rng.normal(size=image.shape))
    made = np.fft.irfftn(power * phases / np.abs(phases), image.shape)
    return np.asarray(np.clip(image.mean() + made, 0, None), dtype=np.float32)


def _background(image: Volume, strength: float, rng: np.random.Generator, place: str) -> Volume:
    haze = ndimage.gaussian_filter(rng.normal(size=image.shape), 15)
    return np.asarray(30 + 10 * haze / haze.std(), dtype=np.float32)


def _other_tissue(image: Volume, strength: float, rng: np.random.Generator, place: str) -> Volume:
    """A window of another volume with voxels of its own size, as if somebody named the wrong file."""
    others = [p for p in (TUNED if place in TUNED else SCORED) if p.split()[0] != place.split()[0]]
    source, start = (TUNED | SCORED)[others[int(rng.integers(len(others)))]]
    scene, _ = _scene(source)
    return _window(scene, start, image.shape)


def _other_channel(image: Volume, strength: float, rng: np.random.Generator, place: str) -> Volume:
    """Structures of a kind of their own (threads) in the same field of view."""
    marks = np.zeros(image.shape, np.float32)
    for _ in range(60):
        at, way = rng.uniform(0, 1, 3) * image.shape, rng.normal(size=3)
        for _ in range(300):
            way = way / np.linalg.norm(way) + 0.1 * rng.normal(size=3)
            at = at + 0.5 * way
            index = np.rint(at).astype(int)
            if (index < 0).any() or (index >= image.shape).any():
                break
            marks[tuple(index)] = 1
    return np.asarray(ndimage.gaussian_filter(marks, 1.2) * 3 * _SIGNAL, dtype=np.float32)


_REPLACED: Mapping[str, Callable[[Volume, float, np.random.Generator, str], Volume]] = {
    "noise_only": _noise_only,
    "phases": _scrambled,
    "background": _background,
    "tissue": _other_tissue,
    "channel": _other_channel,
}


def _window(scene: Volume, start: Triple, shape: tuple[int, ...]) -> Volume:
    slices = tuple(
        slice(max(0, min(a, n - s)), max(0, min(a, n - s)) + s)
        for a, n, s in zip(start, scene.shape, shape, strict=True)
    )
    part = scene[slices]
    return np.pad(part, [(0, s - n) for s, n in zip(shape, part.shape, strict=True)])


def _both(images: list[Volume], kind: Kind, rng: np.random.Generator) -> list[Volume]:
    """Effects of the camera: what saturates, and what is fixed to the voxels of both images."""
    shape = images[0].shape
    if level := kind.effects.get("saturate"):
        images = [images[0], np.minimum(images[1], np.percentile(images[1], 100 * (1 - level)))]
    if level := kind.effects.get("pattern"):
        pattern = rng.normal(size=shape[1:])
        images = [image + np.float32(level * 300) * pattern for image in images]
    if level := kind.effects.get("grid"):
        y, x = (np.arange(n) for n in shape[1:])
        lines = np.sin(2 * np.pi * y / 9)[:, None] * np.sin(2 * np.pi * x / 13)
        images = [image + np.float32(level * 300) * lines for image in images]
    return [np.asarray(image, dtype=np.float32) for image in images]


def _landmarks(
    fixed: Volume, grid: Grid, true: _SeenMap, missing: Bools, rng: np.random.Generator, kind: Kind, offset: Floats
) -> tuple[Floats, Floats]:
    """Bright points of the fixed image whose true place the moving image shows, and this place."""
    none = np.zeros((0, 3))
    if kind.hopeless:
        return none, none
    index = np.argwhere(fixed > np.percentile(fixed, _BRIGHT))
    index = index[rng.permutation(len(index))[: 4 * _POINTS]]
    points = grid.to_physical(index)
    places, found = true.to_moving(points + offset)
    voxel = np.rint(grid.to_index(places)).astype(int)
    inside = found & ((voxel >= 1) & (voxel < np.array(grid.shape) - 1)).all(axis=1)
    inside[inside] = ~missing[tuple(voxel[inside].T)]
    return points[inside][:_POINTS], places[inside][:_POINTS]
