"""`refinement.json` and the fields beside it: how bent tiles are sampled where they overlap.

A pair's field u, at nodes in the frame of its fixed tile, says that the fixed tile at p shows what the moving one
shows at C (p + u(p)), with C from the frame of one to that of the other. Where several tiles lie over a place x,
each is sampled beside its own place p_t(x), by

    d_t(x) = Σ_s β_s(x) u_st,    u_st the displacement from tile s to tile t, at p_t + d_t,

with shares β_s of all tiles over x that add up to 1 and fall to 0 at the faces of a tile. So all tiles show the same
at x, a tile is sampled as it is where no other one lies over it, and displacements are as smooth as the shares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from teralign.errors import DataError, InputError
from teralign.grids import Floats, FloatTriple, Grid, Region, Triple, as_float_triple
from teralign.results import to_json, write_json
from teralign.stitching.refine_pairs import strides_for
from teralign.stitching.straighten import ReadRegion, StoredWobble
from teralign.tiles import Tile, TileSet
from teralign.tiles.documents import read_document
from teralign.transforms import DisplacementField

REFINEMENT_FORMAT: Final = 1
"""The format of the key `pairs`; it rises when a key changes its meaning or goes."""

DOCUMENT, FIELDS, WOBBLE = "refinement.json", "fields", "wobble.npy"
"""The names of the document, of the folder of fields, and of the file with the shifts of slices."""

_ROUNDS = 3  # of the fixed point: what is left is the cube of the displacement's slope, below a hundredth


@dataclass(frozen=True)
class RefinedPair:
    """Two tiles whose overlap was compared, and the `field` by which the moving one fits, "" where none is used.

    `correlation_before` and `correlation` are the mean local correlation, null where nothing could be compared.
    `median_voxels` and `largest_voxels` are lengths of the displacements. The field's nodes are every `strides`
    (z, y, x) voxels of the fixed tile from its voxel `start`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    fixed: str
    moving: str
    reason: str
    correlation_before: float | None
    correlation: float | None
    median_voxels: float
    largest_voxels: float
    field: str
    start: Triple
    strides: Triple


@dataclass(frozen=True)
class TileWobble:
    """A tile whose slices are shifted: its slices begin at `start` in the file of all, and `rms_voxels` is (y, x)."""

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    tile: str
    start: int
    rms_voxels: tuple[float, float]
    largest_voxels: float


