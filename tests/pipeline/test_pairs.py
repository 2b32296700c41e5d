"""What a run aligns is looked up before anything runs, with one sentence about what is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.pipeline import Pair, read_pairs

from .conftest import write_volume

PAIR = {"fixed": "fix.n5", "moving": "mov.n5"}
SCALES = {"aff_scale": "s3", "def_scale": "s2"}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, r"Nothing to align: give --fixed and --moving, or a samplesheet"),
    "half": ({"fixed": "fix.n5"}, r"Nothing to align"),
    "both": (PAIR | {"input": "sheet.csv"}, r"either --input or --fixed and --moving, not both"),
    "missing volume": ({"fixed": "no.n5", "moving": "mov.n5"}, r"--fixed: .*/no\.n5 does not exist"),
    "missing file": ({"fixed": "no", "moving": "mov.n5"}, r"--fixed: .*/no does not exist"),
    "no format": ({"fixed": "spots.csv", "moving": "mov.n5"}, r"--fixed: .*spots\.csv is in no readable format"),
    "missing scale": (PAIR | {"def_scale": "s9"}, r"--fixed: .*fix\.n5 has no scale s9 \(--def_scale\); it holds c1"),
    "auto of an address": (
        {"fixed": "s3://bucket/fix.n5", "moving": "mov.n5", "aff_scale": "auto"},
        r"--aff_scale: the scales of s3://bucket/fix\.n5 are not looked up before the run; name one",
    ),
    "grids": (PAIR | {"apply_scale": "s2,s3", "apply_grid_scale": "s2,s3,s2"}, r"--apply_grid_scale: there are 3 "),
    "region": (PAIR | {"fixed_roi": "0,0,0,5,5"}, r"--fixed_roi cannot be '0,0,0,5,5': give the low and the high"),
    "landmarks of one volume": (
        PAIR | {"fixed_landmarks": "spots.csv"},
        r"--fixed_landmarks: the same points of the other volume are missing: give moving_landmarks too",
    ),
    "region turned": (PAIR | {"moving_roi": "0,0,5,5,5,1"}, r"--moving_roi cannot be"),
    "region outside": (PAIR | {"moving_roi": "50,0,0,60,5,5"}, r"--moving_roi: this box lies outside mov\.n5, which"),
    "expansion": (PAIR | {"expansion": 0}, r"--expansion must be a number above 0, such as 4, not '0'"),
    "expansion of one": (PAIR | {"moving_expansion": "x"}, r"--moving_expansion must be a number above 0"),
    "no start": (PAIR | {"initial_transform": "no.mat"}, r"^--initial_transform: /\S*/no\.mat does not exist"),
    "bad start": (PAIR | {"initial_transform": "spots.csv"}, r"--initial_transform: .*spots\.csv must be a \.mat"),
    "transform by address": (PAIR | {"local_transform": "s3://b/t.zarr"}, r"--local_transform: .* from a disk only"),
    "start and skip": (
        PAIR | {"initial_transform": "a.mat", "global_transform": "a.mat"},
        r"--initial_transform: nothing starts from it, since the global_transform is used instead; leave one",
    ),
    "start and all given": (
        PAIR | {"initial_transform": "a.mat", "local_transform": "a.mat"},
        r"--initial_transform: nothing starts from it, since the local_transform is used",
    ),
    "name taken": (PAIR | {"warped_name": "aligned"}, r"--warped_name: 'aligned' cannot name a result"),
    "name twice": (PAIR | {"apply_to": "mov.n5:name=a;image.zarr:name=a"}, r"2 results would be called a; give each"),
    "container taken": (PAIR | {"warped_container": "transform"}, r"--warped_container: 'transform' cannot name"),
    "list of a container": (
        PAIR | {"warped_container": "all", "apply_to": "mov.n5:name=OME"},
        r"--apply_to: 'OME' cannot name a result: .* report, OME\.",
    ),
    "container of a format": (
        PAIR | {"warped_container": "all", "warped_format": "nrrd"},
        r"--warped_container: only zarr and n5 containers hold several volumes, not the --warped_format nrrd",
    ),
    "container in a bucket": (
        PAIR | {"warped_container": "all", "warped_dir": "s3://bucket"},
        r"--warped_container: volumes in a bucket \(--warped_dir\) cannot be put into one container",
    ),
    "format in a bucket": (PAIR | {"warped_dir": "s3://b", "warped_format": "tif"}, r"--warped_dir: a bucket takes"),
    "scale 0": (PAIR | {"def_scale": 0}, r"fix\.n5 has no scale 0 \(--def_scale\)"),
    "scale false": (PAIR | {"def_scale": False}, r"fix\.n5 has no scale false \(--def_scale\)"),
    "scale to warp 0": (PAIR | {"apply_scale": 0}, r"fix\.n5 has no scale 0 \(--apply_scale\)"),
    "missing group": ({"fixed": "fix.n5/c7", "moving": "mov.n5"}, r"--fixed: .*fix\.n5 has no c7 in it"),
    "address": ({"fixed": "ftp://server/fix.n5", "moving": "mov.n5"}, r"--fixed: ftp://.* only s3://, gs://, http://"),
    "bucket only": ({"fixed": "s3://bucket", "moving": "mov.n5"}, r"--fixed: s3://bucket cannot be read: .*path"),
    "file by address": ({"fixed": "s3://bucket/a.tif", "moving": "mov.n5"}, r"--fixed: s3://.* from a disk only"),
    "quotes": ({"fixed": "fix'.n5", "moving": "mov.n5"}, r"--fixed: fix'\.n5 has quotes"),
    "other image": (PAIR | {"apply_to": "mov.n5; no.tif"}, r"--apply_to: .*/no\.tif does not exist"),
    "interpolation": (PAIR | {"apply_to": "image.ome.tif:near"}, r"--apply_to: .* ends in 'near'; an ending is"),
    "channels": (PAIR | {"apply_to": "mov.n5:channels=a"}, r"'channels=a'; an ending is linear, .* channels=0,2"),
    "spacing of a volume": (PAIR | {"apply_to": "mov.n5:spacing=1"}, r"--apply_to: .* in 'spacing=1'; an ending"),
    "spacing": (PAIR | {"fixed_spacing": "1,2"}, r"--fixed_spacing cannot be '1,2': give x,y,z in µm"),
    "spacing 0": (PAIR | {"fixed_spacing": "0,1,1"}, r"--fixed_spacing cannot be '0,1,1'"),
    "no points": (PAIR | {"apply_to": "names.csv"}, r"header of the points .*names\.csv has no column x"),
    "points that end": (PAIR | {"apply_to": "spots.csv:nearest"}, r"nearest is a table .* no interpolation"),
    "missing points": (PAIR | {"apply_to": "no.csv"}, r"--apply_to: .*/no\.csv does not exist"),
    "points by address": (PAIR | {"apply_to": "s3://bucket/a.csv"}, r"tables of points are read from a disk only"),
    "grid scale": (PAIR | {"apply_grid_scale": "s9"}, r"--fixed: .*fix\.n5 has no scale s9 \(--apply_grid_scale\)"),
    "labels": (PAIR | {"fixed_mask": "image.zarr", "fixed_mask_labels": "1,x"}, r"--fixed_mask_labels must be whole"),
    "labels of nothing": (PAIR | {"moving_mask_labels": 3}, r"--moving_mask_labels: there is no moving_mask"),
    "label 0 of nothing": (PAIR | {"moving_mask_labels": 0}, r"--moving_mask_labels: there is no moving_mask"),
    "labels of auto": (PAIR | {"fixed_mask": "auto", "fixed_mask_labels": "1"}, r"found by itself has no labels"),
    "id with a sheet": ({"input": "sheet.csv", "id": "x"}, r"--id is for one pair: .* column id"),
    "id 0 with a sheet": ({"input": "sheet.csv", "id": 0}, r"--id is for one pair: .* column id"),
    "more with a sheet": ({"input": "sheet.csv", "apply_to": "mov.n5"}, r"--apply_to is for one pair: .* apply_to"),
    "mask with a sheet": ({"input": "sheet.csv", "moving_mask": "no.tif"}, r"--moving_mask: .*/no\.tif does not"),
    "no sheet": ({"input": "gone.csv"}, r"--input: .*/gone\.csv does not exist"),
    "name": (PAIR | {"id": "a/b"}, r"--id: 'a/b' cannot name a folder"),
    "no such channel": (PAIR | {"moving_channel": 1}, r"--moving_channel: .*mov\.n5/s2 has no channel 1; it has 1"),
    "no voxel size": (PAIR | {"moving": "unsaid.tif"}, r"--moving: .*unsaid\.tif does .*; give --moving_spacing"),
    "other without size": (
        PAIR | {"apply_to": "unsaid.tif:nearest"},
        r"--apply_to: .*unsaid\.tif does not say how large .*; give unsaid\.tif:spacing=X,Y,Z",
    ),
    "spacing of another scale": (
        PAIR | {"moving": "unsaid.tif", "moving_spacing": "s2=1,1,1"},
        r"--moving: .*; give --moving_spacing X,Y,Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_gets_its_sentence(name: str, volumes: Path) -> None:
    (volumes / "sheet.csv").write_text("id,fixed,moving\na,fix.n5,mov.n5\n")
    given, sentence = WRONG[name]
    with pytest.raises(InputError) as error:
        read_pairs(SCALES | given, volumes)
    assert re.search(sentence, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def resolved(folder: Path, **given: object) -> Pair:
    (pair,) = read_pairs(SCALES | PAIR | given, folder)
    return pair


def test_a_group_is_read_at_the_scale_of_each_task(volumes: Path) -> None:
    pair = resolved(volumes)
    assert pair.id == "mov-to-fix"
    assert pair.fixed.path == volumes / "fix.n5"
    assert pair.fixed.datasets == {"global": "fix.n5/s3", "local": "fix.n5/s2", "apply": "fix.n5/s2"}
    assert pair.options == {
        "global": "--fixed-channel 0 --moving-channel 0",
        "local": "--fixed-channel 0 --moving-channel 0",
        "report": "--fixed-channel 0 --moving-channel 0",
        "points": "",
    }
    assert [(image.name, image.volume.datasets["apply"], image.options) for image in pair.images] == [
        ("warped", "mov.n5/s2", "")
    ]


def test_a_path_to_an_array_is_used_as_it_is(volumes: Path) -> None:
    pair = resolved(volumes, fixed="fix.n5/c1", moving="mov.n5/s3/")
    assert (pair.fixed.datasets["global"], pair.fixed.datasets["apply"]) == ("fix.n5/c1/s3", "fix.n5/c1/s2")
    assert set(pair.moving.datasets.values()) == {"mov.n5/s3"}


def test_files_and_slices_have_no_scales(volumes: Path) -> None:
    pair = resolved(volumes, fixed="round1", moving="image.ome.tif", fixed_spacing="1,1,2", apply_to="image.ome.tif")
    assert pair.id == "image-to-round1"
    assert set(pair.fixed.datasets.values()) == {"round1"}
    assert set(pair.moving.datasets.values()) == {"image.ome.tif"}
    assert pair.options["local"].endswith("--fixed-spacing 1,1,2")


def test_scales_of_precomputed_volumes_are_found_with_and_without_an_ending(volumes: Path) -> None:
    pair = resolved(volumes, fixed="atlas/s3", moving="atlas", apply_to="atlas.precomputed;atlas.precomputed/s3")
    assert (pair.fixed.datasets["local"], pair.moving.datasets["local"]) == ("atlas/s3", "atlas/s2")
    found = [image.volume.datasets["apply"] for image in pair.images]
    assert found == ["atlas/s2", "atlas.precomputed/s2", "atlas.precomputed/s3"]


def test_channels_in_groups_of_their_own_are_one_volume(volumes: Path) -> None:
    write_volume(volumes / "two.n5", channels=2)
    pair = resolved(volumes, moving="two.n5", aff_scale="s1", def_scale="s0", fixed="two.n5/s0", moving_channel=1)
    assert pair.moving.datasets["global"] == "two.n5/s1"
    assert set(pair.fixed.datasets.values()) == {"two.n5/s0"}
    assert "--moving-channel 1" in pair.options["local"]


def test_a_mask_without_the_scale_is_read_at_its_finest_level(volumes: Path) -> None:
    write_volume(volumes / "mask.zarr")
    pair = resolved(volumes, fixed_mask="image.zarr/s2", moving_mask="mask.zarr")
    assert pair.fixed_mask is not None
    assert set(pair.fixed_mask.datasets.values()) == {"image.zarr/s2"}
    assert pair.moving_mask is not None
    assert set(pair.moving_mask.datasets.values()) == {"mask.zarr"}
    assert resolved(volumes, fixed_mask="unsaid.tif").fixed_mask is not None, "it lies over the field of view"


def test_masks_found_by_themselves_and_labels_are_options(volumes: Path) -> None:
    pair = resolved(volumes, fixed_mask="auto", moving_mask="image.zarr", moving_mask_labels="1; 7")
    assert pair.fixed_mask is None
    assert pair.options["local"].endswith("--fixed-mask auto --moving-mask-labels 1,7")
    assert "mask" not in pair.options["report"]
    assert resolved(volumes, fixed_mask="image.zarr", fixed_mask_labels=0).options["local"].endswith("labels 0")


def test_what_is_taken_along_has_options_of_its_own(volumes: Path) -> None:
    along = "mov.n5/s3:spacing=2,2,1; spots.csv; image.ome.tif:nearest; mov.n5/c1:channels=0"
    pair = resolved(volumes, moving_spacing="s2=1,1,.5", apply_scale="s2", apply_grid_scale="s3", apply_to=along)
    assert (pair.fixed.datasets["apply"], pair.moving.datasets["apply"]) == ("fix.n5/s3", "mov.n5/s2")
    assert [(image.name, image.volume.datasets["apply"], image.options) for image in pair.images] == [
        ("warped", "mov.n5/s2", "--moving-spacing 1,1,0.5"),
        ("warped_1_mov", "mov.n5/s3", "--moving-spacing 2,2,1"),
        ("warped_3_image", "image.ome.tif", "--interpolation nearest"),
        ("warped_4_mov", "mov.n5/c1/s2", "--moving-spacing 1,1,0.5 --moving-channel 0"),
    ]
    assert [(points.name, points.table) for points in pair.points] == [("warped_2_spots", volumes / "spots.csv")]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server answers for buckets."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


def test_what_cannot_be_reached_at_an_address_is_left_to_the_tasks(volumes: Path, nowhere: None) -> None:
    pair = resolved(
        volumes,
        fixed="s3://bucket/round1.n5/",
        moving="http://127.0.0.1:9/round2/s2",
        fixed_mask="gs://bucket/mask.zarr",
        apply_to="s3://bucket/more/labels.zarr/c1:nearest",
    )
    assert (pair.id, pair.fixed.path, pair.fixed.fingerprints["local"]) == ("s2-to-round1", None, "")
    assert pair.fixed.datasets["global"] == "s3://bucket/round1.n5/s3"
    assert pair.moving.datasets["global"] == "http://127.0.0.1:9/round2/s2", "the end is a scale, so it is an array"
    assert pair.fixed_mask is not None
    assert pair.fixed_mask.datasets["local"] == "gs://bucket/mask.zarr"
    assert pair.images[1].volume.datasets["apply"] == "s3://bucket/more/labels.zarr/c1/s2"


def test_level_0_is_a_scale(tmp_path: Path) -> None:
    for name in ("fix.zarr", "mov.zarr"):
        write_ome_zarr(tmp_path / name, unit="micrometer")
    given = {"fixed": "fix.zarr", "moving": "mov.zarr", "aff_scale": 1, "def_scale": 0}
    (pair,) = read_pairs(given | {"apply_scale": 0, "apply_grid_scale": "0"}, tmp_path)
    assert pair.fixed.datasets == {"global": "fix.zarr/1", "local": "fix.zarr/0", "apply": "fix.zarr/0"}
    (pair,) = read_pairs(given | {"def_scale": 1, "apply_scale": 0, "apply_grid_scale": 1}, tmp_path)
    assert (pair.fixed.datasets["apply"], pair.moving.datasets["apply"]) == ("fix.zarr/1", "mov.zarr/0")


@pytest.mark.parametrize("unit", ["micrometer", None])
def test_one_spacing_for_all_is_that_of_the_finest_scale(unit: str | None, tmp_path: Path) -> None:
    for name in ("fix.zarr", "mov.zarr"):
        write_ome_zarr(tmp_path / name, unit=unit)
    given = {"fixed": "fix.zarr", "moving": "mov.zarr", "aff_scale": 1, "def_scale": 0}
    one = {"fixed_spacing": ".5,.5,2", "moving_spacing": "0=1,1,1;1=2,2,1"}
    (pair,) = read_pairs(given | one, tmp_path)
    assert pair.options["global"].endswith("--fixed-spacing 1,1,2 --moving-spacing 2,2,1")
    assert pair.options["local"].endswith("--fixed-spacing 0.5,0.5,2 --moving-spacing 1,1,1")
    assert pair.options["report"].endswith("--fixed-spacing 1,1,2 --moving-spacing 2,2,1")
    (pair,) = read_pairs(given | one | {"fixed": "fix.zarr/1"}, tmp_path)
    assert pair.options["local"].endswith("--fixed-spacing 0.5,0.5,2 --moving-spacing 1,1,1"), "its own"


def test_scales_without_ratios_need_a_spacing_each(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.n5.zarr", mode="w", zarr_format=2)
    for name, shape in (("0", (16, 16, 16)), ("1", (7, 9, 9))):
        group.create_array(name, shape=shape, dtype="u2")
    group.attrs["multiscales"] = [
        {"version": "0.4", "datasets": [{"path": path, "coordinateTransformations": []} for path in "01"]}
    ]
    given = {"fixed": "a.n5.zarr", "moving": "a.n5.zarr", "aff_scale": "1", "def_scale": "0"}
    with pytest.raises(
        InputError, match=r"--fixed: .* how many times coarser 1 is .* --fixed_spacing for each scale"
    ):
        read_pairs(given | {"fixed_spacing": "1,1,1", "moving_spacing": "1,1,1"}, tmp_path)


def write_ome_zarr(path: Path, *, unit: str | None) -> None:
    """Write levels 0 and 1, as ome-zarr-py does, which are 1, 1, 1 and 1, 2, 2 (z, y, x) in a unit or none."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, shape in (("0", (16, 32, 32)), ("1", (16, 16, 16))):
        group.create_array(name, shape=shape, dtype="u2")[...] = np.ones(shape, np.uint16)
    axis = {"type": "space"} | ({"unit": unit} if unit else {})
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": name, **axis} for name in "zyx"],
            "datasets": [
                {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [1, f, f]}]}
                for path, f in (("0", 1), ("1", 2))
            ],
        }
    ]


