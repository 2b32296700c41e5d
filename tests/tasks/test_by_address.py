"""Tasks on volumes in buckets and on web servers, and their outputs in buckets."""

import shutil

import numpy as np
import pytest

from teralign.addresses import Address
from teralign.alignment import Side, open_source
from teralign.cluster import Compute
from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.tasks.build_pyramid import build_pyramid
from teralign.tasks.convert_volume import convert_volume
from teralign.tasks.global_align import global_align
from teralign.tasks.inspect_volume import inspect_volume
from teralign.tasks.jacobian_map import jacobian_map
from teralign.transforms import Affine
from teralign.uploads import MARK, upload
from teralign.volumes import check_output, create_volume, open_volume

GRID = Grid((40, 50, 60), (1.0, 0.5, 0.5))


@pytest.fixture
def case(tmp_path):
    """A volume of two channels in N5, a fixed one in Zarr, and an affine."""
    rng = np.random.default_rng(0)
    for name, channels in (("moving.n5", 2), ("fixed.zarr", 1)):
        writer = create_volume(tmp_path / name, grid=GRID, dtype="uint16", channels=channels)
        for channel in range(channels):
            writer.write(GRID.region, rng.integers(0, 60000, GRID.shape, np.uint16), channel=channel)
    Affine.from_parts(np.eye(3), (1.3, -2.2, 3.1)).save(tmp_path / "affine.mat")
    return tmp_path


def apply(case, output, *, task=apply_transform, fixed=None, moving=None, **options):
    return task(
        fixed or str(case / "fixed.zarr"),
        moving or str(case / "moving.n5"),
        transforms=[case / "affine.mat"],
        output=str(output),
        compute=Compute(workers=1, worker_cpus=1, worker_mem_gb=1),
        **options,
    )


def files_of(folder):
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def objects_of(bucket):
    return {key: bucket.content(key) for key in bucket.stored()}


def test_volumes_by_address_are_warped_as_those_on_a_disk(case, bucket, website):
    folder, site = website
    shutil.copytree(case / "fixed.zarr", folder / "fixed.zarr")
    moving = bucket.upload(case / "moving.n5")
    apply(case, case / "remote.zarr", fixed=f"{site}/fixed.zarr", moving=moving)
    apply(case, case / "local.zarr")
    remote, local = open_volume(case / "remote.zarr"), open_volume(case / "local.zarr")
    assert (remote.grid, remote.channels) == (local.grid, 2)
    for channel in range(2):
        assert local.read(channel=channel).any()
        np.testing.assert_array_equal(remote.read(channel=channel), local.read(channel=channel))


def test_a_source_and_its_mask_may_be_addresses(case, bucket):
    address = bucket.upload(case / "moving.n5")
    source = open_source("moving", Side(f"{address}/c1/s0", mask=f"{address}/c0/s0"))
    local = open_source("moving", Side(str(case / "moving.n5/c1/s0"), mask=str(case / "moving.n5/c0/s0")))
    region = Region((3, 4, 5), (20, 30, 40))
    found, wanted = source.read(region), local.read(region)
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_array_equal(found.mask, wanted.mask)
    assert source.digest() == open_source("moving", Side(f"{address}/c1/s0", mask=f"{address}/c0/s0")).digest()
    assert source.digest() != local.digest()


@pytest.mark.parametrize("name", ["out.zarr", "out.n5", "out.precomputed"])
def test_an_output_in_a_bucket_is_that_on_a_disk_to_the_bit(case, bucket, monkeypatch, name):
    monkeypatch.chdir(case)
    apply(case, case / name)
    result = apply(case, f"{bucket.address}/{name}")
    assert result.output == f"{bucket.address}/{name}"
    assert objects_of(bucket) == files_of(case / name)
    assert not (case / f"{name}.partial").exists()
    local, remote = open_volume(case / name), open_volume(f"{bucket.address}/{name}")
    np.testing.assert_array_equal(remote.read(channel=1), local.read(channel=1))
    with pytest.raises(InputError, match=rf"^{bucket.address}/{name} exists already; choose another output"):
        apply(case, f"{bucket.address}/{name}")


