"""`align`: two images in, a `Registration` out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from teralign.alignment import BlockOptions
from teralign.api.images import GivenImage, ImageLike, MaskLike
from teralign.api.in_memory import InMemory
from teralign.api.registration import Registration
from teralign.api.starts import TransformLike, stack_of
from teralign.api.steps import ChosenSteps, ConfigLike, StepLike
from teralign.api.stored import Stored
from teralign.cluster import Compute
from teralign.errors import InputError

if TYPE_CHECKING:
    from distributed import Client


_ELSEWHERE = {
    "start": "initial_transform",
    "static_transform_list": "initial_transform",
    "initial_condition": "initial_transform",
    "fix_spacing": "fixed_spacing",
    "mov_spacing": "moving_spacing",
    "voxel_size": "spacing",
    "resolution": "spacing",
    "fix_mask": "fixed_mask",
    "mov_mask": "moving_mask",
    "mask": "fixed_mask",
    "cluster": "client",
}
"""Names that people try first, or know from other tools, and the options that they mean."""


class AlignOptions(TypedDict, total=False):
    """The further options of `align`."""

    threads: int | None
    client: Client | str | None
    compute: Compute | None
    blocks: BlockOptions
    output: str | Path
    overwrite: bool


def align(
    fixed: ImageLike,
    moving: ImageLike,
    steps: Sequence[StepLike] | None = None,
    *,
    spacing: float | Sequence[float] | None = None,
    fixed_spacing: float | Sequence[float] | None = None,
    moving_spacing: float | Sequence[float] | None = None,
    config: ConfigLike | None = None,
    fixed_mask: MaskLike | None = None,
    moving_mask: MaskLike | None = None,
    initial_transform: TransformLike | None = None,
    seed: int = 0,
    **options: Unpack[AlignOptions],
) -> Registration:
    """Align the moving image to the fixed one, and say how far to trust the result.

    Args:
        fixed: The image that stays: an array (z, y, x) of numpy or dask, a DataArray with coordinates in µm, or the
            path or URI of a volume, or a `Side` with its channel and region of interest.
        moving: The image to align to it, of any size, sampling and kind.
        steps: The names of the steps in order, each alone or with its parameters, `("affine", {"metric": "MMI"})`.
            Those before the first `deform` align the whole images, the others block by block. The default is that
            of `config`, at first ransac, affine and deform.
        spacing: The voxel size (z, y, x) in µm of both images, or one number; arrays need it, since it is never
            guessed. Of volumes it replaces that of the metadata.
        fixed_spacing: That of the fixed image, where the images differ.
        moving_spacing: That of the moving image.
        config: The parameters of the steps, as a YAML file or a mapping of the same shape.
        fixed_mask: The voxels that count, above 0: an array of the image's shape, or a DataArray, path or URI of any
            sampling; "auto" finds the tissue.
        moving_mask: The same of the moving image.
        initial_transform: Where to start from, and what the result includes: a 4x4 matrix (z, y, x; µm), a field
            (z, y, x, 3) on the fixed voxels, a transform, a file, an earlier registration, or a list of them, the
            last applied first.
        seed: The seed of all random choices: the same call gives the same result.
        **options: `threads` to compute with, by default all cores. `client`, a `distributed.Client` or the address
            of a scheduler, whose workers align the blocks; or `compute`, a `Compute` with the workers to start on
            this machine. Without either, blocks of arrays are aligned in this process, those of volumes on workers
            of this machine. `blocks`, `BlockOptions`: the size of blocks and more. For volumes, `output` is the file
            of the map (a `.zarr`), which needs to be given where the field is large, and `overwrite` replaces it.

    Returns:
        The registration, with the map from fixed to moving points, the verdict, and `warp` to apply it.

    Raises:
        InputError: For wrong input, in a sentence, before any long work.
        AlignmentError: When too many blocks fail.
        ClusterError: When no scheduler answers, or its workers are lost.

    Examples:
        >>> found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0))
        >>> aligned = found.warp(moving)
        >>> ta.align("round1.zarr", "round2.zarr", steps=["ransac", "affine"]).fixed.grid.shape
        (32, 48, 48)
    """
    _check_names(options)
    given = (
        GivenImage.of("fixed", fixed, spacing if fixed_spacing is None else fixed_spacing, fixed_mask),
        GivenImage.of("moving", moving, spacing if moving_spacing is None else moving_spacing, moving_mask),
    )
    chosen = ChosenSteps.of(steps, config)
    blocks = options.get("blocks", BlockOptions()).completed(chosen.config.block_size, chosen.config.block_overlap)
    compute, threads = _compute(options), options.get("threads")
    if all(image.is_stored for image in given):
        sides = given[0].side, given[1].side
        place, overwrite = options.get("output"), options.get("overwrite", False)
        output = None if place is None else Path(place)
        own = compute or Compute()
        own = replace(own, threads=threads or own.threads)
        return Stored(sides, chosen, initial_transform, blocks, seed, own, output, overwrite).run()
    if "output" in options:
        raise InputError("output is for volumes named by their URIs; of arrays, found.save(path) writes the result.")
    sources = given[0].source(), given[1].source()
    start = stack_of(initial_transform, sources[0].grid)
    return InMemory(sources, chosen, start, blocks, seed, threads, compute).run()


def _compute(options: AlignOptions) -> Compute | None:
    """Return where blocks are aligned, None where it is left open."""
    client, compute = options.get("client"), options.get("compute")
    if client is None:
        return compute
    if compute is not None:
        raise InputError("give client or compute, not both: Compute(client=…) has room for both.")
    if isinstance(client, str):
        return Compute(scheduler=client)
    if not hasattr(client, "scheduler_info"):
        raise InputError(
            f"client must be a distributed.Client, or the address of a scheduler, not a {type(client).__name__}."
        )
    return Compute(client=client)


def _check_names(options: AlignOptions) -> None:
    """Raise InputError for an option that does not exist, with the one that it resembles."""
    known = {*AlignOptions.__annotations__, *align.__annotations__} - {"options", "return"}
    for name in options:
        if name not in known:
            meant = _ELSEWHERE.get(name) or next(iter(difflib.get_close_matches(name, known, n=1)), None)
            raise InputError(f"align has no option {name}{f'; did you mean {meant}?' if meant else '.'}")
