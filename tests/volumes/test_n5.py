import json

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.volumes import open_volume
from volume_files import noise, write_attributes, write_n5

SHAPE = (4, 6, 10)
XYZ = [0.25, 0.5, 2.0]
ZYX = (2.0, 0.5, 0.25)


def geometry(path, **options):
    grid = open_volume(path, **options).grid
    return grid.spacing, grid.origin


@pytest.mark.parametrize(
    ("attributes", "spacing", "origin"),
    [
        ({"pixelResolution": XYZ}, ZYX, (0, 0, 0)),
        ({"pixelResolution": {"dimensions": XYZ, "unit": "um"}}, ZYX, (0, 0, 0)),
        ({"pixelResolution": {"dimensions": XYZ, "unit": "µm"}}, ZYX, (0, 0, 0)),
        ({"pixelResolution": {"dimensions": [250, 500, 2000], "unit": "nm"}}, ZYX, (0, 0, 0)),
        ({"pixelResolution": {"dimensions": [0.25, 0.5, 2], "unit": "mm"}}, (2000, 500, 250), (0, 0, 0)),
        ({"pixelResolution": XYZ, "downsamplingFactors": [1, 1, 1]}, ZYX, (0, 0, 0)),
        ({"pixelResolution": XYZ, "downsamplingFactors": [4, 2, 1]}, (2, 1, 1), (0, 0.25, 0.375)),
        (
            {"pixelResolution": {"dimensions": XYZ, "unit": "um"}, "downsamplingFactors": [2, 2, 2]},
            (4, 1, 0.5),
            (1, 0.25, 0.125),
        ),
        ({"resolution": [250, 500, 2000], "units": ["nm", "nm", "nm"]}, ZYX, (0, 0, 0)),
        ({"resolution": [250, 0.5, 0.002], "units": ["nm", "um", "mm"]}, ZYX, (0, 0, 0)),
        (
            {
                "transform": {
                    "axes": ["z", "y", "x"],
                    "scale": [2000, 500, 250],
                    "translate": [100, 0, 50],
                    "units": ["nm", "nm", "nm"],
                }
            },
            ZYX,
            (0.1, 0, 0.05),
        ),
    ],
)
def test_reads_every_convention_of_a_dataset(attributes, spacing, origin, tmp_path):
    path = write_n5(tmp_path / "a.n5" / "raw", noise(SHAPE, "uint16"), attributes)
    found_spacing, found_origin = geometry(path)
    np.testing.assert_allclose(found_spacing, spacing, rtol=1e-12)
    np.testing.assert_allclose(found_origin, origin, rtol=1e-12)


PLANES = noise((2, 4, 6, 10), "uint16")  # c, z, y, x
COSEM = {"scale": [2000, 1, 500, 250], "translate": [0, 0, 0, 0], "units": ["nm", "", "nm", "nm"]}
IMAGEJ = {"pixelWidth": 0.25, "pixelHeight": 0.5, "pixelDepth": 2.0, "pixelUnit": "um"}


