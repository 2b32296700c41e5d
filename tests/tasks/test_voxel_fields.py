"""Fields of the challenge RnR-ExM: in voxels, in HDF5, several in a file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy import ndimage

from label_volumes import blobs
from teralign.alignment import Side
from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.convert_transform import convert_transform
from teralign.tasks.evaluate_alignment import Compared, evaluate_alignment
from teralign.transforms import Affine, DisplacementField, load_stack, save_field

SHAPE, SPACING = (20, 70, 66), (0.4, 0.2, 0.25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pair of segmentations as the challenge gives them, and a map of an affine and a field in µm."""
    folder = tmp_path_factory.mktemp("rnr")
    moving = blobs(3, SHAPE, 12)
    grid = Grid(SHAPE, SPACING)
    nodes = grid.nodes((2, 4, 4))
    noise = np.random.default_rng(0).normal(size=(*nodes.shape, 3))
    field = DisplacementField((ndimage.gaussian_filter(noise, (2, 2, 2, 0)) * 6).astype(np.float32), nodes)
    save_field(folder / "field.zarr", field)
    Affine.from_parts(np.eye(3), (0.4, -0.3, 0.5)).save(folder / "affine.mat")
    displacements = in_voxels(load_stack([folder / "affine.mat", folder / "field.zarr"]))
    with h5py.File(folder / "mouse_pair5_segmentation.h5", "w") as file:
        file["move"], file["fixed"] = moving, warped(moving, displacements)
    return folder


def in_voxels(stack):
    """The displacements (z, y, x, 3) of a map at each voxel."""
    at = np.moveaxis(np.indices(SHAPE), 0, -1) * np.array(SPACING)
    return (stack.map_points(at.reshape(-1, 3)).reshape(at.shape) - at) / SPACING


def warped(labels, displacements):
    """Labels as the challenge warps them: nearest, at the identity plus displacements, up to the faces of voxels."""
    places = np.indices(SHAPE) + np.moveaxis(displacements, -1, 0)
    return ndimage.map_coordinates(labels, places, order=0, mode="grid-constant")


def test_a_submission_has_several_pairs_and_is_read_back(folder, tmp_path):
    fixed = Side(f"{folder}/mouse_pair5_segmentation.h5/fixed", SPACING)
    maps = [folder / "affine.mat", folder / "field.zarr"]
    submission = tmp_path / "mouse_test.h5"
    for name, transforms in (("pair5", maps), ("pair6", maps[:1])):
        made = convert_transform(transforms, submission / name, fixed=fixed)
        assert made.residual_um.maximum < 0.05
    with h5py.File(submission) as file:
        assert sorted(file) == ["pair5", "pair6"]
        assert (file["pair5"].shape, file["pair5"].dtype, file["pair5"].compression) == ((*SHAPE, 3), "f4", "gzip")
        np.testing.assert_allclose(file["pair5"][()], in_voxels(load_stack(maps)), atol=1e-4)
    convert_transform([submission / "pair5"], tmp_path / "back.zarr", fixed=fixed, grid_spacing=SPACING)
    np.testing.assert_allclose(
        in_voxels(load_stack([tmp_path / "back.zarr"])), in_voxels(load_stack(maps)), atol=1e-4
    )
    with pytest.raises(InputError, match="has a field pair5 already"):
        convert_transform(maps, submission / "pair5", fixed=fixed)
    convert_transform(maps[:1], submission / "pair5", fixed=fixed, overwrite=True)
    with h5py.File(submission) as file:
        np.testing.assert_allclose(file["pair5"][5, 5, 5], np.array((0.4, -0.3, 0.5)) / SPACING, rtol=1e-5)


def test_scores_of_a_submission_are_those_of_the_challenge(folder, tmp_path):
    with h5py.File(folder / "mouse_pair5_segmentation.h5") as file:
        fixed, moving = file["fixed"][()], file["move"][()]
    displacements = in_voxels(load_stack([folder / "affine.mat", folder / "field.zarr"])).astype(np.float32) * 0.8
    with h5py.File(tmp_path / "mouse_test.h5", "w") as file:
        file.create_dataset("pair5", data=displacements, compression="gzip")
    names = (f"{folder}/mouse_pair5_segmentation.h5/{role}" for role in ("fixed", "move"))
    sides = tuple(Side(name, SPACING) for name in names)
    found = evaluate_alignment(Compared(labels=sides), transforms=[tmp_path / "mouse_test.h5/pair5"])
    aligned = warped(moving, displacements)
    for score in found.labels.per_label:
        a, b = fixed == score.label, aligned == score.label
        assert score.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=0.01)
    gradient = np.stack([np.gradient(displacements.astype(np.float64), axis=axis) for axis in range(3)], axis=-1)
    inner = np.linalg.det(gradient + np.eye(3))[2:-2, 2:-2, 2:-2]
    assert found.field.sdlogj == pytest.approx(np.log((inner + 3).clip(1e-9, 1e9)).std(), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("affine.mat out.h5 --to rnr-exm", ["out.h5/pair5"]),
        ("affine.mat out.h5/pair5", ["--fixed"]),
        ("affine.mat out.h5/pair5 --to itk", ["rnr-exm"]),
        ("mouse_pair5_segmentation.h5/pair9 out.zarr --fixed F", ["has no field 'pair9'", "fixed, move"]),
        ("mouse_pair5_segmentation.h5/move out.zarr --fixed F", ["(20, 70, 66)", "(20, 70, 66, 3)"]),
        ("mouse_pair5_segmentation.h5/move out.zarr", ["--fixed"]),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    fixed = "mouse_pair5_segmentation.h5/fixed --fixed-spacing 0.25,0.2,0.4"
    code = run(load_command("convert-transform"), arguments.replace("F", fixed).split(), name="convert-transform")
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    for word in words:
        assert word in err
    assert not (folder / "out.h5").exists()


def test_points_need_the_fixed_volume_of_a_field_in_voxels(folder):
    with pytest.raises(InputError, match="in voxels of the fixed volume"):
        evaluate_alignment(Compared(), transforms=[folder / "mouse_pair5_segmentation.h5/move"])
