"""Compiled loops of the phantom: B-splines, lattice noise, drawing cells and vessels, exposing a tile.

Points are (z, y, x) in µm. A tile is a box of voxels; its scene coordinates are float32 (z, y, x, 3), good to
1e-4 µm two millimetres from the origin. Cells are joined by maximum and vessels by minimum distance, and noise is a
hash of the voxel's or lattice node's index, so that no result depends on how a volume is cut into tiles.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled

CELL_EDGE = 1.15
"""The end of the soft edge of a cell, in radii of the cell."""
ROUGHNESS = 0.2
"""The depth of the dents in the outline of a cell, in radii of the cell."""


@compiled
def _mix(h: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@compiled
def _slope(seed: np.uint64, i: int, j: int, k: int, z: float, y: float, x: float) -> float:
    """Return the inner product of (z, y, x) with the random gradient, in [−1, 1]³, of lattice node (i, j, k)."""
    h = seed ^ (np.uint64(i) * np.uint64(0x9E3779B97F4A7C15))
    h ^= np.uint64(j) * np.uint64(0xC2B2AE3D27D4EB4F)
    h = _mix(h ^ (np.uint64(k) * np.uint64(0x165667B19E3779F9)))
    low = np.uint64(0x1FFFFF)
    gz = np.float64(np.int64(h & low)) - 1048575.5
    gy = np.float64(np.int64((h >> np.uint64(21)) & low)) - 1048575.5
    gx = np.float64(np.int64((h >> np.uint64(42)) & low)) - 1048575.5
    return (gz * z + gy * y + gx * x) / 1048575.5


@compiled
def lattice_noise(z: float, y: float, x: float, seed: np.uint64) -> float:
    """Return gradient noise on the integer lattice, smooth to the second derivative, about ±1 (Perlin 2002)."""
    i, j, k = math.floor(z), math.floor(y), math.floor(x)
    z, y, x = z - i, y - j, x - k
    wz = z * z * z * (z * (z * 6 - 15) + 10)
    wy = y * y * y * (y * (y * 6 - 15) + 10)
    wx = x * x * x * (x * (x * 6 - 15) + 10)
    n000, n001 = _slope(seed, i, j, k, z, y, x), _slope(seed, i, j, k + 1, z, y, x - 1)
    n010, n011 = _slope(seed, i, j + 1, k, z, y - 1, x), _slope(seed, i, j + 1, k + 1, z, y - 1, x - 1)
    n100, n101 = _slope(seed, i + 1, j, k, z - 1, y, x), _slope(seed, i + 1, j, k + 1, z - 1, y, x - 1)
    n110, n111 = (
        _slope(seed, i + 1, j + 1, k, z - 1, y - 1, x),
        _slope(seed, i + 1, j + 1, k + 1, z - 1, y - 1, x - 1),
    )
    low = (n000 + wx * (n001 - n000)) * (1 - wy) + (n010 + wx * (n011 - n010)) * wy
    high = (n100 + wx * (n101 - n100)) * (1 - wy) + (n110 + wx * (n111 - n110)) * wy
    return 1.6 * (low + wz * (high - low))


@compiled
def noise_at(points: NDArray[np.float64], size: float, seed: np.uint64) -> NDArray[np.float64]:
    """Return lattice noise with nodes `size` µm apart at points (n, 3): (n,)."""
    out = np.empty(len(points))
    for n in range(len(points)):
        out[n] = lattice_noise(points[n, 0] / size, points[n, 1] / size, points[n, 2] / size, seed)
    return out


@compiled
def tissue_at(z: float, y: float, x: float, surface: NDArray[np.float64], seed: np.uint64) -> float:
    """Return the share of tissue at a point, 0 to 1: one side of the wavy plane `surface` (nz, ny, nx, offset)."""
    depth = surface[0] * z + surface[1] * y + surface[2] * x - surface[3]
    if depth > 40.0:
        return 1.0
    if depth < -40.0:
        return 0.0
    depth += 18.0 * lattice_noise(z / 70.0, y / 70.0, x / 70.0, seed)
    t: float = min(1.0, max(0.0, 0.5 + depth / 8.0))
    return t * t * (3 - 2 * t)


@compiled
def tissue_at_points(
    points: NDArray[np.float64], surface: NDArray[np.float64], seed: np.uint64
) -> NDArray[np.float64]:
    """Return `tissue_at` for points (n, 3): (n,)."""
    out = np.empty(len(points))
    for n in range(len(points)):
        out[n] = tissue_at(points[n, 0], points[n, 1], points[n, 2], surface, seed)
    return out


@compiled
def _weights(t: float) -> tuple[float, float, float, float]:
    """Return the four cubic B-spline weights at fraction t between two knots."""
    s = 1 - t
    return s * s * s / 6, 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2, t * t * t / 6


@compiled
def _bend(z: float, y: float, x: float, knots: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the cubic B-spline deformation at (z, y, x) counted in knots; beyond them, the nearest value."""
    i = min(max(math.floor(z), 1), knots.shape[0] - 3)
    j = min(max(math.floor(y), 1), knots.shape[1] - 3)
    k = min(max(math.floor(x), 1), knots.shape[2] - 3)
    wz = _weights(min(max(z - i, 0.0), 1.0))
    wy = _weights(min(max(y - j, 0.0), 1.0))
    wx = _weights(min(max(x - k, 0.0), 1.0))
    bz = by = bx = 0.0
    for a in range(4):
        for b in range(4):
            w = wz[a] * wy[b]
            for c in range(4):
                v = w * wx[c]
                bz += v * knots[i + a - 1, j + b - 1, k + c - 1, 0]
                by += v * knots[i + a - 1, j + b - 1, k + c - 1, 1]
                bx += v * knots[i + a - 1, j + b - 1, k + c - 1, 2]
    return bz, by, bx


