import numpy as np
import pytest

from phantoms import Scene, cube
from teralign.registration import align
from teralign.registration.config import DeformConfig
from teralign.transforms import DisplacementField, Stack

SCENE = Scene.cells(count=250)
GRID = cube(28, 5.7)


def bump(points):
    """A smooth displacement of up to 6 µm."""
    waves = np.sin(points / 160 * np.pi)
    return 6 * np.stack([waves.prod(axis=1), -waves.prod(axis=1), 0.5 * waves.prod(axis=1)], axis=1)


@pytest.fixture(scope="module")
def deformed():
    """A moving image, and a fixed one that shows at x what the moving one shows at x + bump(x)."""
    return SCENE.draw(GRID, lambda p: p + bump(p), seed=1), SCENE.draw(GRID, seed=2)


@pytest.fixture(scope="module")
def found(deformed):
    config = DeformConfig(engine="simpleitk", control_point_spacing=80.0, metric="C", sampling="RANDOM",
                          sampling_percentage=0.1, optimizer_args={"numberOfIterations": 30})  # fmt: skip
    nodes = GRID.nodes((3, 3, 3))
    return align(*deformed, [config], initial_transform=Stack(), field_grid=nodes), nodes


def test_a_smooth_deformation_is_found(found):
    alignment, nodes = found
    assert alignment.reports[0].state == "improved", alignment.reports[0].reason
    (field,) = alignment.transform.transforms
    assert isinstance(field, DisplacementField)
    assert field.grid == nodes
    points = np.random.default_rng(0).uniform(25, 130, (2000, 3))
    rest = np.linalg.norm(field.map_points(points) - points - bump(points), axis=1)
    assert rest.mean() < 0.5 * np.linalg.norm(bump(points), axis=1).mean()


def test_the_field_has_no_cliff_at_its_faces(found):
    alignment, nodes = found
    values = alignment.transform.transforms[0].values
    inner = max(np.abs(np.diff(values, axis=axis)).max() for axis in range(3))
    for axis in range(3):
        last = np.abs(np.take(values, -1, axis) - np.take(values, -2, axis)).max()
        assert last <= inner
    assert nodes.corners()[-1].max() > GRID.corners()[-1].max() - 1e-9  # nodes reach the last voxel or beyond it


def test_levels_refine_the_mesh(deformed):
    config = DeformConfig(engine="simpleitk", control_point_spacing=80.0, control_point_levels=(2, 1),
                          shrink_factors=(2, 1), metric="C", sampling="REGULAR",
                          sampling_percentage=0.1, optimizer_args={"numberOfIterations": 2})  # fmt: skip
    report = align(*deformed, [config], initial_transform=Stack()).reports[0]
    assert report.metric_after > report.metric_before


def test_nothing_to_go_on_keeps_the_start(deformed):
    fixed, _ = deformed
    empty = type(fixed)(np.zeros_like(fixed.array), fixed.grid)
    report = align(fixed, empty, [DeformConfig(engine="simpleitk")], initial_transform=Stack()).reports[0]
    assert report.state == "kept"
    assert report.reason == "the moving image has one value everywhere"
