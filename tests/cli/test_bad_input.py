"""Bad input: one clear sentence, the right exit code, no traceback, and nothing left behind."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from teralign.cli.main import load_command, run
from teralign.grids import Grid
from teralign.volumes import create_volume


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a good pair of volumes, an affine, and several bad ones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    _volume(tmp_path / "fixed.n5", rng.integers(0, 999, (20, 22, 24)).astype(np.uint16))
    _volume(tmp_path / "moving.n5", rng.integers(0, 999, (20, 22, 24)).astype(np.uint16))
    _volume(tmp_path / "flat.zarr", np.zeros((20, 22, 24), np.uint16))
    _volume(tmp_path / "nans.zarr", np.full((20, 22, 24), np.nan, np.float32))
    tifffile.imwrite(tmp_path / "plane.tif", np.zeros((8, 8), np.uint8))
    tifffile.imwrite(tmp_path / "unsaid.tif", rng.integers(0, 9, (8, 8, 8)).astype(np.uint8))
    zarr.create_array(store=str(tmp_path / "void.zarr"), shape=(0, 8, 8), dtype="uint8")
    np.savetxt(tmp_path / "affine.mat", np.eye(4))
    (tmp_path / "typo.yml").write_text("affine:\n  shrink_factor: [2, 1]\n")
    (tmp_path / "broken.yml").write_text("affine: [\n")
    (tmp_path / "points.csv").write_text("1,2,3\n")
    (tmp_path / "old.json").write_text("{}\n")
    (tmp_path / "old.blocks.json").write_text("{}\n")
    (tmp_path / "new.residual.json").write_text("{}\n")
    (tmp_path / "new.summary.json").write_text("{}\n")
    return tmp_path


def _volume(path: Path, array: np.ndarray) -> None:
    writer = create_volume(path, grid=Grid(array.shape, (1.0, 1.0, 1.0)), dtype=array.dtype, levels=1)
    writer.write(writer.levels[0].region, array)


def refused(name: str, arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command and what it said on stderr, checked to be one sentence without a traceback."""
    code = run(load_command(name), arguments.split(), name=name)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out == ""
    (sentence,) = [line for line in said.err.splitlines() if line.startswith("Error: ")]
    assert sentence.endswith((".", "?"))
    return code, sentence


GLOBAL = "--fixed fixed.n5/s0 --moving moving.n5/s0 --output out.mat"
LOCAL = "--fixed fixed.n5/s0 --moving moving.n5/s0 --output out.zarr"
APPLY = "--fixed fixed.n5/s0 --moving moving.n5/s0 --transform affine.mat --output out.zarr"

