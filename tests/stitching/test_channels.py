"""The shift between channels, measured within tiles of known truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from stitching.scenes import seen, tissue
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.stitching.channels import ChannelAligner, ChannelRecord, channel_blocks, shifts_of_channels
from teralign.stitching.pairs import PairSet, read_pairs
from teralign.stitching.place import place_tiles
from teralign.tasks.align_tiles import align_tiles, plan_align_tiles
from teralign.tasks.solve_tiles import solve_tiles
from teralign.tiles import Tile, TileChannel, TileReader, TileSet, TileSource, read_tiles, write_tiles

SHIFT = np.array((1.0, -2.0, 3.0))
"""Voxels from where channel 0 shows a place to where channel 1 does."""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Three tiles in a row; the other channel shows the tissue with another contrast, and less of it."""
    folder = tmp_path_factory.mktemp("channels")
    scene, found = tissue((30, 90, 200), seed=3), []
    for number in range(3):
        place = np.array((8.0, 10.0, 10.0 + 44 * number))
        names = []
        for channel, (start, tissue_of) in enumerate(((place, scene), (place + SHIFT, 20 * np.sqrt(scene)))):
            names.append(f"t{number}_{channel}.tif")
            stack = seen(tissue_of, tuple(start), (16, 64, 64), 5.0, 10 * number + channel)
            tifffile.imwrite(folder / names[-1], stack, photometric="minisblack", metadata={"axes": "ZYX"})
        position = (0.0, 0.0, 22.0 * number)
        found.append(Tile(f"t{number}", position, (16, 64, 64), sources=tuple(map(TileSource, names))))
    tiles = TileSet((2.0, 0.5, 0.5), (TileChannel("0", (0.0, 1.0, 0.0)), TileChannel("1")), tuple(found))
    write_tiles(folder / "tiles.json", tiles)
    return folder, tiles


def test_the_shift_of_a_channel_is_measured_and_stored(scan, tmp_path):
    folder, tiles = scan
    compute = Compute(workers=1, worker_cpus=1)
    plan = plan_align_tiles(folder / "tiles.json", tmp_path / "p.json", compute=compute, channel_shifts=True)
    assert plan.blocks == {"pairs": 2, "channels": 3}
    done = align_tiles(folder / "tiles.json", tmp_path / "p.json", compute=compute, channel_shifts=True)
    (shift,) = done.channel_shifts
    assert (shift.channel, shift.tiles) == (1, 3) and read_pairs(tmp_path / "p.json").channel_shifts == (shift,)
    assert np.abs(np.array(shift.shift) / tiles.spacing - SHIFT).max() < 0.1
    solve_tiles(folder / "tiles.json", tmp_path / "p.json", tmp_path / "solved.json")
    solved = read_tiles(tmp_path / "solved.json")
    assert solved.channels[0] == tiles.channels[0]
    assert np.allclose(np.subtract(solved.channels[1].shift, (0.0, 1.0, 0.0)), shift.shift)


def test_a_tile_that_is_wrong_does_not_move_the_shift_of_a_channel():
    good = [ChannelRecord(channel=1, shift=(0.1 * k, 1.0, -1.0), errors=(0.1, 0.1, None)) for k in range(-2, 3)]
    wrong = ChannelRecord(channel=1, shift=(9.0, -9.0, 9.0), errors=(0.1, 0.1, None))
    none = ChannelRecord(channel=2)
    (found,) = shifts_of_channels([*good, wrong, none], (2.0, 1.0, 1.0))
    assert found.tiles == 6 and abs(found.shift[0]) < 0.3 and found.shift[1:] == (1.0, 0.0)
    assert found.error[2] is None and 0 < found.error[0] < 0.5


def test_a_channel_without_tissue_has_no_shift(scan):
    folder, tiles = scan
    rng = np.random.default_rng(0)
    tifffile.imwrite(folder / "noise.tif", rng.poisson(60, (16, 64, 64)).astype(np.uint16))
    empty = replace(tiles.tiles[0], sources=(tiles.tiles[0].sources[0], TileSource("noise.tif")))
    only = replace(tiles, tiles=(empty,))
    (block,) = channel_blocks(only, 0)
    assert ChannelAligner(TileReader(only, folder), 0)(block).shift is None


def test_shifts_of_a_channel_that_the_tiles_lack_are_refused(scan, tmp_path):
    folder, tiles = scan
    one = replace(
        tiles, channels=tiles.channels[:1], tiles=tuple(replace(t, sources=t.sources[:1]) for t in tiles.tiles)
    )
    (found,) = shifts_of_channels(
        [ChannelRecord(channel=1, shift=(0.0, 1.0, 0.0), errors=(0.1, 0.1, 0.1))], tiles.spacing
    )
    with pytest.raises(InputError, match="a shift of channel 1, which the tiles lack"):
        place_tiles(one, PairSet(0, (1.0, 1.0, 1.0), (), (found,)))
    assert json.loads((folder / "tiles.json").read_text())["kind"] == "tiles"