def test_a_dry_run_stores_nothing_and_knows_what_is_there(case, bucket):
    plan = apply(case, f"{bucket.address}/out.zarr", task=plan_apply_transform)
    assert plan.output == f"{bucket.address}/out.zarr"
    assert plan.write_bytes == 2 * 2 * GRID.region.size
    assert bucket.stored() == []
    bucket.upload(case / "fixed.zarr")
    stored = bucket.stored()
    with pytest.raises(InputError, match=rf"^{bucket.address}/fixed.zarr exists already"):
        apply(case, f"{bucket.address}/fixed.zarr", task=plan_apply_transform)
    assert apply(case, f"{bucket.address}/fixed.zarr", task=plan_apply_transform, overwrite=True).write_bytes
    assert bucket.stored() == stored
    with pytest.raises(InputError, match=r"gs://bucket/out.zarr cannot be written; outputs go to a disk or to s3://"):
        apply(case, "gs://bucket/out.zarr", task=plan_apply_transform)


def test_an_output_that_is_replaced_leaves_nothing_behind(case, bucket):
    output = bucket.upload(case / "moving.n5")
    for key in ("moving.n5/c7/s0/0/0/0", "moving.n5/c7/attributes.json"):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"{}")
    assert str(check_output(output, overwrite=True)) == output
    upload(case / "moving.n5", Address.parse(output), overwrite=True)
    assert objects_of(bucket) == files_of(case / "moving.n5")


def convert(volume, output, **options):
    return convert_volume(
        str(volume), str(output), compute=Compute(workers=1, worker_cpus=1, worker_mem_gb=1), **options
    )


def test_a_volume_is_converted_from_bucket_to_bucket(case, bucket, monkeypatch):
    monkeypatch.chdir(case)
    address = bucket.upload(case / "moving.n5")
    options = {"crop": ((2, 36), (None, None), (0, 57)), "chunk_size": (16, 16, 32), "levels": 3}
    convert(case / "moving.n5", case / "part.zarr", **options)
    convert(address, f"{bucket.address}/part.zarr", **options)
    stored = {key: content for key, content in objects_of(bucket).items() if key.startswith("part.zarr")}
    assert stored == files_of(case / "part.zarr")
    assert "part.zarr/s2/manifest.npz" in stored
    with pytest.raises(InputError, match=rf"^{address}/copy lies in the volume that is converted"):
        convert(address, f"{address}/copy")


def test_a_volume_in_a_bucket_is_inspected_and_its_damage_found(case, bucket):
    convert(case / "moving.n5", case / "whole.zarr", chunk_size=(16, 16, 32), levels=2)
    address = bucket.upload(case / "whole.zarr")
    options = {"values": True, "check": True, "threads": 2}
    local = inspect_volume(str(case / "whole.zarr"), **options, preview=case / "local.png")
    remote = inspect_volume(address, **options, preview=case / "remote.png")
    assert (case / "remote.png").read_bytes() == (case / "local.png").read_bytes()
    assert remote.histogram == local.histogram
    assert remote.check == local.check
    assert remote.check.whole == 2 * (3 * 4 * 2 + 3 * 2 * 1)
    chunks = {scale: list((case / "whole.zarr" / scale / "c").rglob("*")) for scale in ("s0", "s1")}
    for scale in remote.scales:
        sizes = [path.stat().st_size for path in chunks[scale.dataset] if path.is_file()]
        assert (scale.files, scale.bytes, scale.manifest) == (len(sizes), sum(sizes), True)
    bucket.client.delete_object(Bucket=bucket.name, Key="whole.zarr/s0/c/0/1/2/3/1")
    bucket.client.put_object(Bucket=bucket.name, Key="whole.zarr/s1/c/0/0/0/1/0", Body=b"damage")
    found = inspect_volume(address, check=True).check
    assert [(fault.state, fault.name) for fault in found.faults] == [
        ("lost", f"{address}/s0/c/0/1/2/3/1"),
        ("corrupt", f"{address}/s1/c/0/0/0/1/0"),
    ]


