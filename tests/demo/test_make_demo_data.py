import hashlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from teralign.cli.make_demo_data import make_demo_data as command
from teralign.demo import TrueMap, make_phantom
from teralign.errors import InputError
from teralign.tasks.make_demo_data import make_demo_data
from teralign.transforms import load_stack
from teralign.volumes import open_volume

SHAPE = (70, 97, 150)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "pair"
    make_demo_data(folder, shape=SHAPE, seed=5)
    return folder


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def test_scales_lie_in_the_same_place(demo):
    fine, coarse = (open_volume(demo / "fixed.n5" / scale) for scale in ("s0", "s1"))
    assert fine.grid.shape == SHAPE and fine.grid.spacing == (0.84, 0.92, 0.92)
    assert coarse.grid == fine.grid.downsample((2, 2, 2))
    voxels = fine.read()[:70, :96, :150].astype(np.float64)
    means = voxels.reshape(35, 2, 48, 2, 75, 2).mean(axis=(1, 3, 5))
    assert np.abs(coarse.read() - means).max() <= 0.5


def test_voxels_are_those_of_the_phantom(demo):
    phantom = make_phantom(SHAPE, seed=5)
    for view, name in ((phantom.fixed, "fixed"), (phantom.moving, "moving")):
        assert np.array_equal(open_volume(demo / f"{name}.n5/s0").read(), view.render(view.grid.region))


def test_the_files_of_the_truth_agree(demo):
    fixed, moving = (np.loadtxt(demo / f"landmarks_{n}.csv", delimiter=",")[:, ::-1] for n in ("fixed", "moving"))
    assert np.abs(TrueMap.load(demo / "true_map.npz").to_moving(fixed) - moving).max() < 1e-4
    stack = load_stack([demo / "true_transform.zarr"])
    assert np.linalg.norm(stack.map_points(fixed) - moving, axis=1).max() < 0.03


def test_demo_json_tells_the_start(demo):
    facts = json.loads((demo / "demo.json").read_text())
    assert facts["seed"] == 5 and facts["fixed"]["shape"] == [150, 97, 70]
    fixed, moving = (np.loadtxt(demo / f"landmarks_{n}.csv", delimiter=",") for n in ("fixed", "moving"))
    start = np.median(np.linalg.norm(moving - fixed, axis=1))
    assert facts["landmarks"]["tre_um_before"]["median"] == pytest.approx(start, abs=1e-3)
    assert facts["landmarks"]["landmarks"] == len(fixed)


def test_one_seed_gives_the_same_bytes_whatever_the_threads(demo, tmp_path):
    make_demo_data(tmp_path / "again", shape=SHAPE, seed=5, threads=1)
    assert digest(tmp_path / "again") == digest(demo)


def test_demo_data_are_replaced_only_when_asked(tmp_path):
    make_demo_data(tmp_path / "demo", shape=(48, 48, 48), seed=1)
    with pytest.raises(InputError, match="--overwrite"):
        make_demo_data(tmp_path / "demo", shape=(48, 48, 48), seed=2)
    make_demo_data(tmp_path / "demo", shape=(48, 48, 48), seed=2, overwrite=True)
    assert json.loads((tmp_path / "demo/demo.json").read_text())["seed"] == 2


def test_other_folders_are_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(InputError, match="is not demo data"):
        make_demo_data(tmp_path, shape=(48, 48, 48), overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_tiny_shape_is_refused(tmp_path):
    with pytest.raises(InputError, match="--shape 20,64,64 is too small"):
        make_demo_data(tmp_path / "demo", shape=(64, 64, 20))
    assert not any(tmp_path.iterdir())


def test_the_command_takes_x_y_z(tmp_path):
    result = CliRunner().invoke(command, ["--output", str(tmp_path / "d"), "--shape", "64,56,48", "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert open_volume(tmp_path / "d/fixed.n5/s0").grid.shape == (48, 56, 64)
    assert json.loads(result.stdout.splitlines()[-1])["output"] == str(tmp_path / "d")
