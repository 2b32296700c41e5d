"""How a volume is cut into stages, and what a coarser one sees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from teralign.alignment import Side, open_source
from teralign.alignment.align_block import REFINING_MARGIN
from teralign.alignment.coarse_source import CoarseSource
from teralign.alignment.stages import BlockLayout, BlockOptions, plan_stages
from teralign.configuration import load_config
from teralign.grids import Grid, Region, group_means
from teralign.registration import DeformConfig
from teralign.volumes import create_volume

SHAPE, SPACING = (66, 90, 130), (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A volume of one level with voxels twice as high as wide, and its array."""
    array = np.random.default_rng(0).integers(0, 60_000, SHAPE, dtype=np.uint16)
    path = tmp_path_factory.mktemp("stages") / "volume.zarr"
    writer = create_volume(path, grid=Grid(SHAPE, SPACING), dtype=array.dtype, levels=1)
    for region in writer.levels[0].region.split(writer.write_shape):
        writer.write(region, np.ascontiguousarray(array[region.slices]))
    return str(path), array


def stages_of(path, steps, block_size):
    source = open_source("fixed", Side(path))
    return plan_stages(source, source, steps, BlockOptions(block_size, 0.1))


def test_stages_grow_until_one_block_holds_all(made):
    stages = stages_of(made[0], load_config().steps("local_align"), (16, 16, 16))
    counts = [len(stage.layout.blocks) for stage in stages]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert [stage.layout.grid.spacing for stage in stages] == [(16.0, 11.0, 16.0), (4.0, 4.0, 4.0), SPACING]
    for coarse, fine in itertools.pairwise(stages):
        assert max(coarse.layout.nodes.spacing) <= 4 * max(fine.layout.grid.spacing)


@pytest.mark.parametrize(("names", "block_size"), [(["deform"], (200, 200, 200)), (["affine"], (16, 16, 16))])
def test_one_block_and_steps_that_have_no_coarser_form_are_one_stage(made, names, block_size):
    (stage,) = stages_of(made[0], load_config().steps("local_align", names), block_size)
    assert [step.name for step in stage.steps] == names


def test_a_coarser_stage_has_the_deform_steps_only_and_their_lengths_in_its_voxels(made):
    given = DeformConfig(window=10.0, smoothness=1.0, shrink_factors=(8, 4, 2, 1), iterations=(4, 3, 2, 1))
    affine = load_config().steps("local_align", ["affine"])
    coarse, fine = stages_of(made[0], [*affine, given], (32, 32, 64))
    (step,) = coarse.steps
    assert (step.window, step.smoothness, step.shrink_factors) == (40.0, 4**1.25, (8, 4, 2, 1))
    assert fine.steps[0] == affine[0]
    assert (fine.steps[1].window, fine.steps[1].shrink_factors, fine.steps[1].iterations) == (10.0, (2, 1), (2, 1))


def test_by_default_no_voxel_is_read_more_than_twice(made):
    """Of a volume of which most blocks have all their neighbours; the moving one with its margin."""
    config = load_config()
    plan = BlockLayout.of(Grid((1024, 1024, 1024), (1, 1, 1)), None, config.block_size, config.block_overlap).blocks
    read = np.array([(b.region.size, b.region.grow([REFINING_MARGIN + 2] * 3).size) for b in plan]).sum(axis=0)
    assert read[0] / 1024**3 < 1.7
    assert read.mean() / 1024**3 < 2


def test_a_window_that_nobody_chose_holds_some_cells_of_small_voxels(made):
    (stage,) = stages_of(made[0], [DeformConfig()], (200, 200, 200))
    assert stage.steps[0].window == pytest.approx(18.0)


def test_a_coarse_source_gives_the_means_wherever_it_is_cut(made):
    path, array = made
    source = CoarseSource.of(open_source("fixed", Side(path)), (2, 4, 4))
    region = Region((3, 5, 7), (33, 20, 30))
    image = source.read(region)
    np.testing.assert_array_equal(image.array, group_means(array, (2, 4, 4))[region.slices])
    assert image.grid == source.grid.crop(region)
    assert image.mask is None


def test_voxels_that_are_no_numbers_are_masked_in_a_coarse_source(tmp_path):
    array = np.ones((8, 8, 8), np.float32)
    array[:2, :2, :2] = np.nan
    writer = create_volume(tmp_path / "v.zarr", grid=Grid((8, 8, 8), SPACING), dtype=array.dtype, levels=1)
    writer.write(writer.levels[0].region, array)
    image = CoarseSource.of(open_source("fixed", Side(str(tmp_path / "v.zarr"))), (2, 2, 2)).read(
        Region.whole((4, 4, 4))
    )
    assert image.mask is not None
    assert image.mask.sum() == 63
    assert np.isfinite(image.array).all()