def test_without_a_manifest_the_size_in_a_bucket_is_not_known(case, bucket):
    address = bucket.upload(case / "fixed.zarr")
    (scale,) = inspect_volume(address).scales
    assert (scale.manifest, scale.files, scale.bytes) == (False, None, None)
    assert inspect_volume(address, check=True).check.whole == 1


def test_says_what_is_done_on_disks_only(case, bucket):
    address = bucket.upload(case / "moving.n5")
    with pytest.raises(InputError, match=rf"^{address}/c0/s0 is an address, and scales are added on disks only"):
        build_pyramid(f"{address}/c0/s0", levels=2)
    with pytest.raises(InputError, match="is an address; the map and its summary are written to a disk"):
        jacobian_map([case / "affine.mat"], f"{bucket.address}/map.zarr", fixed=str(case / "fixed.zarr"))


def test_an_aligned_image_may_go_to_a_bucket(case, bucket, monkeypatch):
    monkeypatch.chdir(case)
    image = str(case / "moving.n5/c0/s0")
    options = {"steps": ("rigid",), "seed": 0}
    global_align(image, image, output=case / "found.mat", aligned=f"{bucket.address}/aligned.n5", **options)
    global_align(image, image, output=case / "again.mat", aligned=str(case / "aligned.n5"), **options)
    assert objects_of(bucket) == files_of(case / "aligned.n5")


def test_an_upload_that_is_cut_short_is_no_volume_and_is_replaced(case, bucket):
    """A key of more than 1024 bytes is what a bucket refuses in the middle of an upload."""
    folder = case / "moving.n5"
    long = folder.joinpath(*["x" * 200] * 6)
    long.mkdir(parents=True)
    (long / "0").write_bytes(b"chunk")
    output = f"{bucket.address}/out.n5"
    with pytest.raises(DataError, match=rf"^{output} could not be written: .*; the same call continues"):
        upload(folder, Address.parse(output), overwrite=False)
    assert f"out.n5/{MARK}" in bucket.stored()
    assert not [key for key in bucket.stored() if key.endswith("attributes.json")]
    with pytest.raises(InputError, match="nothing that can be read is found"):
        open_volume(output)
    shutil.rmtree(folder / ("x" * 200))
    bucket.client.put_object(Bucket=bucket.name, Key="out.n5/c7/s0/0/0/0", Body=b"of another run")
    assert str(check_output(output, overwrite=False)) == output
    upload(folder, Address.parse(output), overwrite=False)
    assert {key.removeprefix("out") for key in bucket.stored()} == {
        n.removeprefix("moving") for n in files_of(folder)
    }


def test_says_before_any_work_what_cannot_be_written(case, bucket, monkeypatch):
    with pytest.raises(
        InputError, match=r"^http://server/out.zarr cannot be written; outputs go to a disk or to s3://"
    ):
        check_output("http://server/out.zarr", overwrite=False)
    with pytest.raises(
        InputError, match=r"^s3://bucket/out.ome.tif is a single file, which is written to a disk only"
    ):
        check_output("s3://bucket/out.ome.tif", overwrite=False)
    with pytest.raises(
        InputError, match=r"^s3://not-there/out.zarr cannot be written: .*(bucket does not exist|List response)"
    ):
        check_output("s3://not-there/out.zarr", overwrite=False)
    bucket.client.put_object(Bucket=bucket.name, Key="out.n5/notes.txt", Body=b"of the user")
    with pytest.raises(InputError, match="exists already"):
        check_output(f"{bucket.address}/out.n5", overwrite=False)
    bucket.upload(case / "moving.n5")
    with pytest.raises(InputError, match="exists already"):
        check_output(f"{bucket.address}/moving.n5/c0", overwrite=True)
    assert str(check_output(f"{bucket.address}/new.n5/c0", overwrite=False)) == f"{bucket.address}/new.n5"
    assert not [key for key in bucket.stored() if key.startswith("new.n5")]
