"""`fuse-tiles`: write the tiles of a scan as one volume with a pyramid."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import teralign
from teralign.cluster import Compute
from teralign.correction import FlatField, read_flatfield
from teralign.errors import InputError
from teralign.filling import DestinationOptions, Filled, Filling, choose_destination, fill, plan_fill
from teralign.grids import FloatTriple, Triple, as_float_triple
from teralign.plans import Plan
from teralign.results import to_json
from teralign.stitching.fusion import TileFusion, TileInterpolation, Weights, default_ramps, fused_grid
from teralign.stitching.refinement import read_refinement
from teralign.tiles import TileReader, TileSet, read_tiles
from teralign.volumes import Chunking


class FuseOptions(DestinationOptions, total=False):
    """Options of `fuse_tiles`.

    `flatfield` is a file of `estimate-flatfield`, which every tile is divided by, after its dark level is taken off.
    `weights` combine tiles: none, linear, cosine, distance or max; `ramps` (z, y, x) µm are the widths over which the
    first two fade, the median overlap by default. `refinement` is a folder of refine-tiles, by which bent tiles are
    sampled. `interpolation` is linear or cubic. `chunk_size` is (z, y, x) voxels, `levels` the maximum number of
    scales.
    """

    flatfield: str | Path | None
    refinement: str | Path | None
    weights: str
    ramps: FloatTriple | None
    interpolation: str
    chunk_size: Triple | None
    levels: int | None


def fuse_tiles(
    tiles: str | Path,
    output: str | Path | None = None,
    *,
    compute: Compute = Compute(),
    **options: Unpack[FuseOptions],
) -> Filled:
    """Write all channels of the present tiles of a `tiles.json` at their positions, as one volume.

    Values are rounded and saturate; where no tile is they are 0. The same call continues unfinished work, in
    `compute.work_dir`. Raises InputError for bad input, before any long work, and DataError for a tile that cannot be
    read.
    """
    return fill(_filling(Path(tiles), output, options), compute)


def plan_fuse_tiles(
    tiles: str | Path,
    output: str | Path | None = None,
    *,
    compute: Compute = Compute(),
    **options: Unpack[FuseOptions],
) -> Plan:
    """Return the plan of `fuse_tiles` with the same arguments; writes nothing."""
    return plan_fill(_filling(Path(tiles), output, options), compute.capacity())


def _filling(path: Path, output: str | Path | None, options: FuseOptions) -> Filling:
    """Return the volume to make, after all checks of the input."""
    tiles = read_tiles(path)
    if not tiles.present:
        raise InputError(f"no tile of {path} is present; import the tiles again.")
    reader = TileReader(tiles, path.parent.absolute())
    dtypes = {}
    for tile in tiles.present:
        reader.check(tile)
        dtypes.update({reader.volume(tile, channel).dtype: tile.name for channel in range(len(tiles.channels))})
    if len(dtypes) > 1:
        named = " and ".join(f"{dtype} ({name})" for dtype, name in dtypes.items())
        raise InputError(f"the tiles of {path} have different data types: {named}; convert them with convert-volume.")
    dtype = next(iter(dtypes))
    grid = fused_grid(tiles)
    ramps = options.get("ramps")
    widths = (
        default_ramps(tiles)
        if ramps is None
        else as_float_triple(width / size for width, size in zip(ramps, tiles.spacing, strict=True))
    )
    weights = Weights(options.get("weights", Weights.COSINE))
    interpolation = TileInterpolation(options.get("interpolation", TileInterpolation.CUBIC))
    light = _light(options.get("flatfield"), tiles)
    refinement = options.get("refinement")
    bends = None if refinement is None else read_refinement(Path(refinement), tiles)
    reading = TileReader(tiles, reader.folder)
    source = TileFusion(reading, grid, dtype, widths, weights, interpolation, light, bends)
    chunk_size, levels = options.get("chunk_size"), options.get("levels")
    volumes = {
        reader.volume(tile, c).uri: reader.volume(tile, c) for tile in tiles.present for c in range(len(tile.sources))
    }
    states = hashlib.blake2b("".join(volumes[uri].digest() for uri in sorted(volumes)).encode(), digest_size=16)
    key = {
        "task": "fuse-tiles",
        "version": teralign.__version__,
        "tiles": hashlib.blake2b(to_json(replace(tiles, solution=None)).encode(), digest_size=16).hexdigest(),
        "volumes": states.hexdigest(),
        "flatfield": light.digest() if light else None,
        "refinement": bends.digest() if bends else None,
        "weights": weights.value,
        "ramps": widths,
        "interpolation": interpolation.value,
        "chunk_size": chunk_size,
        "levels": levels,
    }
    destination = choose_destination(output, options, grid=grid)
    layout = destination.layout(
        grid=grid,
        dtype=dtype,
        channels=len(tiles.channels),
        channel_names=[channel.name for channel in tiles.channels],
        chunking=Chunking(chunk_size),
        levels=levels,
        ome_zarr=options.get("ome_zarr"),
    )
    return Filling(destination, source, layout, "fuse", key)


def _light(path: str | Path | None, tiles: TileSet) -> FlatField | None:
    """Return a flat field of the tiles. Raises InputError for one of other planes or channels."""
    if path is None:
        return None
    light = read_flatfield(path)
    planes = {tile.shape[1:] for tile in tiles.present}
    if planes != {light.plane} or len(light.channels) != len(tiles.channels):
        y, x = light.plane
        raise InputError(
            f"the flat field {path} has {len(light.channels)} channels of {x} x {y} pixels, other than the tiles; "
            "estimate it from these tiles."
        )
    return light