@pytest.mark.parametrize(
    ("stored", "attributes"),
    [
        ("zcyx", {"axes": ["x", "y", "c", "z"], "pixelResolution": XYZ}),
        ("zcyx", {"axes": ["x", "y", "c", "z"], "pixelResolution": [0.25, 0.5, 1, 2.0]}),
        ("zcyx", {"axes": ["X", "Y", "channel", "Z"], "resolution": [0.25, 0.5, 1, 2], "units": ["um"] * 4}),
        ("zcyx", {"axes": [{"name": name} for name in "xycz"], "pixelResolution": XYZ}),
        ("zyxc", {"axes": ["c", "x", "y", "z"], "pixelResolution": [1, 0.25, 0.5, 2.0]}),
        ("cxyz", {"axes": ["z", "y", "x", "c"], "pixelResolution": [2.0, 0.5, 0.25, 1]}),
        ("czyx", {"axes": ["a", "b", "c", "d"], "pixelResolution": XYZ}),
        ("czyx", {"pixelResolution": XYZ}),
        ("zcyx", {"transform": {**COSEM, "axes": ["z", "c", "y", "x"]}}),
        ("zcyx", {"transform": {**COSEM, "axes": ["z", "c", "y", "x"], "ordering": "C"}}),
        (
            "zcyx",
            {
                "transform": {
                    **{key: values[::-1] for key, values in COSEM.items()},
                    "axes": ["x", "y", "c", "z"],
                    "ordering": "F",
                }
            },
        ),
        ("zcyx", {**IMAGEJ, "numChannels": 2, "numSlices": 4, "numFrames": 1}),
        ("czyx", {**IMAGEJ, "numChannels": 4, "numSlices": 4, "numFrames": 4}),
    ],
)
def test_channels_are_where_the_attributes_say(stored, attributes, tmp_path):
    array = PLANES.transpose(["czyx".index(axis) for axis in stored])
    path = write_n5(tmp_path / "a.n5" / "image", array)
    file = path / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | attributes))
    volume = open_volume(path)
    assert (volume.channels, volume.grid.spacing) == (2, ZYX)
    for channel in range(2):
        np.testing.assert_array_equal(volume.read(channel=channel), PLANES[channel])


def test_axes_that_contradict_themselves_are_reported(tmp_path, caplog):
    path = write_n5(tmp_path / "a.n5" / "image", PLANES, {"pixelResolution": XYZ})
    file = path / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"axes": ["x", "y", "x", "z"]}))
    assert open_volume(path).channels == 2
    assert "image names its axes x, y, x, z; it needs x, y and z" in caplog.text


def test_stacks_of_imagej_have_place_and_time(tmp_path):
    array = noise((3, 4, 6, 10), "uint16")
    counts = {"numChannels": 1, "numSlices": 4, "numFrames": 3, "frameInterval": 1.5}
    place = {"xOrigin": 2.0, "yOrigin": 0.0, "zOrigin": -1.0, "pixelUnit": "nm", "pixelWidth": 250.0}
    attributes = {**IMAGEJ, **counts, **place, "pixelHeight": 500, "pixelDepth": 2000}
    volume = open_volume(write_n5(tmp_path / "a.n5" / "image", array, attributes))
    assert (volume.timepoints, volume.channels, volume.time_step) == (3, 1, 1.5)
    assert (volume.grid.spacing, volume.grid.origin) == (ZYX, (2.0, 0.0, -0.5))
    np.testing.assert_array_equal(volume.read(timepoint=2), array[2])
    path = write_n5(tmp_path / "b.n5" / "image", array, {**attributes, "pixelUnit": "pixel"})
    with pytest.raises(InputError, match="does not say how large its voxels are"):
        open_volume(path)


@pytest.mark.parametrize("key", ["scales", "downsamplingFactors"])
def test_takes_resolution_and_factors_from_the_groups_around(key, tmp_path):
    root = tmp_path / "a.n5"
    write_attributes(
        root, {"pixelResolution": {"dimensions": XYZ, "unit": "um"}, key: [[1, 1, 1], [2, 2, 1], [4, 4, 1]]}
    )
    for level in range(4):
        write_n5(root / "c1" / f"s{level}", noise(SHAPE, "uint16"))
    assert geometry(root / "c1" / "s0") == (ZYX, (0, 0, 0))
    assert geometry(root / "c1" / "s2") == ((2, 2, 1), (0, 0.75, 0.375))
    with pytest.raises(InputError, match=r"s3 does not say how large its voxels are; give --spacing X,Y,Z in µm"):
        open_volume(root / "c1" / "s3")


def test_own_factors_hold_with_the_resolution_of_the_root(tmp_path):
    write_attributes(tmp_path / "a.n5", {"pixelResolution": {"dimensions": XYZ, "unit": "um"}})
    path = write_n5(tmp_path / "a.n5" / "lowres", noise(SHAPE, "uint16"), {"downsamplingFactors": [2, 2, 2]})
    assert geometry(path) == ((4, 1, 0.5), (1, 0.25, 0.125))


