"""What is said of volumes, beside what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import Chunking, create_volume
from volume_files import noise, write_n5

GRID = Grid((20, 300, 280), (2.0, 0.5, 0.5), (1.0, 0.0, 0.0))


@pytest.fixture(params=["round.zarr", "round.n5"])
def volume(request, tmp_path):
    """Two channels on two scales; the second channel is empty."""
    path = tmp_path / request.param
    writer = create_volume(
        path, grid=GRID, dtype=np.uint16, channels=2, channel_names=("DAPI", "GFP"), chunking=Chunking((20, 128, 128))
    )
    stored = []
    array = np.random.default_rng(0).integers(1, 9, GRID.shape, dtype=np.uint16)
    for unit in GRID.region.split(writer.write_shape):
        stored += writer.write(unit, np.ascontiguousarray(array[unit.slices]))
    for unit in writer.levels[1].region.split(writer.write_shape):
        stored += writer.build_level_region(1, unit)
    writer.finish(stored)
    return path


def inspect(arguments, capsys):
    """Exit code and what was printed."""
    code = run(load_command("inspect-volume"), arguments.split(), name="inspect-volume")
    return code, capsys.readouterr()


def test_says_what_was_written(volume):
    found = inspect_volume(str(volume))
    assert (found.dtype, found.channels, found.timepoints) == ("uint16", 2, 1)
    fine, coarse = found.scales
    assert (fine.dataset, fine.shape, fine.chunk_shape) == ("s0", (280, 300, 20), (128, 128, 20))
    assert (fine.spacing_um, fine.origin_um) == ((0.5, 0.5, 2.0), (0.0, 0.0, 1.0))
    assert (coarse.shape, coarse.spacing_um, coarse.origin_um) == (
        (140, 150, 20),
        (1.0, 1.0, 2.0),
        (0.25, 0.25, 1.0),
    )
    assert fine.codecs == (("gzip",) if volume.suffix == ".n5" else ("bytes", "blosc-zstd", "crc32c"))
    assert fine.manifest
    stored = [p for p in volume.rglob("*") if p.is_file() and "s0" in p.parts]
    assert (fine.files, fine.bytes) == (len(stored), sum(p.stat().st_size for p in stored))


def test_prints_text_or_json(volume, capsys):
    code, said = inspect(f"{volume} --histogram", capsys)
    assert code == 0
    assert "280 x 300 x 20" in said.out
    assert "0.5 x 0.5 x 2" in said.out
    assert "#" in said.out
    code, said = inspect(f"{volume} --histogram --json --check", capsys)
    found = json.loads(said.out)
    assert code == 0
    assert sum(found["histogram"]["counts"]) == found["histogram"]["voxels"] > 100_000
    assert (found["histogram"]["low"], found["histogram"]["high"]) == (1, 8)
    assert found["check"] == {"whole": 9 + 4, "empty": 9 + 4, "lost": 0, "corrupt": 0, "faults": []}
    assert "checked: 26 of 26" in said.err


def test_damage_is_named_and_exits_3(volume, capsys):
    files = sorted(p for p in volume.rglob("*") if p.is_file() and p.suffix not in (".json", ".npz"))
    files[0].unlink()
    files[-1].write_bytes(files[-1].read_bytes()[:-1])
    code, said = inspect(f"{volume} --check --json", capsys)
    check = json.loads(said.out)["check"]
    assert code == 3
    assert (check["lost"], check["corrupt"]) == (1, 1)
    assert {fault["name"] for fault in check["faults"]} == {str(files[0]), str(files[-1])}
    assert "1 file lost and 1 corrupt" in said.err
    code, said = inspect(f"{volume} --check", capsys)
    assert code == 3
    assert f"lost: {files[0]}" in said.out


def test_only_the_scale_that_was_named_is_checked(volume, capsys):
    next(p for p in sorted(volume.rglob("*")) if p.is_file() and "s0" in p.parts and not p.suffix).unlink()
    assert inspect(f"{volume}/s1 --check", capsys)[0] == 0
    assert inspect(f"{volume}/s0 --check", capsys)[0] == 3


def test_a_preview_shows_the_middle(volume, tmp_path):
    path = tmp_path / "preview.png"
    assert inspect_volume(str(volume), preview=path).preview == str(path)
    picture = np.asarray(Image.open(path))
    assert picture.ndim == 3
    assert picture.std() > 10
    with pytest.raises(InputError, match=r"preview.png exists already; choose another --preview"):
        inspect_volume(str(volume), preview=path)


def test_a_volume_of_unknown_spacing_is_described(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(512, dtype=np.uint8).reshape(8, 8, 8))
    code, said = inspect(f"{tmp_path}/a.tif --check", capsys)
    assert code == 0
    assert "unknown" in said.out
    assert "1 whole" in said.out
    assert inspect_volume(f"{tmp_path}/a.tif", spacing=(3, 2, 1)).scales[0].spacing_um == (1, 2, 3)
    with pytest.raises(InputError, match="--spacing"):
        inspect_volume(f"{tmp_path}/a.tif", preview=tmp_path / "a.png")


def test_a_scale_that_is_gone_is_lost(volume, capsys):
    if volume.suffix == ".n5":
        pytest.skip("nothing in N5 says which scales there are")
    for path in (volume / "s1").rglob("zarr.json"):
        path.unlink()
    code, said = inspect(f"{volume} --check", capsys)
    assert code == 3
    assert "declares the scale s1" in said.out


def test_what_lies_beside_an_n5_dataset_need_not_be_a_scale(tmp_path):
    write_n5(tmp_path / "a.n5" / "s0", noise((8, 9, 10), "uint8"), {"pixelResolution": [1, 1, 1]})
    write_n5(tmp_path / "a.n5" / "plane", noise((9, 10), "uint8"))
    found = inspect_volume(f"{tmp_path}/a.n5", check=True)
    assert [scale.dataset for scale in found.scales] == ["s0"]
    assert found.check.lost == 0


def test_a_channel_that_is_not_there_is_named(volume):
    with pytest.raises(InputError, match=r"no channel 5 in .*; give --channel from 0"):
        inspect_volume(str(volume), channel=5)
