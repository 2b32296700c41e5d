"""Parts of files that expand to far more than the metadata declare: no command takes the memory for them."""

import shutil

import pytest

from hostile.arena import arena
from hostile.bombs import TRANSFORMS, VOLUMES
from hostile.seeds import POINTS

MEGABYTES = 150
"""Which a command may need for volumes of a kilobyte: its libraries, and what a guard looks at."""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A process that has its libraries already: theirs is most of the memory that a first command takes."""
    folder = tmp_path_factory.mktemp("bombs")
    with arena(folder) as opened:
        for name in ("n5 gzip", "zarr v3 gzip", "tiff strip", "hdf5", "nrrd gzip", "nifti"):
            inside = folder / name
            inside.mkdir()
            opened.run("inspect-volume", [VOLUMES[name](inside), "--spacing", "1,1,1", "--histogram"], inside)
        yield opened


def calm(outcome):
    assert outcome.fault(codes=(0, 2, 3)) == ""
    assert outcome.megabytes < MEGABYTES


@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_that_expands_takes_little_memory(name, warm, tmp_path):
    if name.startswith("hdf5"):
        pytest.importorskip("h5py")
    uri = VOLUMES[name](tmp_path)
    calm(warm.run("inspect-volume", [uri, "--spacing", "1,1,1", "--histogram", "--json"], tmp_path))
    calm(warm.run("inspect-volume", [uri, "--spacing", "1,1,1", "--check"], tmp_path))
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_that_expands_takes_little_memory(name, warm, tmp_path):
    transform = TRANSFORMS[name](tmp_path)
    (tmp_path / "points.csv").write_text(POINTS)
    calls = [
        ["transform-points", "--transform", transform, "--points", "points.csv", "--output", "out.csv"],
        ["convert-transform", transform, "out.zarr", "--overwrite"],
    ]
    for command, *arguments in calls:
        calm(warm.run(command, arguments, tmp_path))
    shutil.rmtree(tmp_path)
