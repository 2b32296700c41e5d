"""Registrations in files, and in the transforms of ITK."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import SimpleITK
from small_rounds import GRID, SPACING

import teralign as ta
from teralign.errors import InputError
from teralign.transforms import load_stack

POINTS = np.random.default_rng(1).uniform((10, 10, 10), (80, 80, 75), (50, 3))


@pytest.fixture(scope="module")
def bent(rounds, found):
    nodes = GRID.nodes((8, 8, 8))
    values = np.random.default_rng(0).normal(0, 1, (*nodes.shape, 3)).astype(np.float32)
    start = [found, ta.DisplacementField(values, nodes)]
    return ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=[], initial_transform=start)


@pytest.mark.parametrize(("which", "name"), [("found", "a.mat"), ("found", "a.zarr"), ("bent", "b.zarr")])
def test_a_saved_registration_comes_back(which, name, rounds, tmp_path, request):
    registration = request.getfixturevalue(which)
    path = registration.save(tmp_path / "new" / name)
    again = ta.load(path)
    for same in (again, load_stack([path])):
        np.testing.assert_allclose(same.map_points(POINTS), registration.map_points(POINTS), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(again.warp(rounds.moving), registration.warp(rounds.moving))
    assert (again.verdict, again.steps) == (registration.verdict, registration.steps)
    assert again.assessment == registration.assessment
    with pytest.raises(InputError, match=r"exists already.* overwrite=True"):
        registration.save(path)
    registration.save(path, overwrite=True)


def test_wrong_files_get_a_sentence(found, bent, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.zarr, or in \.mat"):
        found.save(tmp_path / "a.npy")
    with pytest.raises(InputError, match="holds a displacement field"):
        bent.save(tmp_path / "a.mat")
    with pytest.raises(InputError, match="there is no transform"):
        ta.load(tmp_path / "missing.zarr")
    found.save(tmp_path / "a.mat")
    (tmp_path / "a.registration.json").unlink()
    with pytest.raises(InputError, match="give fixed="):
        ta.load(tmp_path / "a.mat")
    assert ta.load(tmp_path / "a.mat", fixed=GRID, moving=GRID).fixed.grid == GRID


def test_itk_maps_the_same_points_and_resamples_the_same_voxels(rounds, bent):
    transform = bent.to_itk()
    mapped = [transform.TransformPoint(point[::-1].tolist())[::-1] for point in POINTS]
    np.testing.assert_allclose(mapped, bent.map_points(POINTS), atol=1e-4)
    fixed, moving = (SimpleITK.GetImageFromArray(a.astype(np.float32)) for a in (rounds.fixed, rounds.moving))
    for image in (fixed, moving):
        image.SetSpacing(SPACING[::-1])
    resampled = SimpleITK.GetArrayFromImage(SimpleITK.Resample(moving, fixed, transform, SimpleITK.sitkLinear))
    inside = (slice(8, -8),) * 3
    np.testing.assert_allclose(resampled[inside], bent.warp(rounds.moving.astype(np.float32))[inside], atol=1.0)


def test_a_registration_is_sent_to_other_processes_without_its_images(found):
    sent = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(sent.map_points(POINTS), found.map_points(POINTS))
    assert len(pickle.dumps(found)) < 100_000
