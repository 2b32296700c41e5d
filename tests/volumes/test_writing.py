import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorstore as ts
import zarr

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import (
    Chunking,
    audit_volume,
    check_output,
    create_planned,
    create_volume,
    open_volume,
    plan_volume,
)
from teralign.volumes.pyramid import mean, mode
from teralign.volumes.zarr_nodes import METADATA_FILES
from volume_files import noise

GRID = Grid((20, 70, 45), (2.0, 0.5, 0.5), (2.0, -2.0, 4.0))
CHUNKS = Chunking((16, 32, 16))
SHARDS = Chunking((16, 32, 16), shard_side=32, min_sharded_voxels=0)
SMALL = {"chunking": CHUNKS, "levels": 3}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


@pytest.fixture(params=["zarr", "zarr2", "n5", "sharded", "precomputed"])
def kind(request):
    return request.param


@pytest.fixture
def target(kind, tmp_path):
    return tmp_path / f"out.{kind if kind in ('n5', 'precomputed') else 'zarr'}"


@pytest.fixture
def small(kind):
    """Options of volumes of small chunks, in shards or of another version."""
    return SMALL | {"sharded": {"chunking": SHARDS}, "zarr2": {"ome_zarr": "0.4"}}.get(kind, {})


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def fill(writer, array, **where):
    """Write a volume unit by unit, then its levels."""
    for region in writer.levels[0].region.split(writer.write_shape):
        writer.write(region, array[region.slices], **where)
    for level, grid in enumerate(writer.levels[1:], 1):
        for region in grid.region.split(writer.write_shape):
            writer.build_level_region(level, region, **where)


