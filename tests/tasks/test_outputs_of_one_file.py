"""TIFF and NRRD as outputs of the commands: filled by blocks, then written in order."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.cli.main import load_command, run
from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.convert_volume import convert_volume, plan_convert_volume
from teralign.transforms import Affine
from teralign.volumes import create_volume, one_file, open_volume
from volume_files import noise

GRID = Grid((20, 150, 140), (1.0, 0.5, 0.5), (3.0, -2.0, 0.25))
ARRAY = noise((2, *GRID.shape), "uint16")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two channels in chunks of 128 voxels, and the identity."""
    folder = tmp_path_factory.mktemp("source")
    names = {"channels": 2, "channel_names": ("DAPI", "GFP")}
    writer = create_volume(folder / "round.zarr", grid=GRID, dtype="uint16", levels=1, **names)
    for channel, array in enumerate(ARRAY):
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, np.ascontiguousarray(array[unit.slices]), channel=channel)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(folder / "affine.mat")
    return folder


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.nrrd"])
def test_a_conversion_and_a_warp_end_in_one_file(name, source, tmp_path, scheduler):
    path = str(source / "round.zarr")
    channels = [1] if name == "a.nrrd" else [0, 1]
    options = {"channel": 1} if name == "a.nrrd" else {}
    convert_volume(path, str(tmp_path / name), compute=Compute(scheduler), **options)
    options = {"channels": (1,)} if name == "a.nrrd" else {}
    transforms, output = [source / "affine.mat"], tmp_path / "warped" / name
    apply_transform(path, path, transforms=transforms, output=str(output), compute=Compute(scheduler), **options)
    for written in (tmp_path / name, output):
        found = open_volume(written)
        assert found.grid == GRID
        assert found.channel_names == (("DAPI", "GFP") if name == "a.ome.tif" else tuple("01"[: len(channels)]))
        for place, channel in enumerate(channels):
            np.testing.assert_array_equal(found.read(channel=place), ARRAY[channel])
        assert not written.with_name(f"{name}.partial").exists()


def test_a_run_that_was_cut_off_while_the_file_was_written_goes_on(source, tmp_path, scheduler, monkeypatch):
    path, output = str(source / "round.zarr"), tmp_path / "resumed" / "a.tif"
    convert_volume(path, str(tmp_path / "a.tif"), compute=Compute(scheduler))

    def cut_off(file, voxels, piece, array, image):
        write(file, voxels, piece, array, image)
        if piece.start[1]:
            raise KeyboardInterrupt

    write = one_file._write_piece
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.volumes.one_file._write_piece", cut_off)
        convert_volume(path, str(output), compute=Compute(scheduler))
    assert not output.exists()
    done = convert_volume(path, str(output), compute=Compute(scheduler))
    assert done.resumed == done.units == 4
    assert output.read_bytes() == (tmp_path / "a.tif").read_bytes()
    assert [entry.name for entry in output.parent.iterdir()] == ["a.tif"]


def test_a_dry_run_counts_the_copy_and_writes_nothing(source, tmp_path):
    planned = plan_convert_volume(str(source / "round.zarr"), str(tmp_path / "a.tif"))
    assert planned.blocks == {"convert": 4, "file": 4}
    assert planned.write_bytes == planned.read_bytes == 2 * ARRAY.nbytes
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_the_input_is_not_replaced(source, tmp_path, scheduler, capsys):
    path = tmp_path / "a.tif"
    convert_volume(str(source / "round.zarr"), str(path), compute=Compute(scheduler))
    before = path.read_bytes()
    for arguments in (f"{path} {path} --overwrite", f"{source / 'round.zarr'} {path}"):
        assert run(load_command("convert-volume"), arguments.split(), name="convert-volume") == 2
    assert path.read_bytes() == before
    said = capsys.readouterr().err
    assert "lies in the volume that is converted" in said
    assert "exists already" in said