@compiled
def bend_points(
    points: NDArray[np.float64], origin: NDArray[np.float64], spacing: float, knots: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the B-spline deformation (n, 3) in µm at points (n, 3); `knots` (z, y, x, 3) lie `spacing` µm apart."""
    out = np.empty_like(points)
    for n in range(len(points)):
        z, y, x = points[n, 0] - origin[0], points[n, 1] - origin[1], points[n, 2] - origin[2]
        out[n, 0], out[n, 1], out[n, 2] = _bend(z / spacing, y / spacing, x / spacing, knots)
    return out


@compiled
def scene_coordinates(
    shape: tuple[int, int, int],
    matrix: NDArray[np.float64],
    origin: NDArray[np.float64],
    spacing: float,
    knots: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return a tile's scene coordinates, float32 (z, y, x, 3): p + b(p), with p = `matrix` (3, 4) · (index, 1)."""
    out = np.empty((shape[0], shape[1], shape[2], 3), dtype=np.float32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                z = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                x = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                bz, by, bx = _bend(
                    (z - origin[0]) / spacing, (y - origin[1]) / spacing, (x - origin[2]) / spacing, knots
                )
                out[i, j, k, 0], out[i, j, k, 1], out[i, j, k, 2] = z + bz, y + by, x + bx
    return out


@compiled
def _cell_profile(q: float, hollow: float) -> float:
    """Return the brightness of a cell at q radii from its middle: soft edge, nucleus paler by `hollow`, nucleolus."""
    t = min(1.0, (CELL_EDGE - q) / 0.3)
    edge = t * t * (3 - 2 * t)
    nucleus = min(1.0, max(0.0, (0.72 - q) / 0.2))
    nucleolus = min(1.0, max(0.0, (0.27 - q) / 0.12))
    return edge * (1 - hollow * nucleus * (1 - 1.3 * nucleolus))


@compiled
def draw_cells(
    scene: NDArray[np.float32],
    boxes: NDArray[np.int64],
    numbers: NDArray[np.int64],
    centres: NDArray[np.float64],
    frames: NDArray[np.float32],
    brightness: NDArray[np.float64],
    hollow: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the cells of a tile, (z, y, x): each in its box of voxels; where two meet, the brighter.

    `boxes` (n, 2, 3) are starts and stops within the tile, `centres` (n, 3) lie in the scene, `frames` (n, 3, 3) turn
    an offset from the centre into radii. Lattice noise seeded by a cell's number (`numbers`) dents its outline.
    """
    out = np.zeros(scene.shape[:3], dtype=np.float32)
    for n in range(len(boxes)):
        m = frames[n]
        for i in range(boxes[n, 0, 0], boxes[n, 1, 0]):
            for j in range(boxes[n, 0, 1], boxes[n, 1, 1]):
                for k in range(boxes[n, 0, 2], boxes[n, 1, 2]):
                    z = scene[i, j, k, 0] - centres[n, 0]
                    y = scene[i, j, k, 1] - centres[n, 1]
                    x = scene[i, j, k, 2] - centres[n, 2]
                    a = m[0, 0] * z + m[0, 1] * y + m[0, 2] * x
                    b = m[1, 0] * z + m[1, 1] * y + m[1, 2] * x
                    c = m[2, 0] * z + m[2, 1] * y + m[2, 2] * x
                    q = a * a + b * b + c * c
                    if q < CELL_EDGE * CELL_EDGE:
                        dent = ROUGHNESS * (1 + lattice_noise(1.3 * a, 1.3 * b, 1.3 * c, np.uint64(numbers[n])))
                        q = min(CELL_EDGE, math.sqrt(q) * (1 + max(0.0, dent)))
                        out[i, j, k] = max(out[i, j, k], brightness[n] * _cell_profile(q, hollow[n]))
    return out


@compiled
def draw_vessels(
    scene: NDArray[np.float32],
    boxes: NDArray[np.int64],
    ends: NDArray[np.float64],
    radii: NDArray[np.float64],
    far: float,
) -> NDArray[np.float32]:
    """Return the distance of a tile's voxels (z, y, x) to the nearest vessel wall, µm: below 0 inside, at most `far`.

    Segments have two `ends` (n, 2, 3) and a radius at each, `radii` (n, 2).
    """
    out = np.full(scene.shape[:3], far, dtype=np.float32)
    for n in range(len(boxes)):
        dz, dy, dx = ends[n, 1] - ends[n, 0]
        length = dz * dz + dy * dy + dx * dx
        for i in range(boxes[n, 0, 0], boxes[n, 1, 0]):
            for j in range(boxes[n, 0, 1], boxes[n, 1, 1]):
                for k in range(boxes[n, 0, 2], boxes[n, 1, 2]):
                    z = scene[i, j, k, 0] - ends[n, 0, 0]
                    y = scene[i, j, k, 1] - ends[n, 0, 1]
                    x = scene[i, j, k, 2] - ends[n, 0, 2]
                    t = min(1.0, max(0.0, (z * dz + y * dy + x * dx) / length))
                    z, y, x = z - t * dz, y - t * dy, x - t * dx
                    wall = math.sqrt(z * z + y * y + x * x) - (radii[n, 0] + t * (radii[n, 1] - radii[n, 0]))
                    out[i, j, k] = min(out[i, j, k], wall)
    return out


@compiled
def _signal(
    z: float, y: float, x: float, cell: float, wall: float, surface: NDArray[np.float64], seed: np.uint64
) -> float:
    """Return the scene's brightness in counts: background, neuropil, textured cells, vessels with bright walls."""
    tissue = tissue_at(z, y, x, surface, seed)
    if tissue == 0.0:
        return 8.0
    broad = lattice_noise(z / 45.0, y / 45.0, x / 45.0, seed + np.uint64(1))
    cloud = lattice_noise(z / 8.0, y / 8.0, x / 8.0, seed + np.uint64(2))
    grain = lattice_noise(z / 2.6, y / 2.6, x / 2.6, seed + np.uint64(3))
    sheet = lattice_noise(z / 14.0, y / 14.0, x / 14.0, seed + np.uint64(4))
    fibre = math.exp(-90.0 * (cloud * cloud + sheet * sheet))
    neuropil = 70.0 + 30.0 * broad + 30.0 * cloud + 28.0 * grain + 190.0 * fibre * (1 + sheet + 0.6 * broad)
    inside = 1.0 / (1.0 + math.exp(min(wall, 20.0) / 0.45))
    body = max(0.0, neuropil) + cell * (1.0 + 0.5 * grain + 0.35 * cloud)
    lining = (wall - 0.6) / 0.9
    return 8.0 + tissue * (body * (1 - 0.93 * inside) + 170.0 * (1 + 0.5 * cloud) * math.exp(-lining * lining))


@compiled
def expose(
    scene: NDArray[np.float32],
    cells: NDArray[np.float32],
    walls: NDArray[np.float32],
    surface: NDArray[np.float64],
    scene_seed: np.uint64,
    light: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    fog: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    noise: tuple[float, float, float],
    first: int,
    strides: tuple[int, int],
    seed: np.uint64,
) -> NDArray[np.uint16]:
    """Return a tile as the camera records it, uint16 (z, y, x).

    `light` and `fog` (counts that belong to this round alone) are products of one factor an axis. `noise` is (offset,
    read noise, counts a photon). Voxel (i, j, k) draws normal number `first` + (i, j) · `strides` + k of `seed`.
    """
    offset, read_noise, counts_per_photon = noise
    shape: tuple[int, int, int] = cells.shape
    out = np.empty(shape, dtype=np.uint16)
    for i in range(shape[0]):
        for j in range(shape[1]):
            index = first + i * strides[0] + j * strides[1]
            for k in range(shape[2]):
                z, y, x = np.float64(scene[i, j, k, 0]), np.float64(scene[i, j, k, 1]), np.float64(scene[i, j, k, 2])
                signal = _signal(z, y, x, cells[i, j, k], walls[i, j, k], surface, scene_seed)
                signal = (signal + fog[0][i] * fog[1][j] * fog[2][k]) * light[0][i] * light[1][j] * light[2][k]
                deviation = math.sqrt(signal * counts_per_photon + read_noise * read_noise)
                value = offset + signal + deviation * _normal(np.uint64(index + k), seed)
                out[i, j, k] = np.uint16(min(65535.0, max(0.0, math.floor(value + 0.5))))
    return out


@compiled
def _normal(index: np.uint64, seed: np.uint64) -> float:
    """Return the standard normal number of this index (Box and Muller 1958)."""
    h = _mix(_mix(index + seed * np.uint64(0x9E3779B97F4A7C15)) ^ seed)
    first = (np.float64(np.int64(h >> np.uint64(32))) + 0.5) / 4294967296.0
    second = np.float64(np.int64(h & np.uint64(0xFFFFFFFF))) / 4294967296.0
    return math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
