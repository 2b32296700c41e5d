"""Volumes in buckets and on web servers: what is read there is what is read from a disk."""

import gzip
import json
import pickle
import shutil

import numpy as np
import pytest

from teralign.addresses import Address, absolute_uri, as_place
from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import coarser_levels, create_volume, open_volume, split_uri
from volume_files import (
    EVERY_FORMAT,
    SPACING,
    compress_chunks,
    noise,
    write_attributes,
    write_n5,
    write_precomputed,
    write_zarr,
)

SHAPE = (5, 19, 33)
BY_ADDRESS = ["n5", "ome-zarr-0.4", "ome-zarr-0.5", "ome-zarr-0.6", "zarr-v2-big-endian", "zarr-v3-sharded"]
BY_ADDRESS += ["precomputed"]
PIECE = Region((1, 3, 7), (4, 19, 20))


@pytest.fixture(params=["s3", "http"])
def publish(request):
    """Puts a container where only its address leads to, and gives that."""
    if request.param == "s3":
        return request.getfixturevalue("bucket").upload
    folder, address = request.getfixturevalue("website")

    def copy(container):
        shutil.copytree(container, folder / container.name)
        return f"{address}/{container.name}"

    return copy


@pytest.mark.parametrize("name", BY_ADDRESS)
def test_a_volume_is_the_same_by_path_and_by_address(name, publish, tmp_path):
    array = noise(SHAPE, "uint16")
    path, _ = EVERY_FORMAT[name].write(tmp_path, array)
    container, dataset = split_uri(path)
    local = open_volume(path, spacing=SPACING)
    volume = open_volume(f"{publish(container)}/{dataset}", spacing=SPACING)
    assert (volume.grid, volume.dtype, volume.chunk_shape) == (local.grid, local.dtype, local.chunk_shape)
    assert (volume.channels, volume.timepoints, volume.scales) == (local.channels, local.timepoints, local.scales)
    np.testing.assert_array_equal(volume.read(), array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(PIECE), array[PIECE.slices])


@pytest.mark.parametrize("suffix", [".n5", ".zarr"])
def test_channels_and_levels_are_found(suffix, publish, tmp_path):
    grid = Grid((24, 40, 48), SPACING)
    written = create_volume(tmp_path / f"image{suffix}", grid=grid, dtype="uint8", channels=2, levels=3)
    arrays = [noise(grid.shape, "uint8", seed) for seed in range(2)]
    for channel, array in enumerate(arrays):
        for level, coarse in enumerate(written.levels):
            if level:
                written.build_level_region(level, coarse.region, channel=channel)
            else:
                written.write(grid.region, array, channel=channel)
    local = open_volume(tmp_path / f"image{suffix}")
    volume = open_volume(publish(tmp_path / f"image{suffix}"))
    assert volume.grid == local.grid
    assert sorted(volume.scales) == sorted(local.scales) == ["s1", "s2"]
    for channel, array in enumerate(arrays):
        np.testing.assert_array_equal(volume.read(channel=channel), array)
    found = coarser_levels(volume)
    assert found.keys() == coarser_levels(local).keys() == {(1, 1, 2), (1, 2, 4)}
    np.testing.assert_array_equal(
        found[1, 2, 4].read(channel=1), written.read(written.levels[2].region, level=2, channel=1)
    )


def test_a_container_without_an_ending_is_recognised(publish, tmp_path):
    array = noise((4, 5, 6), "uint8")
    write_attributes(tmp_path / "export", {"n5": "2.0.0"})
    write_n5(tmp_path / "export" / "raw" / "s0", array, {"pixelResolution": [1, 1, 1]})
    write_attributes(tmp_path / "export" / "raw", {})
    address = publish(tmp_path / "export")
    container, dataset = split_uri(f"{address}/raw/s0")
    assert (str(container), dataset) == (address, "raw/s0")
    np.testing.assert_array_equal(open_volume(f"{address}/raw").read(), array)


def test_a_precomputed_volume_is_recognised(publish, tmp_path):
    array = noise((9, 10, 11), "uint8")
    write_precomputed(tmp_path / "atlas", array, "8_8_8")
    write_precomputed(tmp_path / "atlas", array[::2, ::2, ::2], "16_16_16", resolution=(500.0, 1000.0, 4000.0))
    address = publish(tmp_path / "atlas")
    assert open_volume(address).scales == ("16_16_16",)
    np.testing.assert_array_equal(open_volume(f"{address}/16_16_16").read(), array[::2, ::2, ::2])


@pytest.mark.parametrize("separator", [".", "/"])
def test_old_metadata_that_do_not_tell_of_nested_chunks(separator, publish, tmp_path):
    array = noise(SHAPE, "uint8")
    path = write_zarr(tmp_path / "old.zarr", array, 2, chunk_key_encoding={"name": "v2", "separator": separator})
    metadata = json.loads((path / ".zarray").read_text())
    del metadata["dimension_separator"]
    (path / ".zarray").write_text(json.dumps(metadata))
    np.testing.assert_array_equal(open_volume(publish(path), spacing=SPACING).read(), array)


def test_where_nothing_tells_of_nested_chunks_it_is_an_error(publish, tmp_path):
    path = write_zarr(tmp_path / "old.zarr", noise(SHAPE, "uint8"), 2)
    metadata = json.loads((path / ".zarray").read_text())
    del metadata["dimension_separator"]
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0.0").unlink()
    with pytest.raises(InputError, match=r"does not say whether chunks lie in nested folders, and the first chunk"):
        open_volume(publish(path), spacing=SPACING)


