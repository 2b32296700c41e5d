"""`Registration`: a map from fixed to moving points, the images it was found between, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from teralign.alignment import ImageSource, Side, StageSummary
from teralign.api import warping
from teralign.api.frames import Frame
from teralign.api.images import ImageLike, frame_of
from teralign.api.reporting import Report, report_of
from teralign.api.saving import SavedRegistration, save_registration
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import Floats, Grid
from teralign.registration import StepReport
from teralign.transforms import Stack
from teralign.trust import Assessment, ErrorEstimate, Verdict

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from numpy.typing import NDArray

    from teralign.transforms.itk_files import SitkTransform

    A = TypeVar("A", NDArray[np.generic], da.Array, xr.DataArray)


@dataclass(frozen=True, eq=False, repr=False)
class Registration:
    """A registration: the map from fixed to moving points, the images, the steps, and the verdict.

    `transform` takes points (z, y, x) in µm of the fixed image to those of the moving one; it is a list of affines
    and displacement fields, the last applied first. `steps` reports the steps on the whole images, and `blocks` sums
    up those in blocks, None without any. `assessment` says how far to trust the map, None if it was not examined.

    Examples:
        >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0))
        >>> found.verdict in ("good", "doubtful", "bad", "unknown")
        True
        >>> aligned = found.warp(moving)
        >>> aligned.shape == fixed.shape
        True
    """

    transform: Stack
    fixed: Frame
    moving: Frame
    steps: tuple[StepReport, ...] = ()
    blocks: StageSummary | None = None
    assessment: Assessment | None = None
    sources: tuple[ImageSource, ImageSource] | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict: good, doubtful, bad or unknown. It compares equal to these words.

        Examples:
            >>> ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0)).verdict == "nonsense"
            False
        """
        return Verdict.UNKNOWN if self.assessment is None else self.assessment.verdict

    @property
    def error(self) -> ErrorEstimate | None:
        """The estimated remaining error in µm: its `median` and `p95` over blocks; None where it cannot be told."""
        return None if self.assessment is None else self.assessment.error_um

    @overload
    def warp(self, image: A, *, order: int = 1, like: ImageLike | Grid | None = None) -> A: ...
    @overload
    def warp(
        self, image: str | Path | Side, *, order: int = 1, like: ImageLike | Grid | None = None
    ) -> xr.DataArray: ...
    def warp(self, image: object, *, order: int = 1, like: ImageLike | Grid | None = None) -> object:
        """Return an image of the moving side on the grid of the fixed image, in its own type.

        `image` is an array (z, y, x), or (c, z, y, x) with channels first, on the voxels of the moving image; an
        array of another sampling of the same field of view is taken to have the same faces. A DataArray lies where
        its coordinates say, and a volume, named by its path or URI, where its metadata say. `order` is 1 (linear),
        3 (cubic) or 0 (nearest: for labels, which keep their ids). `like` has another grid to sample on, such as a
        finer scale of the fixed image: a DataArray, a path or URI, or a Grid.

        The result is of the kind that was given: an array of numpy, an array of dask (computed block by block when
        it is asked for), or a DataArray with the coordinates of the fixed image. A path or URI gives a lazy
        DataArray. Beyond the moving image the result is 0. Integers are rounded and saturated.

        Raises InputError for what is no image, and for another order.

        Examples:
            >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=["ransac"])
            >>> labels = (moving > 500).astype("uint8")
            >>> np.unique(found.warp(labels, order=0)).tolist()
            [0, 1]
        """
        fixed = self.fixed if like is None else frame_of(like, self.fixed)
        return warping.warp_image(image, self.transform, fixed, self.moving, order=order)

    def map_points(self, points: ArrayLike, *, inverse: bool = False) -> Floats:
        """Return the images (n, 3) of points (n, 3), z, y, x in µm; of one point (3,) as (3,).

        Points of the fixed image become points of the moving one, or with `inverse` points of the moving image those
        of the fixed one: NaN where the map has no inverse.

        Raises InputError for points of another shape.

        Examples:
            >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=["ransac", "affine"])
            >>> there = found.map_points([[40.0, 30.0, 30.0], [50.0, 20.0, 25.0]])
            >>> found.map_points(there, inverse=True).round(3).tolist()
            [[40.0, 30.0, 30.0], [50.0, 20.0, 25.0]]
        """
        try:
            given = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"points must be numbers (n, 3), z, y, x in µm: {error}.") from error
        if given.ndim not in (1, 2) or given.shape[-1] != 3:
            raise InputError(f"points must have the shape (n, 3), z, y, x in µm, not {given.shape}.")
        listed = given.reshape(-1, 3)
        if inverse:
            mapped, found = self.transform.inverse_map_points(listed, threads=worker_threads())
            mapped[~found] = np.nan
        else:
            mapped = self.transform.map_points(listed, threads=worker_threads())
        return mapped.reshape(given.shape)

    def to_itk(self) -> SitkTransform:
        """Return the map as a transform of SimpleITK: of points (x, y, z) in µm, from fixed to moving.

        Images for it have their spacing and origin in µm, as `sitk.Image.SetSpacing` takes them, (x, y, z). Outside
        its grid a field of ITK moves nothing, where that of Teralign continues.

        Examples:
            >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=["ransac", "affine"])
            >>> z, y, x = found.map_points([40.0, 30.0, 20.0])
            >>> np.allclose(found.to_itk().TransformPoint((20.0, 30.0, 40.0)), (x, y, z))
            True
        """
        from teralign.transforms import itk, itk_files

        frame = itk.frame_of_unit(1.0)
        return itk_files.composite(itk.to_itk(self.transform, frame, frame))

    def report(self) -> Report:
        """Return the report of `report-alignment`: a page with pictures, maps and numbers, which a notebook shows.

        `save` of the report writes it into a folder. Raises InputError for a registration that was loaded from a
        file, and whose images were in memory.

        Examples:
            >>> report = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=["ransac"]).report()
            >>> report.save("report").name
            'index.html'
        """
        return report_of(self.transform, (self.fixed, self.moving), self.sources)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the map to `path`, and beside it NAME.registration.json with the verdict; return the path.

        A `.zarr` holds any map, a `.mat` an affine alone; the commands take both. `load` gives the registration back.

        Raises InputError for another ending, for a path that exists unless `overwrite` is set, and for a field that
        is to become a `.mat`.

        Examples:
            >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=["ransac", "affine"])
            >>> found.save("round2.mat").name
            'round2.mat'
            >>> ta.load("round2.mat").verdict == found.verdict
            True
        """
        place = Path(path)
        rest = SavedRegistration(
            place.name, self.fixed, self.moving, self.steps, self.blocks, self.verdict.value, self.assessment
        )
        save_registration(place, self.transform, rest, overwrite=overwrite)
        return place

    def __repr__(self) -> str:
        steps = ", ".join(f"{step.name} {step.state}" for step in self.steps)
        if self.blocks is not None:
            states = ", ".join(f"{count} {state}" for state, count in self.blocks.states.items() if count)
            steps = f"{steps}{', ' if steps else ''}blocks: {states}"
        error = "" if self.error is None else f", error {self.error.median:.2g} µm"
        shape = "x".join(map(str, self.fixed.grid.shape))
        return f"Registration({self.verdict.value}{error}; {steps or 'no steps'}; fixed {shape})"

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the images, which may be large."""
        return {**self.__dict__, "sources": None}