CASES = [
    ("global-align", GLOBAL.replace("fixed.n5/s0", "gone.n5/s0"), ["gone.n5"]),
    ("global-align", GLOBAL.replace("fixed.n5/s0", "fixed.n5/s7"), ["s7", "s0"]),
    ("global-align", GLOBAL.replace("fixed.n5/s0", "plane.tif"), ["plane.tif", "2-D"]),
    ("global-align", GLOBAL.replace("fixed.n5/s0", "void.zarr"), ["void.zarr"]),
    ("global-align", GLOBAL.replace("fixed.n5/s0", "flat.zarr"), ["flat.zarr", "0 everywhere"]),
    ("global-align", GLOBAL.replace("fixed.n5/s0", "unsaid.tif"), ["unsaid.tif", "--fixed-spacing"]),
    ("global-align", GLOBAL.replace("moving.n5/s0", "unsaid.tif"), ["unsaid.tif", "--moving-spacing"]),
    ("global-align", GLOBAL + " --steps ransac,afine", ["afine", "affine"]),
    ("global-align", GLOBAL + " --config typo.yml", ["typo.yml", "shrink_factor", "shrink_factors"]),
    ("global-align", GLOBAL + " --config broken.yml", ["broken.yml"]),
    ("global-align", GLOBAL + " --config gone.yml", ["gone.yml"]),
    ("global-align", GLOBAL + " --fixed-channel 3", ["channel 3", "--fixed-channel"]),
    ("global-align", GLOBAL + " --fixed-timepoint 1", ["timepoint 1", "fixed.n5", "--fixed-timepoint"]),
    ("global-align", GLOBAL + " --fixed-mask gone.tif", ["gone.tif"]),
    ("global-align", GLOBAL + " --fixed-mask flat.zarr", ["masked out", "--fixed-mask"]),
    ("global-align", GLOBAL + " --fixed-mask fixed.n5/s0 --fixed-mask-labels 1,a", ["--fixed-mask-labels", "1,a"]),
    ("global-align", GLOBAL + " --fixed-mask fixed.n5/s0 --fixed-mask-labels 65530", ["65530", "--fixed-mask"]),
    ("local-align", LOCAL + " --moving-mask-labels 1", ["--moving-mask-labels", "--moving-mask,"]),
    ("global-align", GLOBAL.replace("out.mat", "affine.mat"), ["affine.mat", "--overwrite"]),
    ("global-align", GLOBAL.replace("out.mat", "old.mat"), ["old.json", "--overwrite"]),
    ("global-align", GLOBAL.replace("out.mat", "out.png"), ["out.png"]),
    ("global-align", GLOBAL + " --aligned out.xyz", ["out.xyz"]),
    ("global-align", GLOBAL + " --aligned out.n5 --ome-zarr 0.4", ["--ome-zarr 0.4", "out.n5"]),
    ("global-align", GLOBAL + " --ome-zarr 0.4", ["--ome-zarr 0.4", "--aligned"]),
    ("local-align", LOCAL + " --initial-transform gone.mat", ["gone.mat"]),
    ("local-align", LOCAL + " --initial-transform points.csv", ["points.csv"]),
    ("local-align", LOCAL.replace("out.zarr", "out.mat"), ["out.mat", ".zarr"]),
    ("local-align", LOCAL.replace("out.zarr", "old.zarr"), ["old.blocks.json", "--overwrite"]),
    ("local-align", LOCAL + " --moving-timepoint 2", ["timepoint 2", "--moving-timepoint"]),
    ("local-align", LOCAL + " --scheduler tcp://127.0.0.1:9 --workers 2", ["--scheduler", "--workers"]),
    (
        "apply-transform",
        APPLY + " --worker-mem-gb 2 --scheduler tcp://127.0.0.1:9",
        ["--scheduler", "--worker-mem-gb"],
    ),
    ("apply-transform", APPLY + " --moving-channel 1", ["channel 1", "--moving-channel"]),
    ("apply-transform", APPLY + " --moving-timepoint 1", ["timepoint 1", "--moving-timepoint"]),
    ("apply-transform", APPLY.replace("out.zarr", "out.nii"), ["out.nii"]),
    ("apply-transform", APPLY.replace("out.zarr", "flat.zarr"), ["flat.zarr", "--overwrite"]),
    ("build-pyramid", "gone.n5", ["gone.n5"]),
    ("build-pyramid", "void.zarr", ["void.zarr"]),
    ("build-pyramid", "unsaid.tif", ["unsaid.tif", "--spacing"]),
    ("build-pyramid", "unsaid.tif --spacing 1", ["unsaid.tif", "convert-volume"]),
    ("convert-volume", "gone.n5 out.zarr", ["gone.n5"]),
    ("convert-volume", "fixed.n5 out.nii", ["out.nii", "something.zarr"]),
    ("convert-volume", "fixed.n5 out.foo", ["out.foo", "something.zarr"]),
    ("convert-volume", "fixed.n5 flat.zarr", ["flat.zarr", "--overwrite"]),
    ("convert-volume", "fixed.n5/s0 fixed.n5 --overwrite", ["fixed.n5", "another output"]),
    ("convert-volume", "fixed.n5 out.zarr --crop 0:30,:,:", ["--crop 0:30,0:22,0:20", "24 x 22 x 20"]),
    ("convert-volume", "fixed.n5 out.zarr --crop 3:3,:,:", ["--crop 3:3"]),
    ("convert-volume", "fixed.n5 out.zarr --crop 3:5", ["'3:5'", "ranges"]),
    ("convert-volume", "fixed.n5 out.zarr --channel 1", ["channel 1", "give --channel"]),
    ("convert-volume", "fixed.n5 out.n5 --dtype bool", ["bool", ".zarr"]),
    ("convert-volume", "fixed.n5 out.n5 --ome-zarr 0.4", ["--ome-zarr 0.4", "out.n5"]),
    ("convert-volume", "fixed.n5 out.zarr --ome-zarr 0.6", ["'0.6'", "'0.4', '0.5'"]),
    ("convert-volume", "fixed.n5 out.precomputed --dtype float64", ["float64", ".zarr"]),
    ("convert-volume", "fixed.n5 out.precomputed/s0", ["out.precomputed", "name the image itself"]),
    ("convert-volume", "fixed.n5 out.tif --levels 2", ["out.tif", "--levels"]),
    ("convert-volume", "fixed.n5 out.ome.tif --dtype int64", ["int64", ".zarr"]),
    ("convert-volume", "fixed.n5 out.nrrd --dtype bool", ["bool", ".zarr"]),
    ("convert-volume", "fixed.n5 plane.tif/out", ["plane.tif", "which is a file"]),
    ("convert-volume", "unsaid.tif out.zarr", ["unsaid.tif", "--spacing"]),
    ("apply-transform", APPLY.replace("affine.mat", "s3://b/a.mat"), ["'--transform'", "s3://b/a.mat is an address"]),
    ("local-align", LOCAL.replace("out.zarr", "s3://b/o.zarr"), ["'--output'", "s3://b/o.zarr is an address"]),
    ("inspect-volume", "gone.n5", ["gone.n5"]),
    ("inspect-volume", "fixed.n5 --timepoint 1", ["timepoint 1", "give --timepoint"]),
    ("inspect-volume", "fixed.n5 --preview old.json", ["old.json", "--preview", "--overwrite"]),
    ("inspect-volume", "unsaid.tif --preview unsaid.png", ["unsaid.tif", "--spacing"]),
    ("transform-points", "--transform affine.mat --points gone.csv --output o.csv", ["gone.csv"]),
    ("invert-transform", "--transform affine.mat --output o.tif", ["o.tif", ".mat"]),
    ("invert-transform", "--transform affine.mat --output new.mat", ["new.residual.json", "--overwrite"]),
    ("convert-transform", "points.csv o.mat", ["points.csv"]),
    ("convert-transform", "affine.mat o.png", ["o.png", ".tfm"]),
    ("convert-transform", "affine.mat affine.mat", ["affine.mat", "--overwrite"]),
    ("convert-transform", "affine.mat o.tfm --itk-fixed points.csv", ["points.csv", "ITK"]),
    ("jacobian-map", "affine.mat o.zarr", ["--fixed"]),
    ("jacobian-map", "affine.mat o.mat --fixed fixed.n5", ["o.mat", ".zarr"]),
    ("jacobian-map", "affine.mat new.zarr --fixed fixed.n5", ["new.summary.json", "--overwrite"]),
    ("compose-transforms", "affine.mat gone.mat o.mat", ["gone.mat"]),
    ("compose-transforms", "affine.mat affine.mat o.tif", ["o.tif", ".mat"]),
    ("compose-transforms", "affine.mat affine.mat", ["affine.mat", "--overwrite"]),
    ("compose-transforms", "affine.mat affine.mat o.mat --fixed fixed.n5", ["--fixed"]),
]


