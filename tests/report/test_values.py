import numpy as np
import pytest

from teralign.grids import Grid
from teralign.report import histogram, sample_voxels
from teralign.volumes import Chunking, create_volume, open_volume


def test_integers_are_counted_one_by_one_where_they_are_few():
    found = histogram(np.repeat(np.arange(5, dtype=np.uint8), [4, 3, 2, 1, 6]))
    assert (found.voxels, found.low, found.high) == (16, 0, 4)
    assert found.counts == (4, 3, 2, 1, 6)
    assert found.edges == (0, 1, 2, 3, 4, 5)
    assert found.mean == pytest.approx(34 / 16)


def test_what_is_no_number_is_left_out():
    found = histogram(np.array([0.0, 1.0, np.nan, 3.0, np.inf]))
    assert (found.voxels, found.not_finite, found.low, found.high) == (3, 2, 0.0, 3.0)
    assert sum(found.counts) == 3
    assert histogram(np.full(3, np.nan)).counts == ()


@pytest.mark.parametrize("kept", [10**6, 5000])
def test_a_sample_stands_for_the_volume(tmp_path, kept):
    """A ramp along each axis; few chunks are read, and they are spread over all of it."""
    grid = Grid((64, 64, 128), (1, 1, 1))
    z, y, x = np.ogrid[:64, :64, :128]
    ramp = (z + y + x).astype(np.uint16)
    writer = create_volume(tmp_path / "a.zarr", grid=grid, dtype=np.uint16, chunking=Chunking((16, 16, 16)), levels=1)
    for unit in grid.region.split(writer.write_shape):
        writer.write(unit, ramp[unit.slices])
    sample = sample_voxels(open_volume(tmp_path / "a.zarr"), read=64**3, kept=kept)
    assert sample.size <= 2 * kept
    assert sample.size <= 64**3
    assert float(sample.mean()) == pytest.approx(ramp.mean(), rel=0.1)
    assert sample.min() < 40
    assert sample.max() > 210
