"""MetaImage, and what ITK takes for granted in it and in NRRD."""

from __future__ import annotations

import bz2
import logging

import numpy as np
import pytest
import SimpleITK

from teralign.errors import DataError, InputError
from teralign.grids import Grid
from teralign.volumes import open_volume
from volume_files import ORIGIN, SPACING, noise, write_nrrd

SHAPE = (4, 6, 10)
ARRAY = noise(SHAPE, "uint16")


def write_mha(path, array=ARRAY, *, compress=False, **options):
    image = SimpleITK.GetImageFromArray(array, **options)
    image.SetSpacing((*SPACING[::-1], 1.0)[: image.GetDimension()])
    image.SetOrigin((*ORIGIN[::-1], 0.0)[: image.GetDimension()])
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    return path


def edit(path, old, new):
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))
    return path


def write_bzip2_nrrd(path, *, detached=False):
    """An NRRD that is compressed by bzip2, as Slicer and ImageJ may write it."""
    raw = write_nrrd(path.with_name("raw.nrrd"), ARRAY)
    SimpleITK.WriteImage(SimpleITK.ReadImage(raw), str(raw), useCompression=False)
    header, voxels = raw.read_bytes().split(b"\n\n", maxsplit=1)
    header = header.replace(b"encoding: raw", b"encoding: bzip2")
    if detached:
        path.with_suffix(".raw.bz2").write_bytes(bz2.compress(voxels))
        path.write_bytes(header + f"\ndata file: {path.with_suffix('.raw.bz2').name}\n\n".encode())
    else:
        path.write_bytes(header + b"\n\n" + bz2.compress(voxels))
    return path


@pytest.mark.parametrize(("name", "compress"), [("a.mha", False), ("a.mha", True), ("a.mhd", False), ("a.mhd", True)])
def test_metaimages_are_read(name, compress, tmp_path, caplog):
    path = write_mha(tmp_path / name, compress=compress)
    with caplog.at_level(logging.WARNING, "teralign"):
        volume = open_volume(path)
    assert (volume.grid, volume.dtype) == (Grid(SHAPE, SPACING, ORIGIN), ARRAY.dtype)
    np.testing.assert_array_equal(volume.read(), ARRAY)
    assert f"{name} gives its voxel size without a unit; it is taken for µm" in caplog.text


def test_components_are_channels_and_a_fourth_axis_is_time(tmp_path):
    array = noise((*SHAPE, 3), "uint8")
    volume = open_volume(write_mha(tmp_path / "c.mha", array, isVector=True))
    np.testing.assert_array_equal(volume.read(channel=1), array[..., 1])
    array = noise((2, *SHAPE), "uint8")
    volume = open_volume(write_mha(tmp_path / "t.mha", array, isVector=False))
    assert (volume.channels, volume.timepoints) == (1, 2)
    np.testing.assert_array_equal(volume.read(timepoint=1), array[1])


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("um", 1), ("?", 1)])
def test_metaimages_may_name_a_unit(unit, factor, tmp_path):
    path = edit(write_mha(tmp_path / "a.mha"), "NDims = 3", f"NDims = 3\nDistanceUnits = {unit}")
    np.testing.assert_allclose(open_volume(path).grid.spacing, np.array(SPACING) * factor)
    np.testing.assert_allclose(open_volume(path).grid.origin, np.array(ORIGIN) * factor)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
@pytest.mark.parametrize(
    "sizes", ["", "ElementSpacing = nan 0.5 2", "ElementSpacing = 0 0.5 2", "ElementSpacing = -1 0.5 2"]
)
def test_metaimages_without_a_usable_spacing_ask(name, sizes, tmp_path):
    path = edit(write_mha(tmp_path / name), "ElementSpacing = 0.25 0.5 2\n", f"{sizes}\n" if sizes else "")
    with pytest.raises(
        InputError, match=r"a.mh. (does not say how large its voxels are|says that .* along x .*X,0.5,2)"
    ):
        open_volume(path)
    volume = open_volume(path, spacing=SPACING)
    assert volume.grid.spacing == SPACING
    np.testing.assert_array_equal(volume.read(), ARRAY)


@pytest.mark.parametrize(
    "sizes",
    [
        "spacings: nan 0.5 2",
        "spacings: 0 0.5 2",
        "spacings: -1 0.5 2",
        "space dimension: 3\nspace directions: (0,0,0) (0,0.5,0) (0,0,2)",
    ],
)
def test_nrrds_without_a_usable_spacing_ask(sizes, tmp_path):
    path = tmp_path / "a.nrrd"
    header = f"NRRD0004\ntype: uint16\ndimension: 3\nsizes: 10 6 4\n{sizes}\nendian: little\nencoding: raw\n\n"
    path.write_bytes(header.encode() + ARRAY.tobytes())
    with pytest.raises(
        InputError, match=r"a.nrrd says that its voxels are \S+ µm along x .*; give --spacing X,0.5,2"
    ):
        open_volume(path)
    volume = open_volume(path, spacing=SPACING)
    assert volume.grid == Grid(SHAPE, SPACING)
    np.testing.assert_array_equal(volume.read(), ARRAY)


@pytest.mark.parametrize("detached", [False, True])
def test_bzip2_nrrds_are_read(detached, tmp_path):
    path = write_bzip2_nrrd(tmp_path / ("a.nhdr" if detached else "a.nrrd"), detached=detached)
    volume = open_volume(path)
    assert volume.grid == Grid(SHAPE, SPACING, ORIGIN)
    np.testing.assert_array_equal(volume.read(), ARRAY)


def test_damage_to_a_bzip2_nrrd_is_said(tmp_path):
    path = write_bzip2_nrrd(tmp_path / "a.nrrd")
    content = path.read_bytes()
    for damaged in (content[:-20], content[:-60] + b"x" + content[-59:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a.nrrd cannot be read: "):
            open_volume(path).read()


def test_no_metaimage_is_said(tmp_path):
    (tmp_path / "text.mha").write_text("no image")
    with pytest.raises(InputError, match=r"text.mha is not a MetaImage file"):
        open_volume(tmp_path / "text.mha")
    path = edit(write_mha(tmp_path / "a.mha"), "DimSize = 10 6 4", "DimSize = ten")
    with pytest.raises(InputError, match=r"a.mha has the DimSize ten, which are no numbers of voxels"):
        open_volume(path)
    write_mha(tmp_path / "b.mhd")
    (tmp_path / "b.raw").unlink()
    with pytest.raises(DataError, match=r"b.mhd cannot be read"):
        open_volume(tmp_path / "b.mhd").read()
