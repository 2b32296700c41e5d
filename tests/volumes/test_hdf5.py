import json
import sys

import numpy as np
import pytest

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import coarser_levels, open_volume
from volume_files import SPACING, noise

h5py = pytest.importorskip("h5py")
SHAPE = (4, 6, 10)


def write(path, **arrays):
    """An HDF5 file of datasets, by name."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


@pytest.mark.parametrize("at", ["a/b/raw", "a/b", "a", "/"])
def test_the_voxel_size_is_that_of_the_dataset_or_a_group_around_it(at, tmp_path):
    path = write(tmp_path / "a.h5", **{"a/b/raw": noise(SHAPE, "uint16"), "other": noise(SHAPE, "uint8")})
    with pytest.raises(InputError, match=r"a.h5/a/b/raw does not say how large its voxels are; give --spacing"):
        open_volume(path / "a/b/raw")
    with h5py.File(path, "a") as file:
        file["/"].attrs["element_size_um"] = (9, 9, 9)
        file[at].attrs["element_size_um"] = SPACING
    assert open_volume(path / "a/b/raw").grid == Grid(SHAPE, SPACING)
    assert open_volume(path / "other").grid.spacing == (SPACING if at == "/" else (9, 9, 9))


def test_a_voxel_size_that_is_none_is_not_known(tmp_path):
    path = write(tmp_path / "a.h5", raw=noise(SHAPE, "uint16"))
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = (-1, 0.5, 0.5)
    with pytest.raises(InputError, match=r"its voxels are -1 µm along z .*; give --spacing 0.5,0.5,Z in µm"):
        open_volume(path)


@pytest.mark.parametrize("order", ["zyxc", "tzyxc", "xyz", "czyx"])
@pytest.mark.parametrize("told", ["axistags", "labels"])
def test_named_axes_are_taken_by_their_names(told, order, tmp_path):
    full = noise((2, 3, *SHAPE), "uint16")
    reduced = full[tuple(slice(None) if axis in order else 1 for axis in "tczyx")]
    kept = [axis for axis in "tczyx" if axis in order]
    path = write(tmp_path / "a.h5", raw=reduced.transpose([kept.index(axis) for axis in order]))
    with h5py.File(path, "a") as file:
        if told == "axistags":
            file["raw"].attrs["axistags"] = json.dumps({"axes": [{"key": axis, "typeFlags": 2} for axis in order]})
        else:
            for dimension, axis in zip(file["raw"].dims, order, strict=True):
                dimension.label = axis
    volume = open_volume(path, spacing=SPACING)
    assert (volume.timepoints, volume.channels) == (2 if "t" in order else 1, 3 if "c" in order else 1)
    assert volume.grid.shape == SHAPE
    region = Region((1, 2, 3), (3, 5, 9))
    found = volume.read(region, channel=volume.channels - 1, timepoint=volume.timepoints - 1)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, full[1, 2 if "c" in order else 1][region.slices])


def test_axistags_that_make_no_sense_are_named(tmp_path):
    path = write(tmp_path / "a.h5", raw=noise(SHAPE, "uint8"))
    with h5py.File(path, "a") as file:
        file["raw"].attrs["axistags"] = "z, y, x"
    with pytest.raises(InputError, match=r"a.h5/raw has axistags that name no axes"):
        open_volume(path)


@pytest.mark.parametrize("names", ["tyx", "xyx", ("z", "", "x")])
def test_names_of_axes_that_cannot_be_used_are_reported(names, tmp_path, caplog):
    array = noise(SHAPE, "uint8")
    path = write(tmp_path / "a.h5", raw=array)
    with h5py.File(path, "a") as file:
        for dimension, name in zip(file["raw"].dims, names, strict=True):
            dimension.label = name
    np.testing.assert_array_equal(open_volume(path, spacing=SPACING).read(), array)
    shown = ", ".join(name or "?" for name in names)
    assert f"a.h5/raw names its axes {shown}; it needs x, y and z" in caplog.text


def test_axes_without_names_go_by_position(tmp_path, caplog):
    array = noise((2, 3, *SHAPE), "uint16")
    volume = open_volume(write(tmp_path / "a.h5", raw=array), spacing=SPACING)
    assert "names its axes" not in caplog.text
    assert (volume.timepoints, volume.channels, volume.grid.shape) == (2, 3, SHAPE)
    np.testing.assert_array_equal(volume.read(channel=2, timepoint=1), array[1, 2])


def test_chunks_that_nobody_wrote_have_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("raw", (16, 16, 16), "uint16", chunks=(8, 8, 8))
        dataset[8:, :8, :8] = 7
    volume = open_volume(tmp_path / "a.h5", spacing=SPACING)
    assert volume.chunk_shape == (8, 8, 8)
    found = volume.read()
    assert (found[8:, :8, :8] == 7).all()
    assert found.sum() == 7 * 8**3


def test_the_dataset_may_be_left_out_only_where_there_is_one(tmp_path):
    array = noise(SHAPE, "uint8")
    path = write(tmp_path / "a.h5", **{"deep/{er}/raw": array, "table": np.zeros((3, 4))})
    for uri in (path, path / "deep", path / "deep/{er}/raw"):
        np.testing.assert_array_equal(open_volume(uri, spacing=SPACING).read(), array)
    several = write(tmp_path / "b.h5", **{"t0/raw": array, "t1/raw": array})
    with pytest.raises(
        InputError, match=r"does not hold exactly one volume, so name a dataset; it holds t0/raw, t1/"
    ):
        open_volume(several)
    with pytest.raises(InputError, match=r"b.h5 has no dataset t0/row; did you mean t0/raw"):
        open_volume(several / "t0" / "row")
    with pytest.raises(InputError, match=r"a.h5 has no dataset deep/{er}/raw/s0; did you mean deep/{er}/raw"):
        open_volume(path / "deep/{er}/raw/s0")
    with pytest.raises(InputError, match=r"c.h5 does not hold exactly one volume, .*; it holds none"):
        open_volume(write(tmp_path / "c.h5"))


def test_what_is_no_volume_is_said(tmp_path):
    (tmp_path / "text.h5").write_text("no image")
    with pytest.raises(InputError, match=r"text.h5 is not an HDF5 file that can be read"):
        open_volume(tmp_path / "text.h5")
    with pytest.raises(InputError, match=r"^there is no .*gone.h5; check the path.$"):
        open_volume(tmp_path / "gone.h5" / "raw")
    path = write(tmp_path / "a.h5", flat=noise((6, 10), "uint8"), complex=np.zeros(SHAPE, "complex64"))
    with pytest.raises(InputError, match=r"a.h5/flat has 2 dimensions; only 3-D volumes can be aligned"):
        open_volume(path / "flat")
    with pytest.raises(InputError, match=r"a.h5/complex holds complex64 values"):
        open_volume(path / "complex")


def test_a_compression_without_a_decoder_is_said_before_anything_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 6, 10))
        plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(SHAPE)
        h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, plist)
    with pytest.raises(
        InputError, match=r"a.h5/raw is compressed by .*, which HDF5 has no plugin for; set HDF5_PLUGIN"
    ):
        open_volume(tmp_path / "a.h5", spacing=SPACING)


def test_without_h5py_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", raw=noise(SHAPE, "uint8"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        InputError, match=r"a.h5 is an HDF5 file, which needs h5py; install it with: pip install 'ter"
    ):
        open_volume(path)


def characters(value):
    """Text as Imaris stores it in attributes."""
    return np.array([c.encode() for c in str(value)], dtype="S1")


def write_imaris(path, levels, extent, names=()):
    """An Imaris file; `levels` are (t, c, z, y, x), which are padded to chunks of 8; the extent is ((x, y, z), …)."""
    with h5py.File(path, "w") as file:
        image = file.create_group("DataSetInfo/Image")
        for end, corner in zip(("Min", "Max"), extent, strict=True):
            for i, value in enumerate(corner):
                image.attrs[f"Ext{end}{i}"] = characters(f"{value:.3f}")
        for c, name in enumerate(names):
            file.create_group(f"DataSetInfo/Channel {c}").attrs["Name"] = characters(name)
        for level, full in enumerate(levels):
            for t, c in np.ndindex(full.shape[:2]):
                channel = file.create_group(f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                for axis, n in zip("ZYX", full.shape[2:], strict=True):
                    channel.attrs[f"ImageSize{axis}"] = characters(n)
                padded = np.pad(full[t, c], [(0, -n % 8) for n in full.shape[2:]])
                channel.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
    return path


def test_levels_of_imaris_files_have_all_channels_and_their_place(tmp_path):
    fine, coarse = noise((2, 3, 5, 19, 33), "uint16"), noise((2, 3, 2, 9, 16), "uint16")
    extent = ((100, 200, -50), (100 + 33 * 0.25, 200 + 19 * 0.5, -40))
    path = write_imaris(tmp_path / "a.ims", [fine, coarse], extent, ["DAPI", "GFP", "RFP"])
    for uri in (path, path / "DataSet/ResolutionLevel 0"):
        volume = open_volume(uri)
        assert volume.grid == Grid((5, 19, 33), SPACING, (-50, 200, 100))
        assert (volume.timepoints, volume.channels, volume.channel_names) == (2, 3, ("DAPI", "GFP", "RFP"))
        np.testing.assert_array_equal(volume.read(channel=2, timepoint=1), fine[1, 2])
    level = open_volume(path / "DataSet/ResolutionLevel 1")
    assert level.grid == open_volume(path).grid.downsample((2, 2, 2))
    np.testing.assert_array_equal(level.read(channel=1), coarse[0, 1])
    assert list(coarser_levels(open_volume(path))) == [(2, 2, 2)]
    with pytest.raises(InputError, match=r"a.ims has no dataset DataSet/ResolutionLevel 7"):
        open_volume(path / "DataSet/ResolutionLevel 7")


def test_an_imaris_file_that_does_not_say_its_extent_is_an_error(tmp_path):
    path = write_imaris(tmp_path / "a.ims", [noise((1, 1, 4, 4, 4), "uint8")], ((0, 0, 0), (4, 4, 4)))
    with h5py.File(path, "a") as file:
        del file["DataSetInfo/Image"].attrs["ExtMax1"]
    said = r"a.ims is an Imaris file whose DataSet/ResolutionLevel 0 cannot be understood"
    with pytest.raises(InputError, match=said):
        open_volume(path)
    with h5py.File(path, "a") as file:
        file.move("DataSet/ResolutionLevel 0/TimePoint 0", "DataSet/ResolutionLevel 0/TimePoint 1")
    with pytest.raises(
        InputError, match=r"a.ims is an Imaris file whose DataSet/ResolutionLevel 0 cannot be understood"
    ):
        open_volume(path)


XML = """<SpimData version="0.2"><SequenceDescription><ViewSetups>
<ViewSetup><id>3</id><size>1 1 1</size><voxelSize><unit>nm</unit><size>9 9 9</size></voxelSize></ViewSetup>
<ViewSetup><id>0</id><size>33 19 5</size><voxelSize><unit>{unit}</unit><size>{size}</size></voxelSize></ViewSetup>
</ViewSetups></SequenceDescription></SpimData>"""


def write_bdv(path, levels, xml=None):
    """BigDataViewer's files of one timepoint and setup, whose levels halve y and x."""
    with h5py.File(path, "w") as file:
        file["s00/resolutions"] = np.array([(2.0**n, 2.0**n, 1) for n in range(len(levels))])
        for n, array in enumerate(levels):
            file.create_dataset(f"t00000/s00/{n}/cells", data=array.view("int16"), chunks=True)
    if xml:
        path.with_suffix(".xml").write_text(xml)
    return path


