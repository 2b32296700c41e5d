import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import random_affine

from teralign.errors import InputError
from teralign.transforms import Affine, load_transform

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_file_gives_the_same_bits_back(tmp_path_factory, seed):
    affine = random_affine(np.random.default_rng(seed), spread=0.3, shift=1e4)
    path = tmp_path_factory.mktemp("affine") / "affine.mat"
    affine.save(path)
    assert np.array_equal(load_transform(path).matrix, affine.matrix)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_the_inverse_takes_points_back(seed):
    rng = np.random.default_rng(seed)
    affine, points = random_affine(rng), rng.uniform(-1000, 1000, (50, 3))
    np.testing.assert_allclose(affine.inverse().map_points(affine.map_points(points)), points, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_bounds_are_the_box_of_the_image(seed):
    rng = np.random.default_rng(seed)
    affine, low = random_affine(rng), rng.uniform(-50, 50, 3)
    high = low + rng.uniform(0, 50, 3)
    mapped = affine.map_points(rng.uniform(low, high, (200, 3)))
    a, b = affine.bounds(low, high)
    assert (mapped >= a - 1e-9).all()
    assert (mapped <= b + 1e-9).all()


def test_a_product_applies_the_right_one_first():
    rng = np.random.default_rng(0)
    a, b, points = random_affine(rng), random_affine(rng), rng.uniform(-9, 9, (20, 3))
    np.testing.assert_allclose((a @ b).map_points(points), a.map_points(b.map_points(points)), atol=1e-12)


def test_points_go_where_simpleitk_takes_them():
    rng = np.random.default_rng(1)
    affine, points = random_affine(rng), rng.uniform(-9, 9, (20, 3))
    theirs = sitk.AffineTransform(3)
    theirs.SetMatrix(affine.matrix[:3, :3][::-1, ::-1].ravel().tolist())
    theirs.SetTranslation(affine.matrix[:3, 3][::-1].tolist())
    expected = [theirs.TransformPoint(p[::-1].tolist())[::-1] for p in points]
    np.testing.assert_allclose(affine.map_points(points), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1 0 0 0\n0 1 0 0\n0 0 1 0\n", "four rows"),
        (b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 1 1\n", "last row 0 0 0 1"),
        (b"1 0 0 0\n0 0 0 0\n0 0 1 0\n0 0 0 1\n", "singular"),
        (b"1 0 0 0\n0 nan 0 0\n0 0 1 0\n0 0 0 1\n", "NaN"),
        (b"1 0 0 0\n0 1 0\n", "four lines of four numbers"),
        (b"\x00\x00\x01\xff\xfe matrix", "four lines of four numbers"),
        (b"", "four rows"),
    ],
)
def test_a_file_that_holds_no_affine_is_refused(tmp_path, content, words):
    path = tmp_path / "broken.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_transform(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no transform"):
        load_transform(tmp_path / "missing.mat")
    (tmp_path / "field.nrrd").touch()
    with pytest.raises(InputError, match=r"must be a \.mat or \.txt file"):
        load_transform(tmp_path / "field.nrrd")
    with pytest.raises(InputError, match="not a displacement field"):
        load_transform(tmp_path)


def test_the_affine_nearest_to_points_in_a_plane_changes_nothing_across_it():
    points = np.random.default_rng(0).uniform(0, 90, (50, 3))
    affine = random_affine(np.random.default_rng(1), spread=0.3, shift=10)
    assert np.allclose(Affine.nearest(points, affine.map_points(points)).matrix, affine.matrix)
    points[:, 0] = 5.0
    flat = Affine.nearest(points, affine.map_points(points))
    assert np.allclose(flat.map_points(points), affine.map_points(points))
    assert np.allclose(flat.matrix[:3, 0], (1, 0, 0))