@pytest.mark.parametrize(
    "attributes",
    [{}, {"pixelResolution": {"dimensions": XYZ, "unit": "pixel"}}, {"resolution": XYZ, "units": ["um", "um", "?"]}],
)
def test_a_missing_voxel_size_is_never_guessed(attributes, tmp_path):
    path = write_n5(tmp_path / "a.n5" / "raw", noise(SHAPE, "uint16"), attributes)
    with pytest.raises(InputError, match=r"raw does not say .* give --fixed-spacing \S+,Z in µm\.$"):
        open_volume(path, option="--fixed-spacing")
    assert geometry(path, spacing=ZYX) == (ZYX, (0, 0, 0))


def test_an_overriding_spacing_keeps_the_half_voxel_of_a_level(tmp_path):
    stated = write_n5(
        tmp_path / "a.n5" / "b", noise(SHAPE, "u1"), {"pixelResolution": XYZ, "downsamplingFactors": [2, 2, 4]}
    )
    silent = write_n5(tmp_path / "a.n5" / "c", noise(SHAPE, "u1"), {"downsamplingFactors": [2, 2, 4]})
    for path in (stated, silent):
        assert geometry(path, spacing=(8, 2, 1)) == ((8, 2, 1), (3, 0.5, 0.25))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, 1, float("nan"))])
def test_an_overriding_spacing_must_be_three_positive_numbers(spacing, tmp_path):
    path = write_n5(tmp_path / "a.n5" / "raw", noise(SHAPE, "uint16"))
    with pytest.raises(InputError, match=r"--moving-spacing needs three positive numbers"):
        open_volume(path, spacing=spacing, option="--moving-spacing")


def test_broken_attributes_are_named(tmp_path):
    root = tmp_path / "a.n5"
    path = write_n5(root / "raw", noise(SHAPE, "uint16"), {"pixelResolution": [1, "wide", 3]})
    with pytest.raises(InputError, match=r"raw/attributes.json has .*wide.* where x,y,z numbers are expected"):
        open_volume(path)
    path = write_n5(root / "zero", noise(SHAPE, "uint16"), {"pixelResolution": XYZ, "downsamplingFactors": [1, 0, 3]})
    with pytest.raises(InputError, match=r"where positive numbers are expected"):
        open_volume(path)
    (path / "attributes.json").write_text("{")
    with pytest.raises(InputError, match=r"zero/attributes.json is not valid JSON"):
        open_volume(path)
    (path / "attributes.json").write_text("[]")
    with pytest.raises(InputError, match=r"zero/attributes.json does not hold a JSON object"):
        open_volume(path)


def test_reads_the_channel_groups_of_a_level_together(tmp_path):
    root = tmp_path / "a.n5"
    arrays = [noise(SHAPE, "uint16", seed) for seed in range(11)]
    for c, array in enumerate(arrays):
        write_n5(root / f"c{c}" / "s0", array, {"pixelResolution": XYZ})
        write_n5(
            root / f"c{c}" / "s1", array[::2, ::2, ::2], {"pixelResolution": XYZ, "downsamplingFactors": [2, 2, 2]}
        )
    for uri, strides in ((root, 1), (root / "s0", 1), (root / "s1", 2)):
        volume = open_volume(uri)
        assert volume.channels == 11
        for c in (1, 10):
            np.testing.assert_array_equal(volume.read(channel=c), arrays[c][::strides, ::strides, ::strides])
    assert open_volume(root / "c3" / "s1").channels == open_volume(root / "c3").channels == 1
    np.testing.assert_array_equal(open_volume(root / "c3").read(), arrays[3])


def test_channels_of_different_sizes_are_not_one_volume(tmp_path):
    write_n5(tmp_path / "a.n5" / "c0" / "s0", noise((4, 4, 4), "uint8"))
    write_n5(tmp_path / "a.n5" / "c1" / "s0", noise((4, 4, 5), "uint8"))
    with pytest.raises(InputError, match=r"a.n5/s0 differ in size or type; name one of them"):
        open_volume(tmp_path / "a.n5" / "s0")