@dataclass(frozen=True)
class Refinement:
    """The pairs that were compared in `channel`, and the digest of the `places` of the tiles that this holds for.

    `wobble` are the tiles whose slices are put back before.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    channel: int
    places: str
    pairs: tuple[RefinedPair, ...]
    wobble: tuple[TileWobble, ...] = ()
    kind: Literal["refinement"] = "refinement"
    refinement_format: Literal[1] = REFINEMENT_FORMAT


def places_digest(tiles: TileSet) -> str:
    """Return a fingerprint of where all tiles lie; gains and the like are left out."""
    places = [(tile.name, tile.position, tile.shape, tile.matrix, tile.state) for tile in tiles.tiles]
    return hashlib.blake2b(to_json([tiles.spacing, places]).encode(), digest_size=16).hexdigest()


def write_refinement(folder: Path, refinement: Refinement) -> None:
    """Write the document into the folder that has the fields."""
    write_json(folder / DOCUMENT, refinement)


def read_refinement(folder: Path, tiles: TileSet) -> TileBends:
    """Return the displacements of tiles. Raises InputError where the folder has none, or those of other places."""
    found = read_document(folder / DOCUMENT, Refinement, "refinement")
    if found.places != places_digest(tiles):
        raise InputError(f"{folder} is of tiles at other places; run refine-tiles on these again.")
    used = {(pair.fixed, pair.moving): pair for pair in found.pairs if pair.field}
    return TileBends(folder.absolute(), tiles.spacing, used, stored_wobble(folder.absolute(), found.wobble))


def stored_wobble(folder: Path, wobble: Sequence[TileWobble]) -> StoredWobble | None:
    """Return the shifts of slices of tiles in a folder, None without any."""
    largest = max((tile.largest_voxels for tile in wobble), default=0.0)
    return StoredWobble(folder / WOBBLE, {tile.tile: tile.start for tile in wobble}, largest) if wobble else None


@dataclass(frozen=True)
class TileBends:
    """The displacements of tiles by the fields in `folder`, of pairs by the names of their tiles. Picklable."""

    folder: Path
    spacing: FloatTriple
    pairs: Mapping[tuple[str, str], RefinedPair]
    wobble: StoredWobble | None = None

    @property
    def strides(self) -> Triple:
        """The voxels (z, y, x) between nodes at which displacements are to be sampled."""
        return strides_for(self.spacing)

    @property
    def largest(self) -> float:
        """The length of the largest displacement, in voxels."""
        bent = max((pair.largest_voxels for pair in self.pairs.values()), default=0.0)
        return max(bent, self.wobble.largest if self.wobble else 0.0)

    def wobbles(self, tile: Tile) -> bool:
        """Return whether slices of a tile are put back as they are read."""
        return self.wobble is not None and tile.name in self.wobble.starts

    def read(self, tile: Tile, region: Region, read: ReadRegion) -> NDArray[np.generic]:
        """Return a region of a tile, of which `read` returns regions, with its slices put back."""
        return read(region) if self.wobble is None else self.wobble.read(tile, region, read)

    def digest(self) -> str:
        """Return a fingerprint of all displacements. Raises DataError for a field that cannot be read."""
        digest = hashlib.blake2b(to_json(list(self.pairs.values())).encode(), digest_size=16)
        for pair in self.pairs.values():
            digest.update(self._load(pair).data)
        if self.wobble is not None:
            digest.update(self.wobble.path.read_bytes())
        return digest.hexdigest()

    def edges(self, tiles: Sequence[Tile]) -> list[tuple[int, int]]:
        """Return the pairs with a field among tiles, by their places in the sequence."""
        place = {tile.name: k for k, tile in enumerate(tiles)}
        pairs = ((a, b) for a in place for b in place if (a, b) in self.pairs)
        return [(place[a], place[b]) for a, b in pairs]

    def at(self, tiles: Sequence[Tile], points: Floats) -> dict[str, Floats]:
        """Return the displacements (n, 3) µm, each in its own frame, of the tiles that are bent at points (n, 3) µm.

        `tiles` are all that lie over any of the points. Raises DataError for a field that cannot be read.
        """
        edges = self.edges(tiles)
        if not edges:
            return {}
        spacing = np.array(self.spacing)
        places = [(points - tile.position) @ np.linalg.inv(tile.linear).T for tile in tiles]
        shares = np.array([_share(place / spacing, tile.shape) for place, tile in zip(places, tiles, strict=True)])
        shares /= np.maximum(shares.sum(axis=0), np.finfo(float).tiny)
        bent = [edge for edge in edges if (shares[edge[0]] * shares[edge[1]]).any()]
        if not bent:
            return {}
        shared = np.any([shares[a] * shares[b] > 0 for a, b in bent], axis=0)
        found = self._solved(tiles, bent, [place[shared] for place in places], shares[:, shared, None])
        moved = {}
        for k in sorted({k for edge in bent for k in edge}):
            moved[tiles[k].name] = np.zeros_like(points)
            moved[tiles[k].name][shared] = found[k]
        return moved

    def _solved(
        self, tiles: Sequence[Tile], edges: Sequence[tuple[int, int]], places: Sequence[Floats], shares: Floats
    ) -> Sequence[Floats]:
        """Return the displacements of all tiles at `places` (n, 3) in their frames, by `shares` (tiles, n, 1)."""
        fields = {edge: self._field(tiles, edge, places[edge[0]]) for edge in edges}
        moved: Sequence[Floats] = [np.zeros_like(place) for place in places]
        for _ in range(_ROUNDS):
            found = [np.zeros_like(place) for place in places]
            for (a, b), loaded in fields.items():
                at = places[a] + moved[a]
                apart = loaded.map_points(at) - at
                found[a] -= shares[b] * apart
                found[b] += shares[a] * (apart @ (np.linalg.inv(tiles[b].linear) @ tiles[a].linear).T)
            moved = found
        return moved

    def _field(self, tiles: Sequence[Tile], edge: tuple[int, int], places: Floats) -> DisplacementField:
        """Return the part of a pair's field around places (n, 3) µm in the frame of its fixed tile."""
        pair, fixed = self.pairs[tiles[edge[0]].name, tiles[edge[1]].name], tiles[edge[0]]
        values = self._load(pair)
        first = Grid(fixed.shape, self.spacing).to_physical(pair.start)
        steps = np.multiply(pair.strides, self.spacing)
        grid = Grid(values.shape[:3], as_float_triple(steps), as_float_triple(first))
        reach = pair.largest_voxels * np.array(self.spacing).max()
        ends = [
            np.clip(end, first, grid.corners()[-1])
            for end in (places.min(axis=0) - reach, places.max(axis=0) + reach)
        ]
        region = grid.covering(ends[0], ends[1]).intersect(grid.region)
        return DisplacementField(np.array(values[region.slices]), grid, region)

    def _load(self, pair: RefinedPair) -> NDArray[np.float32]:
        """Return a field (z, y, x, 3) µm, of which only what is used is read."""
        path = self.folder / FIELDS / pair.field
        try:
            values: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {str(error).rstrip('.')}; run refine-tiles again.") from error
        return values


def _share(index: Floats, shape: Triple) -> Floats:
    """Return the weight (n,) of a tile at voxels (n, 3): the product of its squared depths, 0 outside of it."""
    counts = np.array(shape)
    depth = np.maximum(np.minimum(index, counts - 1 - index) + 0.5, 0.0) / counts
    weight: Floats = np.prod(np.where(counts > 1, depth, np.abs(index) <= 0.5) ** 2, axis=1)
    return weight