def test_fingerprints_change_with_what_is_read_and_with_nothing_else(volumes: Path) -> None:
    before = resolved(volumes)
    assert len(set(before.fixed.fingerprints.values())) == 2
    assert resolved(volumes) == before
    (tiff,) = set(resolved(volumes, fixed="image.ome.tif").fixed.fingerprints.values())
    content, status = (volumes / "image.ome.tif").read_bytes(), (volumes / "image.ome.tif").stat()
    (volumes / "image.ome.tif").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(volumes / "image.ome.tif", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert resolved(volumes, fixed="image.ome.tif").fixed.fingerprints["local"] not in ("", tiff)
    attributes = volumes / "fix.n5" / "s2" / "attributes.json"
    attributes.write_text(attributes.read_text().replace("1.0", "1.5"))
    after = resolved(volumes)
    assert after.fixed.fingerprints["local"] != before.fixed.fingerprints["local"]
    assert after.fixed.fingerprints["global"] == before.fixed.fingerprints["global"]
    assert after.moving.fingerprints == before.moving.fingerprints


def test_the_command_prints_one_line_and_fails_with_one_sentence(
    volumes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = volumes / "parameters.json"
    parameters.write_text(json.dumps(SCALES | PAIR | {"outdir": "results", "seed": 0, "help": False}))
    command = load_command("resolve")
    assert run(command, [str(parameters), "--folder", str(volumes)], name="resolve") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["format"] == 1
    assert found["pairs"][0]["fixed"]["path"] == str(volumes / "fix.n5")
    parameters.write_text(json.dumps(SCALES | PAIR | {"fixed": "gone.n5"}))
    assert run(command, [str(parameters), "--folder", str(volumes)], name="resolve") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == f"Error: --fixed: {volumes / 'gone.n5'} does not exist."


def test_a_mask_that_cannot_be_read_is_named(volumes: Path) -> None:
    (volumes / "broken.tif").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^--fixed_mask: .*broken\.tif"):
        resolved(volumes, fixed_mask="broken.tif")


def test_an_archive_is_staged_as_one_file_and_has_scales(volumes: Path) -> None:
    shutil.make_archive(str(volumes / "image.zarr"), "zip", volumes / "image.zarr")
    pair = resolved(volumes, fixed="image.zarr.zip", moving="image.zarr.zip/s3")
    assert (pair.id, pair.fixed.path) == ("image-to-image", volumes / "image.zarr.zip")
    assert (pair.fixed.datasets["global"], pair.fixed.datasets["local"]) == ("image.zarr.zip/s3", "image.zarr.zip/s2")
    assert set(pair.moving.datasets.values()) == {"image.zarr.zip/s3"}
    assert set(pair.fixed.fingerprints.values()) == set(pair.moving.fingerprints.values()), "both are one file"


def write_tiff_pyramid(path: Path) -> None:
    """A TIFF of two levels, of 1 µm and 2 µm."""
    array = np.zeros((4, 64, 64), np.uint16)
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(array, subifds=1, photometric="minisblack", metadata={"axes": "ZYX", **sizes}, tile=(32, 32))
        tiff.write(array[:, ::2, ::2], subfiletype=1, photometric="minisblack", metadata=None, tile=(32, 32))


def test_the_levels_of_a_tiff_are_its_scales(volumes: Path) -> None:
    write_tiff_pyramid(volumes / "pyramid.ome.tif")
    scales = {"aff_scale": "s1", "def_scale": "s0", "fixed": "pyramid.ome.tif", "moving": "pyramid.ome.tif/s1"}
    pair = resolved(volumes, **scales)
    assert pair.fixed.datasets["global"] == "pyramid.ome.tif/s1"
    assert pair.fixed.datasets["local"] == "pyramid.ome.tif/s0"
    assert set(pair.moving.datasets.values()) == {"pyramid.ome.tif/s1"}
    with pytest.raises(InputError, match=r"--fixed: .*pyramid.ome.tif has no scale s7; it holds s0, s1"):
        resolved(volumes, **scales | {"def_scale": "s7"})


def test_planes_that_are_no_z_are_said_in_the_uri(volumes: Path) -> None:
    metadata = {"axes": "TYX", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(volumes / "t.ome.tif", np.zeros((5, 8, 8), np.uint16), metadata=metadata)
    with pytest.raises(InputError, match=r"--moving: .*t.ome.tif is a 2-D image with 5 timepoints; .*t.ome.tif:z=t"):
        resolved(volumes, moving="t.ome.tif")
    pair = resolved(volumes, moving="t.ome.tif:z=t", apply_to="t.ome.tif:z=t:nearest")
    assert pair.id == "t-to-fix"
    assert pair.moving.path == volumes / "t.ome.tif"
    assert set(pair.moving.datasets.values()) == {"t.ome.tif:z=t"}
    assert [image.volume.datasets["apply"] for image in pair.images] == ["t.ome.tif:z=t"] * 2
    with pytest.raises(InputError, match=r"--moving: .* ends in :z=x; only"):
        resolved(volumes, moving="t.ome.tif:z=x")


def test_planes_that_are_no_z_are_said_of_addresses_too(volumes: Path, nowhere: None) -> None:
    spacings = {"fixed_spacing": "1,1,2"}
    pair = resolved(volumes, fixed="s3://bucket/t.zarr/0:z=t", **spacings)
    assert set(pair.fixed.datasets.values()) == {"s3://bucket/t.zarr/0:z=t"}


def collected(folder: Path, name: str, wells: tuple[str, ...]) -> Path:
    """A plate whose wells hold the image of the fixture, one each."""
    attributes = {"ome": {"version": "0.5", "plate": {"wells": [{"path": well} for well in wells]}}}
    zarr.create_group(folder / name, zarr_format=3, attributes=attributes)
    for well in wells:
        declared = {"ome": {"version": "0.5", "well": {"images": [{"path": "0"}]}}}
        zarr.create_group(folder / name / well, zarr_format=3, attributes=declared)
        shutil.copytree(folder / "image.zarr", folder / name / well / "0")
    return folder / name


def test_the_only_image_of_a_collection_has_its_scales(volumes: Path) -> None:
    collected(volumes, "plate.zarr", ("A/1",))
    shutil.make_archive(str(volumes / "plate.zarr"), "zip", volumes / "plate.zarr")
    pair = resolved(volumes, fixed="plate.zarr", moving="plate.zarr.zip")
    assert pair.fixed.datasets["global"] == "plate.zarr/A/1/0/s3"
    assert pair.moving.datasets["local"] == "plate.zarr.zip/A/1/0/s2"


def test_several_images_of_a_collection_are_named(volumes: Path) -> None:
    collected(volumes, "plate.zarr", ("A/1", "B/2"))
    with pytest.raises(InputError, match=r"--fixed: .*plate.zarr is a plate of 2 wells: A/1, B/2; name one, such as"):
        resolved(volumes, fixed="plate.zarr")
    assert resolved(volumes, fixed="plate.zarr/B").fixed.datasets["global"] == "plate.zarr/B/2/0/s3"


def test_labels_in_an_archive_are_an_entry_to_warp(volumes: Path) -> None:
    shutil.copytree(volumes / "image.zarr", volumes / "whole.zarr")
    shutil.copytree(volumes / "image.zarr", volumes / "whole.zarr" / "labels" / "cells")
    shutil.make_archive(str(volumes / "whole.zarr"), "zip", volumes / "whole.zarr")
    pair = resolved(volumes, moving="whole.zarr.zip", apply_to="whole.zarr.zip/labels/cells:nearest")
    assert pair.images[-1].volume.datasets["apply"] == "whole.zarr.zip/labels/cells/s2"
    assert "nearest" in pair.images[-1].options


def test_the_configuration_is_read_before_any_task(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters, config = volumes / "parameters.json", volumes / "steps.yml"
    parameters.write_text(json.dumps(SCALES | PAIR | {"bigstream_config": "steps.yml"}))
    command = load_command("resolve")

    def resolve() -> tuple[int, str]:
        code = run(command, [str(parameters), "--folder", str(volumes)], name="resolve")
        return code, capsys.readouterr().err

    config.write_text("global_align: {steps: []}\nlocal_align: {steps: [affine, deform]}\n")
    assert resolve() == (0, "")
    config.write_text("global_align: {steps: [ransac, elastix_affine]}\nlocal_align: {steps: [deform]}\n")
    code, said = resolve()
    assert code == 0
    (line,) = said.splitlines()
    assert line.endswith(f"{config}: Teralign has no step elastix_affine: global_align runs ransac, affine")
    config.write_text("afine: {metric: MMI}\n")
    assert resolve() == (2, f"Error: {config}: there is no section 'afine'; did you mean 'affine'?\n")


def test_a_list_means_the_same_as_its_values_in_a_text(volumes: Path) -> None:
    lists = {"fixed_spacing": [1, 1, 2.5], "fixed_roi": [0, 0, 0, 4, 4, 4], "apply_scale": ["s2", "s3"]}
    texts = {"fixed_spacing": "1,1,2.5", "fixed_roi": "0,0,0,4,4,4", "apply_scale": "s2,s3"}
    addresses = {"apply_to": ["mov.n5:name=a", "image.zarr:name=b"], "initial_transform": ["a.mat", "a.mat"]}
    joined = {name: ";".join(values) for name, values in addresses.items()}
    assert resolved(volumes, **lists, **addresses) == resolved(volumes, **texts, **joined)
