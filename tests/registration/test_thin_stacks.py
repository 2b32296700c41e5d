"""Stacks of a few planes are aligned as well as thick ones."""

import pytest

from phantoms import Scene, affine_about, errors, pair
from teralign.grids import Grid
from teralign.registration import align
from teralign.registration.config import AffineConfig, DeformConfig, RansacConfig
from teralign.transforms import Stack

SCENE = Scene.cells((12.0, 96.0, 96.0), count=60, radius=5.0)


def grid(planes):
    return Grid((planes, 96, 96), (2.0, 1.0, 1.0))


@pytest.mark.parametrize(("fixed", "moving"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (4, 12)])
def test_few_planes_are_enough(fixed, moving):
    truth = affine_about(grid(fixed).centre, rotation=(5, 0, 0), shift=(0, -3, 2))
    images = pair(SCENE, grid(fixed), grid(moving), truth)
    steps = [RansacConfig(), AffineConfig(), DeformConfig()]
    found = align(*images, steps, initial_transform=Stack())
    assert [report.state for report in found.reports[:2]] == ["improved", "improved"]
    inner = Grid((fixed, 70, 70), (2.0, 1.0, 1.0), (0.0, 13.0, 13.0))
    assert errors(found.transform.map_points, truth.map_points, inner).mean() < 0.3