@pytest.mark.parametrize(("name", "arguments", "words"), CASES, ids=[f"{n} {' '.join(w)}" for n, _, w in CASES])
def test_bad_input_is_named_and_exits_2(here, capsys, name, arguments, words):
    before = sorted(p.name for p in here.iterdir())
    code, sentence = refused(name, arguments, capsys)
    assert code == 2
    assert all(word in sentence for word in words), sentence
    assert sorted(p.name for p in here.iterdir()) == before


def test_a_volume_of_nothing_but_nans_is_refused(here, capsys):
    code, sentence = refused("global-align", GLOBAL.replace("fixed.n5/s0", "nans.zarr"), capsys)
    assert code == 2
    assert "nans.zarr" in sentence
    assert "NaN" in sentence


def test_a_scheduler_that_is_not_there(here, capsys):
    code, sentence = refused("apply-transform", APPLY + " --scheduler tcp://127.0.0.1:9", capsys)
    assert code == 5
    assert "tcp://127.0.0.1:9" in sentence
    assert not (here / "out.zarr").exists()


def test_a_scheduler_of_the_environment_goes_before_sizes(here, capsys, monkeypatch):
    monkeypatch.setenv("TERALIGN_SCHEDULER", "tcp://127.0.0.1:9")
    code, sentence = refused("apply-transform", APPLY + " --workers 1 --worker-cpus 1", capsys)
    assert code == 5
    assert "tcp://127.0.0.1:9" in sentence


def test_a_folder_that_may_not_be_written(capsys):
    root = os.geteuid() == 0  # whom no permission stops: it becomes someone else
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(f"{folder}/affine.mat", np.eye(4))
        importlib.import_module("teralign.tasks.invert_transform")  # others may not be able to read the environment
        Path(folder).chmod(0o555)
        if root:
            os.seteuid(65534)
        try:
            arguments = f"--transform {folder}/affine.mat --output {folder}/o.mat"
            code, sentence = refused("invert-transform", arguments, capsys)
        finally:
            if root:
                os.seteuid(0)
            Path(folder).chmod(0o755)
    assert code == 2
    assert f"{folder}/o.mat" in sentence


def test_a_full_disk(here, capsys):
    """A file system of 64 KiB, where the machine lets us mount one."""
    small = here / "small"
    small.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        rng = np.random.default_rng(0)
        _volume(here / "large.zarr", rng.integers(0, 60000, (64, 64, 64)).astype(np.uint16))
        code, sentence = refused(
            "apply-transform",
            "--fixed large.zarr --moving large.zarr --transform affine.mat --output small/o.zarr --workers 1",
            capsys,
        )
        assert not (small / "o.zarr").exists()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert code == 3
    assert "space" in sentence


@pytest.mark.parametrize(
    "name",
    [
        "teralign",
        "global-align",
        "local-align",
        "apply-transform",
        "build-pyramid",
        "convert-volume",
        "inspect-volume",
        "start-dask-worker",
        "make-demo-data",
    ],
)
def test_help_does_not_wait_for_libraries(name):
    """No heavy module is imported to print the help."""
    arguments = [] if name == "teralign" else [name]
    script = (
        "import sys; from teralign.cli.main import group\n"
        f"group.main({[*arguments, '--help']!r}, standalone_mode=False)\n"
        "heavy = {'numpy', 'dask', 'distributed', 'SimpleITK', 'numba', 'tensorstore', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy - {'numpy'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
