"""Every command takes the transforms of others as they are: fields of bigstream, and scenes of OME-Zarr."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from teralign.cli.main import load_command, run
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.compose_transforms import compose_transforms
from teralign.tasks.global_align import global_align
from teralign.tasks.invert_transform import invert_transform
from teralign.tasks.jacobian_map import jacobian_map
from teralign.tasks.local_align import local_align
from teralign.tasks.report_alignment import report_alignment
from teralign.tasks.transform_points import transform_points
from teralign.transforms import DisplacementField, bigstream, load_stack, save_field
from teralign.volumes import create_volume, open_volume

NODES = Grid((7, 8, 9), (6.0, 5.0, 4.0))
VOXELS = Grid((36, 36, 33), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Two volumes, and a field as ours, as bigstream's, and as a scene in nm whose vectors are last."""
    folder, rng = tmp_path_factory.mktemp("foreign"), np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.linspace(0, np.pi, n) for n in NODES.shape], indexing="ij")
    values = np.stack([np.sin(x), 1.5 * np.sin(z), np.sin(y)], -1).astype(np.float32)
    save_field(folder / "ours.zarr", DisplacementField(values, NODES))
    with bigstream.building_field(folder / "theirs.n5", "s0", NODES) as writer:
        writer.write(NODES.region, values)
    write_scene(folder / "scene.zarr", values)
    for name in ("fixed", "moving"):
        volume = create_volume(folder / f"{name}.zarr", grid=VOXELS, dtype=np.uint8, levels=1)
        volume.write(VOXELS.region, rng.integers(0, 255, VOXELS.shape, dtype=np.uint8))
    return folder


def write_scene(place: Path, values: np.ndarray) -> None:
    root = zarr.create_group(place)
    space = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "xyz"]
    field = root.create_group("field")
    field.create_array("0", data=np.ascontiguousarray(values.transpose(2, 1, 0, 3)[..., ::-1] * 1000))
    scale = {"type": "scale", "scale": [*(1000 * s for s in reversed(NODES.spacing)), 1], "input": "0", "output": "f"}
    axes = [*space, {"name": "d", "type": "displacement"}]
    image = {
        "coordinateSystems": [{"name": "f", "axes": axes}],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    field.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    root.attrs["ome"] = {
        "version": "0.6",
        "scene": {
            "coordinateSystems": [{"name": "a", "axes": space}, {"name": "b", "axes": space}],
            "coordinateTransformations": [{"type": "displacements", "path": "field", "input": "a", "output": "b"}],
        },
    }


def apply(files: Path, transform: Path, out: Path) -> np.ndarray:
    apply_transform(files / "fixed.zarr", files / "moving.zarr", transforms=[transform], output=out / "w.zarr")
    return open_volume(out / "w.zarr").read()


def points(files: Path, transform: Path, out: Path) -> np.ndarray:
    (out / "in.csv").write_text("x,y,z\n10,20,30\n1.5,2.5,3.5\n30,5,9\n")
    transform_points(out / "in.csv", transforms=[transform], output=out / "p.csv")
    return np.loadtxt(out / "p.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))


def inverse(files: Path, transform: Path, out: Path) -> np.ndarray:
    invert_transform([transform], out / "i.zarr")
    return mapped(out / "i.zarr")


def composed(files: Path, transform: Path, out: Path) -> np.ndarray:
    compose_transforms([transform, transform], out / "c.zarr")
    return mapped(out / "c.zarr")


def volume_change(files: Path, transform: Path, out: Path) -> np.ndarray:
    jacobian_map([transform], str(out / "j.zarr"))
    return open_volume(out / "j.zarr").read()


def started(files: Path, transform: Path, out: Path) -> np.ndarray:
    sides = files / "fixed.zarr", files / "moving.zarr"
    global_align(*sides, output=out / "g.zarr", steps=[], initial_transforms=[transform])
    return mapped(out / "g.zarr")


def started_locally(files: Path, transform: Path, out: Path) -> np.ndarray:
    sides = files / "fixed.zarr", files / "moving.zarr"
    local_align(*sides, output=out / "l.zarr", steps=["deform"], initial_transforms=[transform])
    return mapped(out / "l.zarr")


def reported(files: Path, transform: Path, out: Path) -> np.ndarray:
    found = report_alignment(
        str(files / "fixed.zarr"), str(files / "moving.zarr"), transforms=[transform], output=out / "report"
    )
    return np.array([found.similarity["after"].ncc])


def mapped(transform: Path) -> np.ndarray:
    return load_stack([transform]).map_points(np.random.default_rng(1).uniform(3, 30, (50, 3)))


COMMANDS = [apply, points, inverse, composed, volume_change, started, started_locally, reported]


@pytest.mark.parametrize("name", ["theirs.n5/s0", "scene.zarr"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_a_command_does_with_it_what_it_does_with_ours(
    files: Path, tmp_path: Path, command: Callable[[Path, Path, Path], np.ndarray], name: str
) -> None:
    ours = files / command.__name__
    if not ours.exists():
        ours.mkdir()
        np.save(ours / "expected.npy", command(files, files / "ours.zarr", ours))
    expected, found = np.load(ours / "expected.npy"), command(files, files / name, tmp_path)
    np.testing.assert_allclose(
        found, expected, atol=1.0 if command is apply else 1e-4
    )  # a value halfway may round up
    assert np.mean(found != expected) < 0.01 or command is not apply


def test_an_affine_of_bigstream_is_a_file_like_ours(files: Path, tmp_path: Path) -> None:
    (tmp_path / "affine.mat").write_text("1 0 0 2\n0 1 0 3\n0 0 1 4\n0 0 0 1\n")
    found = points(files, tmp_path / "affine.mat", tmp_path)
    np.testing.assert_allclose(found[0], [14, 23, 32])


def test_a_field_without_spacing_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zarr.create_array(tmp_path / "bare.zarr", data=np.zeros((4, 5, 6, 3), np.float32), zarr_format=2)
    (tmp_path / "in.csv").write_text("1,2,3\n")
    files = {"points": "in.csv", "transform": "bare.zarr", "output": "out.csv"}
    arguments = [word for option, name in files.items() for word in (f"--{option}", str(tmp_path / name))]
    assert run(load_command("transform-points"), arguments) == 2
    said = capsys.readouterr().err.strip()
    assert "does not give the spacing of its vectors; convert it by convert-transform --fixed" in said
    assert "Traceback" not in said


def test_a_cubic_field_becomes_one_of_itk_by_way_of_displacements(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = zarr.open_group(shutil.copytree(files / "scene.zarr", tmp_path / "cubic.zarr"), mode="a")
    ome = dict(root.attrs["ome"])
    ome["scene"]["coordinateTransformations"][0]["interpolation"] = "bspline-cubic"
    root.attrs["ome"] = ome
    cubic, linear, itk = (str(tmp_path / name) for name in ("cubic.zarr", "linear.zarr", "itk.h5"))
    assert run(load_command("convert-transform"), [cubic, itk]) == 2
    assert "has no form in ITK; make linear displacements of it by compose-transforms" in capsys.readouterr().err
    assert not Path(itk).exists()
    assert run(load_command("compose-transforms"), [cubic, linear]) == 0
    assert run(load_command("convert-transform"), [linear, itk]) == 0
    np.testing.assert_allclose(mapped(Path(linear)), mapped(Path(cubic)), atol=0.3)
    assert not np.allclose(mapped(Path(cubic)), mapped(files / "scene.zarr"), atol=1e-4)