@pytest.mark.parametrize("ndim", [4, 5])
def test_reads_channels_and_times_in_one_dataset(ndim, tmp_path):
    array = noise((2, 3, *SHAPE)[-ndim:], "uint16")
    volume = open_volume(write_n5(tmp_path / "a.n5", array, {"pixelResolution": [*XYZ, 1, 1][:ndim]}))
    assert (volume.channels, volume.timepoints) == (3, 2 if ndim == 5 else 1)
    assert volume.grid == Grid(SHAPE, ZYX)
    region = Region((1, 2, 3), (3, 5, 9))
    found = volume.read(region, channel=2, timepoint=ndim - 4)
    np.testing.assert_array_equal(found, (array[1] if ndim == 5 else array)[2][region.slices])


@pytest.mark.parametrize(
    "compression",
    [
        {"type": "raw"},
        {"type": "gzip", "useZlib": True},
        {"type": "bzip2"},
        {"type": "xz"},
        {"type": "zstd"},
        {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    ],
)
def test_reads_every_codec(compression, tmp_path):
    array = noise((9, 17, 12), "uint16")
    path = write_n5(tmp_path / "a.n5" / "s0", array, {"pixelResolution": XYZ}, compression=compression)
    np.testing.assert_array_equal(open_volume(path).read(), array)


def test_says_which_codec_it_cannot_read(tmp_path):
    write_attributes(
        tmp_path / "a.n5" / "s0",
        {"dimensions": [4, 4, 4], "blockSize": [4, 4, 4], "dataType": "uint8", "compression": {"type": "lz4"}},
    )
    with pytest.raises(InputError, match=r"a.n5/s0 is compressed by lz4, which cannot be read"):
        open_volume(tmp_path / "a.n5" / "s0")


def test_lists_the_datasets_and_offers_the_nearest(tmp_path):
    for name in ("lowres", "highres"):
        write_n5(tmp_path / "fix.n5" / name, noise(SHAPE, "uint8"))
    with pytest.raises(InputError, match=r"has no dataset lowers; did you mean lowres. It holds highres, lowres"):
        open_volume(tmp_path / "fix.n5" / "lowers")
    with pytest.raises(InputError, match=r"has no dataset s0, which is taken by default; it holds highres, lowres"):
        open_volume(tmp_path / "fix.n5")
    write_n5(tmp_path / "c0" / "empty.n5", noise(SHAPE, "uint8"))
    (tmp_path / "empty.n5").mkdir()
    with pytest.raises(InputError, match=r"empty.n5 has no dataset s0, which is taken by default"):
        open_volume(tmp_path / "empty.n5")
    with pytest.raises(InputError, match=r"empty.n5 has no dataset s1; it holds none"):
        open_volume(tmp_path / "empty.n5" / "s1")


def test_a_flat_or_empty_dataset_is_no_volume(tmp_path):
    flat = write_n5(tmp_path / "a.n5" / "flat", noise((6, 10), "uint8"))
    with pytest.raises(InputError, match=r"flat has 2 dimensions; only 3-D volumes can be aligned"):
        open_volume(flat)
    empty = write_n5(tmp_path / "a.n5" / "empty", np.zeros((0, 6, 10), "uint8"))
    with pytest.raises(InputError, match=r"empty is empty: it has 10 x 6 x 0 voxels \(x, y, z\)"):
        open_volume(empty)


def test_missing_blocks_read_as_zeros(tmp_path):
    path = write_n5(tmp_path / "a.n5" / "s0", np.ones((8, 8, 16), "uint8"), {"pixelResolution": XYZ})
    (path / "1" / "0" / "0").unlink()
    found = open_volume(path).read()
    assert found[..., :8].all()
    assert not found[..., 8:].any()
