"""The uneven light and the dark level of a microscope's planes, and how to take them out."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.correction.kernels import flatten
from teralign.errors import InputError
from teralign.files import write_arrays, writing
from teralign.grids import Region

_LAYOUT = 1  # of the file; rises when the meaning of an array changes
_NAMES = ("layout", "gain", "dark", "z", "channels")


@dataclass(frozen=True, eq=False)
class FlatField:
    """The gain and dark level of planes: corrected = (raw − dark) / gain.

    gain: (channels, sections, y, x) float32, of mean 1; dark: (channels, y, x) float32, in counts; z: (sections,)
    the slices of a tile at which the sections lie, between which the gain is interpolated; `channels` their names.
    """

    gain: NDArray[np.float32]
    dark: NDArray[np.float32]
    z: NDArray[np.float64]
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError where the shapes do not fit or the gain is not positive."""
        channels, sections, *plane = self.gain.shape
        wanted = {"dark": (channels, *plane), "z": (sections,)}
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} is of shape {getattr(self, name).shape}, not {shape}")
        if len(self.channels) != channels or not (self.gain > 0).all() or not np.isfinite(self.dark).all():
            raise ValueError("a gain is not positive, a dark level not a number, or a channel lacks its name")

    @property
    def plane(self) -> tuple[int, int]:
        """The shape (y, x) of a plane."""
        return self.gain.shape[2], self.gain.shape[3]

    def correct(self, voxels: NDArray[np.generic], channel: int, region: Region) -> NDArray[np.float32]:
        """Return the voxels (z, y, x) of a region of a tile in even light, as float32, neither rounded nor cut.

        `region` is in voxels of the tile, whose planes the flat field describes.
        """
        _, rows, columns = region.slices
        dark = np.ascontiguousarray(self.dark[channel, rows, columns])
        made = np.empty(voxels.shape, np.float32)
        if len(self.z) == 1:
            flatten(voxels, dark, _inverse(self.gain[channel, 0, rows, columns]), made)
            return made
        for n, slice_ in enumerate(range(region.start[0], region.stop[0])):
            gain = self._gain_at(slice_, channel)[rows, columns]
            flatten(voxels[n : n + 1], dark, _inverse(gain), made[n : n + 1])
        return made

    def digest(self) -> str:
        """Return a digest of all values."""
        parts = (self.gain, self.dark, self.z)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()

    def _gain_at(self, slice_: int, channel: int) -> NDArray[np.float32]:
        """Return the gain (y, x) at a slice, that of the nearest section beyond the first and the last."""
        place = float(np.interp(slice_, self.z, np.arange(len(self.z))))
        below = min(int(place), len(self.z) - 2)
        share = np.float32(place - below)
        gain: NDArray[np.float32] = self.gain[channel, below] * (1 - share) + self.gain[channel, below + 1] * share
        return gain


def _inverse(gain: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.reciprocal(gain, dtype=np.float32)


def write_flatfield(path: Path, field: FlatField) -> None:
    """Write a flat field as an .npz of the arrays layout, gain, dark, z and channels, whole or not at all."""
    names = np.array(field.channels)
    values = (np.array(_LAYOUT), field.gain, field.dark, field.z, names)
    with writing(path) as file:
        write_arrays(file, dict(zip(_NAMES, values, strict=True)))


def read_flatfield(path: str | Path) -> FlatField:
    """Read a flat field. Raises InputError when the file is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            layout, gain, dark, z, channels = (arrays[name] for name in _NAMES)
        if int(layout) != _LAYOUT:
            raise ValueError(f"it has layout {layout}, and this version reads {_LAYOUT}")
        return FlatField(
            gain.astype(np.float32), dark.astype(np.float32), z.astype(float), tuple(str(name) for name in channels)
        )
    except FileNotFoundError as error:
        raise InputError(f"the flat field {path} does not exist; check the path.") from error
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path} is not a flat field of estimate-flatfield: {error}.") from error