@pytest.mark.parametrize(("nested", "ending"), [(False, ".gz"), (True, ".gz"), (False, ".br"), (False, ".zstd")])
def test_compressed_chunk_files_copied_from_a_disk(nested, ending, publish, tmp_path):
    array = noise((20, 30, 40), "uint8")
    array[:8, :8, :8] = 0
    scale = write_precomputed(tmp_path / "atlas", array, offset=(8, 16, 24))
    compress_chunks(scale, nested=nested, ending=ending)
    volume = open_volume(publish(tmp_path / "atlas"))
    np.testing.assert_array_equal(volume.read(), array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(PIECE), array[PIECE.slices])


def test_chunks_that_the_server_compresses(bucket, tmp_path):
    array = noise((9, 10, 11), "uint8")
    write_precomputed(tmp_path / "atlas", array)
    address = bucket.upload(tmp_path / "atlas")
    for path in (tmp_path / "atlas" / "fine").iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
        key = f"atlas/fine/{path.name}"
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes(), ContentEncoding="gzip")
    np.testing.assert_array_equal(open_volume(address).read(), array)


def test_a_bucket_that_all_may_read_needs_no_keys(bucket, tmp_path, monkeypatch):
    array = noise((4, 5, 6), "uint8")
    address = bucket.upload(write_n5(tmp_path / "fix.n5", array), ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    np.testing.assert_array_equal(open_volume(address, spacing=SPACING).read(), array)


def test_what_may_not_be_read_is_named(bucket, tmp_path, monkeypatch):
    address = bucket.upload(write_n5(tmp_path / "fix.n5", noise((4, 5, 6), "uint8")))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match=rf"^{address}/attributes.json may not be read; ask for the permission.$"):
        open_volume(address)


def test_the_digest_changes_with_the_metadata(bucket, tmp_path):
    path = write_n5(tmp_path / "fix.n5", noise((4, 5, 6), "uint8"), {"pixelResolution": [1, 1, 1]})
    address = bucket.upload(path)
    digest = open_volume(address).digest()
    assert open_volume(address).digest() == digest
    assert open_volume(path).digest() != digest
    write_attributes(path, json.loads((path / "attributes.json").read_text()) | {"who": "somebody else"})
    bucket.upload(path)
    assert open_volume(address).digest() != digest


def test_a_damaged_chunk_is_an_error(publish, tmp_path):
    path = write_n5(tmp_path / "fix.n5", noise(SHAPE, "uint8"))
    chunk = path / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    volume = open_volume(publish(path), spacing=SPACING)
    with pytest.raises(DataError, match=r"^\w+://.*fix.n5 cannot be read from \(0, 0, 0\)"):
        volume.read()


@pytest.mark.parametrize("name", ["fix.n5", "fix.n5/s7", "fix.zarr", "fix.zarr/s7", "fix"])
def test_says_where_nothing_is(name, publish, tmp_path):
    address = publish(write_n5(tmp_path / "other.n5", noise((4, 5, 6), "uint8"))).removesuffix("other.n5")
    with pytest.raises(
        InputError, match=rf"^nothing that can be read is found at {address}{name}; check the address"
    ):
        open_volume(address + name)


def test_says_that_a_server_does_not_answer(monkeypatch):
    with pytest.raises(InputError, match=r"^http://127.0.0.1:9/a.zarr.* cannot be opened: .*connect to server.*\.$"):
        open_volume("http://127.0.0.1:9/a.zarr")


@pytest.mark.parametrize("name", ["a.tif", "a.nrrd", "a.nii.gz", "a.h5/t0/channel1", "a.ims"])
def test_files_of_one_image_are_read_from_disks_only(name):
    with pytest.raises(InputError, match=r"^s3://bucket/a\.[a-z0-9.]+ is read from a disk only; copy it"):
        open_volume(f"s3://bucket/{name}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ftp://server/a.zarr", "an address begins with s3://, gs://, http:// or https://"),
        ("s3:///a.zarr", "names no bucket"),
        ("https:///a.zarr", "names no server"),
    ],
)
def test_says_what_is_no_address(text, says):
    with pytest.raises(InputError, match=says):
        open_volume(text)


def test_addresses_are_taken_apart_as_paths_are():
    place = as_place("S3://bucket/a/b.zarr/")
    assert isinstance(place, Address)
    assert [str(p) for p in (place, *place.parents)] == ["s3://bucket/a/b.zarr", "s3://bucket/a", "s3://bucket"]
    assert str(place / "c" / "s0") == "s3://bucket/a/b.zarr/c/s0"
    assert (place / "c" / "s0").relative_to(place).as_posix() == "c/s0"
    assert place.is_relative_to(place.parent)
    assert not place.is_relative_to(Address.parse("s3://other/a"))
    assert absolute_uri("s3://bucket/a") == "s3://bucket/a"


@pytest.mark.parametrize(
    ("address", "store"),
    [
        ("gs://bucket/a b/c.zarr", {"driver": "gcs", "bucket": "bucket", "path": "a b/c.zarr/"}),
        ("https://host:1/a%20b", {"driver": "http", "base_url": "https://host:1", "path": "/a b/"}),
        ("s3://bucket", {"driver": "s3", "bucket": "bucket", "path": ""}),
    ],
)
def test_where_tensorstore_looks(address, store, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    assert Address.parse(address).store() == store


def test_the_environment_tells_of_the_endpoint(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://everything")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://storage/")
    store = Address.parse("s3://bucket/a").store()
    assert (store["endpoint"], store["aws_region"]) == ("http://storage", "eu-west-1")