def test_bigdataviewers_files_have_the_voxel_size_of_their_xml_and_unsigned_voxels(tmp_path):
    fine, coarse = noise((5, 20, 32), "uint16"), noise((5, 10, 16), "uint16")
    path = write_bdv(tmp_path / "a.h5", [fine, coarse], XML.format(unit="nm", size="250 500 2000.0"))
    volume = open_volume(path / "t00000/s00/0/cells")
    assert volume.grid == Grid(fine.shape, SPACING)
    assert volume.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(volume.read(), fine)
    level = open_volume(path / "t00000/s00/1/cells")
    assert level.grid == volume.grid.downsample((1, 2, 2))
    np.testing.assert_array_equal(level.read(), coarse)
    assert list(coarser_levels(volume)) == [(1, 2, 2)]
    before = volume.digest()
    path.with_suffix(".xml").write_text(XML.format(unit="nm", size="250 500 2000.00"))
    assert open_volume(path / "t00000/s00/0/cells").digest() != before


@pytest.mark.parametrize("xml", [None, XML.format(unit="pixel", size="1 1 1"), XML.replace("<id>0", "<id>1")])
def test_bigdataviewers_files_without_a_voxel_size_ask(xml, tmp_path):
    levels = [noise((5, 20, 32), "uint16"), noise((5, 10, 16), "uint16")]
    path = write_bdv(tmp_path / "a.h5", levels, xml)
    with pytest.raises(InputError, match=r"1/cells does not say how large its voxels are"):
        open_volume(path / "t00000/s00/1/cells")
    assert open_volume(path / "t00000/s00/1/cells", spacing=(2, 4, 4)).grid.origin == (0, 1, 1)


@pytest.mark.parametrize("xml", ["no xml", XML.format(unit="nm", size="250 500")])
def test_an_xml_that_makes_no_sense_is_named(xml, tmp_path):
    path = write_bdv(tmp_path / "a.h5", [noise((5, 20, 32), "uint16")], xml)
    with pytest.raises(InputError, match=r"a.xml does not give the voxel size as BigDataViewer writes it"):
        open_volume(path)


def test_voxels_that_are_damaged_or_gone_are_an_error(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=noise((16, 16, 16), "uint16"), chunks=(8, 8, 8), compression="gzip")
    volume, gone = (open_volume(path, spacing=SPACING) for _ in range(2))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.h5/raw cannot be read from \(0, 0, 0\) to \(16, 16, 16\)"):
        volume.read()
    path.unlink()
    with pytest.raises(DataError, match=r"a.h5/raw cannot be read"):
        gone.read()
