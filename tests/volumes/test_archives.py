"""Zarr and N5 in zip archives, which are read as they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import Extension, coarser_levels, create_volume, open_volume

SHAPE = (16, 18, 20)
VOXELS = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.uint16)


def archived(folder: Path, name: str, *, top: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a volume with two scales into an archive, below the folder `top`."""
    plain = folder / f"plain{''.join(Path(name).suffixes[:1])}".replace(".ozx", ".zarr")
    grid = Grid(SHAPE, (2.0, 1.0, 1.0), (5.0, 0.0, 0.0))
    writer = create_volume(plain, grid=grid, dtype=VOXELS.dtype, levels=2)
    files = list(writer.write(writer.levels[0].region, VOXELS))
    files += writer.build_level_region(1, writer.levels[1].region)
    writer.finish(files)
    with zipfile.ZipFile(folder / name, "w", compression) as archive:
        for path in sorted(plain.rglob("*")):
            if path.is_file():
                archive.write(path, Path(top) / path.relative_to(plain))
        if top:
            archive.writestr(f"__MACOSX/{top}/._zarr.json", b"")
    return folder / name


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.ozx", "a.n5.zip"])
@pytest.mark.parametrize("top", ["", "a.zarr"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_read_as_the_folder_in_it(name: str, top: str, compression: int, tmp_path: Path) -> None:
    path = archived(tmp_path, name, top=top, compression=compression)
    volume = open_volume(path)
    assert (volume.grid.spacing, volume.grid.origin) == ((2, 1, 1), (5, 0, 0))
    np.testing.assert_array_equal(volume.read(Region((1, 2, 3), (9, 10, 11))), VOXELS[1:9, 2:10, 3:11])
    level = open_volume(path / "s1")
    assert level.grid.spacing == (2, 2, 2)
    assert str(level.stored and level.stored.places[0]) == str(path / top / "s1")
    assert list(coarser_levels(volume)) == [(1, 2, 2)]
    assert volume.digest() == open_volume(path).digest()


def test_an_archive_can_be_inspected_and_checked(tmp_path: Path) -> None:
    found = inspect_volume(str(archived(tmp_path, "a.zarr.zip")), check=True)
    assert [scale.dataset for scale in found.scales] == ["s0", "s1"]
    assert found.check is not None
    assert (found.check.lost, found.check.corrupt) == (0, 0)


def test_what_cannot_be_done_with_an_archive_is_said(tmp_path: Path) -> None:
    path = archived(tmp_path, "a.zarr.zip")
    with pytest.raises(InputError, match=r"a\.zarr\.zip has no scale s7"):
        open_volume(path / "s7")
    with pytest.raises(InputError, match=r"a\.zarr\.zip is .*scales are added on disks only"):
        Extension.of(open_volume(path))
    with pytest.raises(InputError, match=r"there is no .*gone\.zarr\.zip"):
        open_volume(tmp_path / "gone.zarr.zip")
    (tmp_path / "cut.zarr.zip").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.zarr\.zip is damaged"):
        open_volume(tmp_path / "cut.zarr.zip")
