"""Images as users give them: arrays with a voxel size, DataArrays with coordinates, URIs and Sides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teralign.alignment import ImageSource, Side, open_source
from teralign.alignment.masks import FoundMask, Mask, open_mask
from teralign.api.arrays import NumpyOrDask, check_voxels, is_dask, is_data_array, volume_of
from teralign.api.coordinates import DIMENSIONS, direction_of, grid_of, spacing_of
from teralign.api.elements import finest_scale
from teralign.api.frames import Frame
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid
from teralign.volumes import Volume

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

ArrayLike: TypeAlias = "NDArray[np.generic] | da.Array | xr.DataArray"
"""An image in memory, or a lazy one."""
ImageLike: TypeAlias = "ArrayLike | str | Path | Side"
"""An image: an array, a DataArray, or the path or URI of a volume."""
MaskLike: TypeAlias = "ArrayLike | str | Path"
"""The voxels that count: an array, a DataArray, the path or URI of a volume, or "auto"."""


@dataclass(frozen=True)
class GivenImage:
    """One of the two images as it was given; `role` is "fixed" or "moving". `spacing` is (z, y, x) in µm."""

    role: str
    image: ImageLike
    spacing: FloatTriple | None = None
    mask: MaskLike | None = None

    @classmethod
    def of(
        cls, role: str, image: ImageLike, spacing: float | Sequence[float] | None, mask: MaskLike | None
    ) -> GivenImage:
        """Check the kinds of all values. Raises InputError for what is no image, no voxel size or no mask."""
        image, mask = finest_scale(image), finest_scale(mask)
        if not is_image(image):
            raise InputError(
                f"the {role} image must be an array, a DataArray, or the path or URI of a volume, not a "
                f"{type(image).__name__}."
            )
        if mask is not None and not is_image(mask):
            raise InputError(
                f"{role}_mask must be an array, a DataArray, the path or URI of a volume, or 'auto', not a "
                f"{type(mask).__name__}."
            )
        return cls(role, image, None if spacing is None else spacing_of(role, spacing), mask)

    @property
    def is_stored(self) -> bool:
        """Return whether the image is a volume on disk or at an address, named by its URI."""
        return isinstance(self.image, str | os.PathLike | Side)

    @property
    def side(self) -> Side:
        """The stored image as the commands take it. Raises InputError for a mask that is no volume."""
        assert isinstance(self.image, str | Path | Side)
        side = Side.of(self.image)
        if self.mask is not None and not isinstance(self.mask, str | os.PathLike):
            raise InputError(
                f"{self.role}_mask must be a path, a URI or 'auto', since {side.uri} is not in memory; or open both "
                "with teralign.open."
            )
        mask = side.mask if self.mask is None else str(self.mask)
        return Side(
            side.uri,
            self.spacing or side.spacing,
            side.channel,
            side.timepoint,
            mask,
            side.mask_labels,
            side.roi,
            side.expansion,
        )

    def source(self) -> ImageSource:
        """Return the image as the source of its voxels. Raises InputError for what cannot be aligned."""
        if self.is_stored:
            return open_source(self.role, self.side)
        volume = array_volume(self.role, self.image, self.spacing)  # type: ignore[arg-type]
        return ImageSource(self.role, volume, 0, mask=self._mask(volume))

    def _mask(self, volume: Volume) -> Mask | None:
        if self.mask is None:
            return None
        if isinstance(self.mask, str | os.PathLike):
            return open_mask(self.role, str(self.mask), None, volume, channel=0, timepoint=0)
        return _array_mask(self.role, self.mask, volume)


def is_image(value: object) -> bool:
    """Return whether a value is of a kind that can be an image."""
    return isinstance(value, np.ndarray | str | os.PathLike | Side) or is_dask(value) or is_data_array(value)


def array_volume(role: str, image: ArrayLike, spacing: FloatTriple | None) -> Volume:
    """Return an array or DataArray as a volume. Raises InputError where its voxel size is unknown."""
    if is_data_array(image):
        plain = plain_volume(role, image)
        return volume_of(f"the {role} DataArray", plain.data, grid_of(role, plain, spacing), direction_of(plain))
    assert isinstance(image, np.ndarray) or is_dask(image)
    check_voxels(role, image)
    if spacing is None:
        raise InputError(
            f"give the voxel size of the {role} array, spacing=(z, y, x) in µm: an array has none, and it is never "
            "guessed."
        )
    z, y, x = image.shape
    return volume_of(f"the {role} array", image, Grid((z, y, x), spacing))


def plain_volume(role: str, array: xr.DataArray) -> xr.DataArray:
    """Return a DataArray as (z, y, x). Raises InputError where another dimension has several entries."""
    missing = [name for name in DIMENSIONS if name not in array.dims]
    if missing:
        raise InputError(
            f"the {role} DataArray has the dimensions {', '.join(map(str, array.dims))}; it needs z, y and x."
        )
    for name in set(array.dims) - set(DIMENSIONS):
        if array.sizes[name] != 1:
            raise InputError(
                f"the {role} DataArray has {array.sizes[name]} entries along {name}: choose one, "
                f"image.isel({name}=0)."
            )
    plain = array.squeeze([name for name in array.dims if name not in DIMENSIONS], drop=True).transpose(*DIMENSIONS)
    check_voxels(role, plain.data)
    return plain


def _array_mask(role: str, mask: ArrayLike, volume: Volume) -> Mask:
    """Return an array as the mask of a volume of its shape, or a DataArray where its coordinates put it."""
    grid, values = volume.grid, mask
    if is_data_array(mask):
        plain = plain_volume(f"{role}_mask", mask)
        placed = all(name in plain.coords for name in DIMENSIONS)
        grid, values = (grid_of(f"{role}_mask", plain) if placed else grid), plain.data
    array: NumpyOrDask = values  # type: ignore[assignment]
    if array.shape != grid.shape:
        raise InputError(
            f"{role}_mask has shape {tuple(array.shape)}, and the {role} image {grid.shape}; a mask of another "
            "sampling must be a DataArray with coordinates."
        )
    counts = np.asarray(array) > 0
    if not counts.any():
        raise InputError(f"{role}_mask has no voxel above 0, so all of the {role} image is masked out.")
    return FoundMask.of(counts, grid)


def frame_of(image: ImageLike | Grid, fixed: Frame) -> Frame:
    """Return the place of an image that a user names for its grid; a Grid lies along the axes of `fixed`.

    Raises InputError for an array, which has no voxel size, and for axes of another direction than the fixed ones.
    """
    if isinstance(image, Grid):
        return Frame(image, fixed.direction)
    if isinstance(image, str | Path | Side):
        side = Side.of(image)
        volume = side.open("fixed")
        return Frame(volume.grid, volume.direction, side)
    if is_data_array(image):
        return Frame(grid_of("given", image), direction_of(image))
    raise InputError(
        "like must be a DataArray, the path or URI of a volume, or a Grid, since it has to give positions."
    )


def frame_of_source(source: ImageSource) -> Frame:
    """Return the place of an image that is aligned; its voxels are found in the source again."""
    return Frame(source.grid, source.direction)
