"""The pieces of an output: all of it, and no file in two of them."""

from __future__ import annotations

from teralign.blockwise import WriteUnits
from teralign.grids import Region


def test_units_tile_the_array():
    units = WriteUnits((40, 70, 33), (16, 32, 16))
    assert [unit.core for unit in units] == list(Region.whole((40, 70, 33)).split((16, 32, 16)))
    assert len(units) == len({unit.name for unit in units}) == 3 * 3 * 3
    assert sum(unit.core.size for unit in units) == 40 * 70 * 33


def test_a_sample_is_spread_over_all():
    units = WriteUnits((40, 70, 33), (16, 32, 16))
    assert units.sample(27) == units.sample(1000) == list(units)
    some = units.sample(5)
    assert some == [unit for unit in units if unit in some]
    assert 4 <= len(some) <= 5
    assert len(WriteUnits((25600,) * 3, (128,) * 3).sample(200)) == 200