class TestEveryOutput:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_is_read_back_to_the_bit_with_its_levels_in_place(self, target, small, dtype):
        if target.suffix == ".precomputed" and dtype == "float64":
            pytest.skip("a format without float64")
        array = noise(GRID.shape, dtype)
        writer = create_volume(target, grid=GRID, dtype=dtype, **small)
        fill(writer, array)
        expected = array
        for level, grid in enumerate(writer.levels):
            volume = open_volume(target / f"s{level}")
            assert volume.grid == grid
            assert volume.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(volume.read(), expected)
            np.testing.assert_array_equal(writer.read(grid.region, level=level), expected)
            expected = mean(expected, (1, 2, 2))
        assert [g.spacing for g in writer.levels] == [(2, 0.5, 0.5), (2, 1, 1), (2, 2, 2)]
        assert [g.origin for g in writer.levels] == [(2, -2, 4), (2, -1.75, 4.25), (2, -1.25, 4.75)]

    def test_labels_are_never_averaged(self, target, small):
        labels = np.random.default_rng(0).choice(np.array([0, 5, 2**63 + 3], dtype=np.uint64), GRID.shape)
        writer = create_volume(target, grid=GRID, dtype=np.uint64, label=True, **small)
        fill(writer, labels)
        np.testing.assert_array_equal(open_volume(target / "s1").read(), mode(labels, (1, 2, 2)))

    def test_holds_channels_apart(self, target, small):
        arrays = [noise(GRID.shape, "uint16", seed) for seed in range(3)]
        writer = create_volume(target, grid=GRID, dtype="uint16", channels=3, **small)
        for c, array in enumerate(arrays):
            fill(writer, array, channel=c)
        fine, coarse = open_volume(target), open_volume(target / "s1")
        assert fine.channels == coarse.channels == 3
        for c, array in enumerate(arrays):
            np.testing.assert_array_equal(fine.read(channel=c), array)
            np.testing.assert_array_equal(coarse.read(channel=c), mean(array, (1, 2, 2)))

    def test_goes_on_where_another_process_stopped(self, target, small):
        array = noise(GRID.shape, "uint16")
        units = list(GRID.region.split(create_volume(target, grid=GRID, dtype="uint16", **small).write_shape))
        for unit in units:
            again = create_planned(target, plan_volume(target, grid=GRID, dtype="uint16", **small), resume=True)
            pickle.loads(pickle.dumps(again)).write(unit, array[unit.slices])
        np.testing.assert_array_equal(open_volume(target).read(), array)

    def test_does_not_go_on_with_another_volume(self, target, small):
        create_volume(target, grid=GRID, dtype="uint16", **small)
        with pytest.raises(InputError, match=r"s0 exists already; remove it or choose another output"):
            create_volume(target, grid=GRID, dtype="uint16", **small)
        with pytest.raises(InputError, match=r"s0 exists already and is another array"):
            create_planned(target, plan_volume(target, grid=GRID, dtype="uint8", **small), resume=True)

    def test_is_written_by_whole_units_only(self, target, small):
        writer = create_volume(target, grid=GRID, dtype="uint16", **small)
        z, y, x = writer.write_shape
        whole = Region((0, 0, 0), (z, y, x)).intersect(GRID.region)
        for region in (Region((1, 0, 0), whole.stop), Region((0, 1, 0), whole.stop), Region((0, 0, 0), (1, y, x))):
            with pytest.raises(ValueError, match=r"cuts through write units"):
                writer.write(region, np.zeros(region.shape, "uint16"))
        with pytest.raises(ValueError, match=r"not inside level 0"):
            writer.write(Region((0, 0, 0), (z, y, 10 * x)), np.zeros((z, y, 10 * x), "uint16"))
        with pytest.raises(ValueError, match=r"do not fit uint16 voxels"):
            writer.write(whole, np.zeros(whole.shape, "float32"))
        with pytest.raises(ValueError, match=r"levels 1 to 2 to build, not 3"):
            writer.build_level_region(3, whole)
        with pytest.raises(ValueError, match=r"no channel 1 at timepoint 0 in level 0"):
            writer.read(whole, channel=1)

    def test_units_written_by_several_processes_at_once_all_arrive(self, target, small, processes):
        array = noise(GRID.shape, "uint16")
        writer = create_volume(target, grid=GRID, dtype="uint16", **small)
        units = list(GRID.region.split(writer.write_shape))
        for _ in processes.map(writer.write, units, [array[unit.slices] for unit in units]):
            pass
        np.testing.assert_array_equal(open_volume(target).read(), array)

    def test_none_of_600_writes_of_neighbours_by_four_processes_is_lost(self, target, processes, small):
        options = small | {"chunking": replace(small["chunking"], shape=(8,) * 3, shard_side=16), "levels": 1}
        probe = create_volume(target.with_name(f"probe{target.suffix}"), grid=GRID, dtype="uint16", **options)
        z, y, x = (n * unit for n, unit in zip((6, 10, 10), probe.write_shape, strict=True))
        grid = Grid((z, y, x), GRID.spacing)
        array = noise(grid.shape, "uint16")
        writer = create_volume(target, grid=grid, dtype="uint16", **options)
        units = list(grid.region.split(writer.write_shape))
        stored = [
            file for files in processes.map(writer.write, units, [array[u.slices] for u in units]) for file in files
        ]
        writer.finish(stored)
        assert len(units) == len({file.index for file in stored}) == 600
        np.testing.assert_array_equal(open_volume(target).read(), array)
        assert all(found.state == "whole" for found in audit_volume(open_volume(target)).findings(2))

    def test_leaves_nothing_beside_the_volume(self, target, small):
        fill(create_volume(target, grid=GRID, dtype="uint16", **small), noise(GRID.shape, "uint16"))
        names = {p.name for p in target.rglob("*")} - set(METADATA_FILES)
        assert [name for name in names if name.startswith(".") or "lock" in name or "tmp" in name] == []

    def test_damage_is_found_when_it_is_read(self, target, small):
        if target.suffix == ".precomputed":
            pytest.skip("raw chunks have no checksum: only the manifest knows")
        writer = create_volume(target, grid=GRID, dtype="uint16", **small)
        fill(writer, noise(GRID.shape, "uint16"))
        pristine = {
            p: p.read_bytes()
            for p in target.rglob("*")
            if p.is_file() and not p.name.endswith((".json", *METADATA_FILES))
        }
        rng = np.random.default_rng(0)
        for path in sorted(pristine)[:6]:
            content = bytearray(pristine[path])
            content[int(rng.integers(len(content) // 3, len(content)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(content)
            with pytest.raises(DataError, match=rf"{target}.* cannot be read from"):
                for level in range(len(writer.levels)):
                    open_volume(target / f"s{level}").read()
            path.write_bytes(pristine[path])


def test_timepoints_and_bits_go_into_ome_zarr(tmp_path):
    mask = noise((2, 2, *GRID.shape), "uint8") > 128
    writer = create_volume(tmp_path / "a.zarr", grid=GRID, dtype=bool, channels=2, timepoints=2, **SMALL)
    for t in range(2):
        for c in range(2):
            fill(writer, mask[t, c], channel=c, timepoint=t)
    volume = open_volume(tmp_path / "a.zarr")
    assert (volume.timepoints, volume.channels, volume.dtype) == (2, 2, np.dtype(bool))
    np.testing.assert_array_equal(volume.read(channel=1, timepoint=1), mask[1, 1])


def test_precomputed_is_what_neuroglancer_looks_for(tmp_path):
    labels = noise(GRID.shape, "uint64")
    path = tmp_path / "labels.precomputed"
    fill(create_volume(path, grid=GRID, dtype="uint64", label=True, **SMALL), labels)
    info = json.loads((path / "info").read_text())
    assert info["@type"] == "neuroglancer_multiscale_volume"
    assert (info["type"], info["data_type"], info["num_channels"]) == ("segmentation", "uint64", 1)
    assert [scale["key"] for scale in info["scales"]] == ["s0", "s1", "s2"]
    coarsest = info["scales"][2]
    assert coarsest["resolution"] == [2000, 2000, 2000]
    assert coarsest["voxel_offset"] == [2, -1, 1]
    assert coarsest["size"] == [11, 17, 20]
    assert (coarsest["encoding"], coarsest["chunk_sizes"]) == ("raw", [[16, 32, 16]])
    first = np.frombuffer((path / "s0" / "8-24_-4-28_1-17").read_bytes(), "<u8").reshape(16, 32, 16)
    np.testing.assert_array_equal(first, labels[:16, :32, :16])


def test_precomputed_lies_at_whole_voxels(tmp_path, caplog):
    grid = Grid(GRID.shape, GRID.spacing, (1.0, -2.0, 4.1))
    writer = create_volume(tmp_path / "a.precomputed", grid=grid, dtype="uint8", **SMALL)
    assert "moved to the nearest whole voxels" in caplog.text
    assert "s0 by 0.5, s1 by 0.5, s2 by 0.5" in caplog.text
    for level, exact in enumerate(writer.levels):
        found = open_volume(tmp_path / "a.precomputed" / f"s{level}").grid
        assert found.spacing == exact.spacing
        moved = np.abs(np.subtract(found.origin, exact.origin)) / exact.spacing
        assert moved.max() <= 0.5


def test_what_precomputed_cannot_hold_is_said(tmp_path):
    with pytest.raises(InputError, match=r"Neuroglancer precomputed cannot hold float64 values; write to a .zarr"):
        plan_volume(tmp_path / "a.precomputed", grid=GRID, dtype="float64")
    with pytest.raises(InputError, match=r"precomputed has no place for 2 timepoints; write to a .zarr"):
        plan_volume(tmp_path / "a.precomputed", grid=GRID, dtype="uint8", timepoints=2)
    with pytest.raises(InputError, match=r"a.precomputed, which is one image with its scales; name the image itself"):
        plan_volume(tmp_path / "a.precomputed" / "s0", grid=GRID, dtype="uint8")


def test_what_n5_cannot_hold_is_said(tmp_path):
    with pytest.raises(InputError, match=r"N5 cannot hold bool values; write to a .zarr"):
        create_volume(tmp_path / "a.n5", grid=GRID, dtype=bool)
    with pytest.raises(InputError, match=r"N5 has no place for 2 timepoints; write to a .zarr"):
        create_volume(tmp_path / "a.n5", grid=GRID, dtype="uint8", timepoints=2)
    with pytest.raises(InputError, match=r"complex64 voxels cannot be written"):
        create_volume(tmp_path / "a.zarr", grid=GRID, dtype="complex64")


def test_ome_zarr_is_what_the_specification_says(tmp_path):
    array = noise(GRID.shape, "uint16")
    writer = create_volume(
        tmp_path / "out.zarr" / "round", grid=GRID, dtype="uint16", channels=2, channel_names=("DAPI", "GFP"), **SMALL
    )
    for c in range(2):
        fill(writer, array, channel=c)
    writer.finish([])
    assert zarr.open_group(tmp_path / "out.zarr", mode="r").attrs.asdict() == {}
    group = zarr.open_group(tmp_path / "out.zarr" / "round", mode="r")
    assert {name for name, _ in group.members()} == {"s0", "s1", "s2"}  # without a warning of the manifests
    ome = group.attrs["ome"]
    image = ome["multiscales"][0]
    assert ome["version"] == "0.5"
    assert [axis["name"] for axis in image["axes"]] == ["t", "c", "z", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == [None, None, *["micrometer"] * 3]
    assert [d["path"] for d in image["datasets"]] == ["s0", "s1", "s2"]
    assert image["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 1, 2, 2, 2]},
        {"type": "translation", "translation": [0, 0, 2, -1.25, 4.75]},
    ]
    assert [c["label"] for c in ome["omero"]["channels"]] == ["DAPI", "GFP"]
    assert all({"color", "window"} <= set(c) for c in ome["omero"]["channels"])
    stored = group["s0"]
    assert stored.metadata.dimension_names == ("t", "c", "z", "y", "x")
    assert stored.metadata.zarr_format == 3
    np.testing.assert_array_equal(stored[0, 1], array)
    assert open_volume(tmp_path / "out.zarr" / "round").channel_names == ("DAPI", "GFP")


def test_ome_zarr_0_4_is_what_the_specification_says(tmp_path):
    array = noise(GRID.shape, "uint16")
    names = {"channels": 2, "channel_names": ("DAPI", "GFP")}
    path = tmp_path / "out.zarr" / "round"
    fill(create_volume(path, grid=GRID, dtype="uint16", ome_zarr="0.4", **names, **SMALL), array, channel=1)
    assert zarr.open_group(tmp_path / "out.zarr", mode="r", zarr_format=2).attrs.asdict() == {}
    group = zarr.open_group(path, mode="r", zarr_format=2)
    [image] = group.attrs["multiscales"]
    assert image["version"] == group.attrs["omero"]["version"] == "0.4"
    assert image["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 1, 2, 2, 2]},
        {"type": "translation", "translation": [0, 0, 2, -1.25, 4.75]},
    ]
    stored = group["s0"]
    assert stored.metadata.zarr_format == 2
    assert stored.metadata.dimension_separator == "/"
    np.testing.assert_array_equal(stored[0, 1], array)
    np.testing.assert_array_equal(stored[0, 0], 0)
    assert open_volume(path).channel_names == ("DAPI", "GFP")


def test_ome_zarr_0_4_has_no_shards(tmp_path):
    grid = Grid((600, 600, 600), (1, 1, 1))
    writer = create_volume(tmp_path / "large.zarr", grid=grid, dtype="uint16", ome_zarr="0.4")
    assert writer.layout.chunk_shape == writer.write_shape == (128, 128, 128)


def test_a_version_of_ome_zarr_is_for_zarrs(tmp_path):
    with pytest.raises(InputError, match=r"--ome-zarr 0.4 is for outputs that end in .zarr, which .*a.n5 does not"):
        plan_volume(tmp_path / "a.n5", grid=GRID, dtype="uint8", ome_zarr="0.4")


def test_every_chunk_carries_a_checksum_and_large_levels_are_sharded(tmp_path):
    create_volume(tmp_path / "small.zarr", grid=GRID, dtype="uint16")
    writer = create_volume(tmp_path / "large.zarr", grid=Grid((600, 600, 600), (1, 1, 1)), dtype="uint16")
    assert (writer.layout.chunk_shape, writer.write_shape) == ((64, 64, 64), (256, 256, 256))
    assert [grid.shape for grid in writer.levels] == [(600, 600, 600), (300, 300, 300), (150, 150, 150)]
    small = json.loads((tmp_path / "small.zarr" / "s0" / "zarr.json").read_text())
    assert [codec["name"] for codec in small["codecs"]] == ["bytes", "blosc", "crc32c"]
    for level in range(3):
        metadata = json.loads((tmp_path / "large.zarr" / f"s{level}" / "zarr.json").read_text())
        assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 1, 256, 256, 256]
        [shard] = metadata["codecs"]
        assert shard["name"] == "sharding_indexed"
        assert shard["configuration"]["chunk_shape"] == [1, 1, 64, 64, 64]
        assert [codec["name"] for codec in shard["configuration"]["codecs"]] == ["bytes", "blosc", "crc32c"]


def test_n5_is_what_its_readers_look_for(tmp_path):
    array = noise(GRID.shape, "uint16")
    fill(create_volume(tmp_path / "a.n5", grid=GRID, dtype="uint16", **SMALL), array)
    fill(create_volume(tmp_path / "b.n5" / "round", grid=GRID, dtype="uint16", channels=2, **SMALL), array)

    def attributes(*parts):
        return json.loads(tmp_path.joinpath(*parts, "attributes.json").read_text())

    pyramid = {
        "pixelResolution": {"dimensions": [0.5, 0.5, 2.0], "unit": "um"},
        "scales": [[1, 1, 1], [2, 2, 1], [4, 4, 1]],
    }
    assert attributes("a.n5") == {"n5": "2.0.0", **pyramid}
    assert attributes("b.n5") == {"n5": "2.0.0"}
    assert attributes("b.n5", "round") == attributes("b.n5", "round", "c1") == pyramid
    level = attributes("a.n5", "s2")
    assert level["dimensions"] == [11, 17, 20]
    assert level["pixelResolution"] == [0.5, 0.5, 2.0]
    assert level["downsamplingFactors"] == [4, 4, 1]
    assert level["compression"]["type"] == "gzip"
    store = ts.open({"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.n5/s0/"}}).result()
    np.testing.assert_array_equal(store.read().result().T, array)


class TestCheckOutput:
    def test_gives_the_container_and_makes_its_folder(self, tmp_path):
        assert check_output(tmp_path / "new" / "out.n5" / "c0", overwrite=False) == tmp_path / "new" / "out.n5"
        assert (tmp_path / "new").is_dir()

    def test_refuses_what_exists_unless_it_may_be_replaced_whole(self, tmp_path):
        (tmp_path / "out.zarr").mkdir()
        with pytest.raises(
            InputError, match=r"out.zarr exists already; choose another output, or add --overwrite\.$"
        ):
            check_output(tmp_path / "out.zarr", overwrite=False)
        assert check_output(tmp_path / "out.zarr", overwrite=True) == tmp_path / "out.zarr"
        with pytest.raises(InputError, match=r"out.zarr exists already, and nothing is added to it"):
            check_output(tmp_path / "out.zarr" / "round2", overwrite=True)

    @pytest.mark.parametrize("name", ["out.nii", "out", "home"])
    def test_refuses_formats_that_are_not_written(self, name, tmp_path):
        with pytest.raises(InputError, match=rf"{name} cannot be written; name the output something.zarr"):
            check_output(tmp_path / name, overwrite=True)

    def test_refuses_a_place_inside_a_file(self, tmp_path):
        (tmp_path / "image.tif").write_text("")
        with pytest.raises(InputError, match=r"image.tif, which is a file; name an output outside it"):
            check_output(tmp_path / "image.tif" / "out.zarr", overwrite=False)
        (tmp_path / "notes").write_text("")
        with pytest.raises(InputError, match=r"the folder .*notes/deep cannot be made: Not a directory"):
            check_output(tmp_path / "notes" / "deep" / "out.zarr", overwrite=False)
