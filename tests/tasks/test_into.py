"""Images, labels and single channels added to containers that exist."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
import zarr

from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.tasks.convert_volume import convert_volume, plan_convert_volume
from teralign.tasks.inspect_volume import inspect_volume
from teralign.transforms import Affine
from teralign.volumes import Chunking, create_volume, open_volume, write_index
from teralign.volumes.pyramid import mean, mode
from teralign.volumes.slots import Slot
from volume_files import noise, space_axes, write_n5, write_ome_zarr

GRID = Grid((20, 70, 45), (2.0, 0.5, 0.5), (2.0, -2.0, 4.0))
CHUNKS = Chunking((16, 32, 16))
STEPS = [
    {"type": "scale", "scale": [1.0, 1.0, *GRID.spacing]},
    {"type": "translation", "translation": [0, 0, 2, -2, 4]},
]


def ours(path: Path, version: str = "0.5", *, channels: int = 1, timepoints: int = 1, levels: int = 3) -> Path:
    """An image of ours without stored voxels, but with manifests."""
    names = tuple(f"channel {c}" for c in range(channels))
    options = {"channels": channels, "timepoints": timepoints, "channel_names": names, "ome_zarr": version}
    create_volume(path, grid=GRID, dtype="uint16", chunking=CHUNKS, levels=levels, **options).finish([])
    return path


def theirs(path: Path, version: str, *, order: str = "tczyx", timepoints: int = 1, chunk: int = 1) -> Path:
    """An image of zarr-python, without voxels, of three channels."""
    sizes = {"t": timepoints, "c": 3, **dict(zip("zyx", GRID.shape, strict=True))}
    arrays = {"0": np.zeros([sizes[axis] for axis in order], np.uint16)}
    steps = [{"type": k, k: [s[k][i] for i in map("tczyx".index, order)]} for s in STEPS for k in [s["type"]]]
    write_ome_zarr(path, arrays, space_axes(order), {"0": steps}, version=version)
    by_axis = {"t": chunk, "c": chunk, "z": 16, "y": 32, "x": 16}
    keys = {"name": "v2", "separator": "/"} if version == "0.4" else None
    zarr.create_array(
        path / "0",
        shape=arrays["0"].shape,
        dtype="uint16",
        chunks=[by_axis[axis] for axis in order],
        zarr_format=2 if version == "0.4" else 3,
        fill_value=0,
        chunk_key_encoding=keys,
        overwrite=True,
    )
    return path


def source(folder: Path, seed: int = 0, dtype: str = "uint16") -> tuple[Path, np.ndarray]:
    """A volume on the grid, and its voxels (z, y, x)."""
    array = noise(GRID.shape, dtype, seed)
    path = folder / f"source{seed}.zarr"
    writer = create_volume(path, grid=GRID, dtype=dtype, levels=1, chunking=CHUNKS)
    for unit in GRID.region.split(writer.write_shape):
        writer.write(unit, np.ascontiguousarray(array[unit.slices]))
    return path, array


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def checked(path: Path) -> None:
    found = inspect_volume(path, check=True)
    assert found.check is not None
    assert (found.check.faults, list(found.unfinished)) == ([], [])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("group", ["round2", "rounds/two/warped"])
def test_an_image_is_added_beside_others(group, version, tmp_path, scheduler):
    path, array = source(tmp_path)
    container = ours(tmp_path / "a.zarr", version)
    before = content(container)
    done = convert_volume(path, into=container / group, levels=2, chunk_size=(16, 32, 16), compute=Compute(scheduler))
    assert done.output == str(container / group)
    after = content(container)
    assert all(after[name] == before[name] for name in before)
    assert all(name.startswith(group.split("/")[0]) for name in after.keys() - before.keys())
    np.testing.assert_array_equal(open_volume(container / group).read(), array)
    np.testing.assert_array_equal(open_volume(container / group / "s1").read(), mean(array, (1, 2, 2)))
    checked(container)
    checked(container / group)
    assert yaozarrs.validate_zarr_store(container / group).ome_version() == version
    assert {name.split("/")[0] for name, _ in zarr.open_group(container, mode="r").members()} >= {group.split("/")[0]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "source0.zarr"]


@pytest.mark.filterwarnings("ignore")  # of yaozarrs, on the image of others
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_registered_with_their_image(version, tmp_path, scheduler):
    labels, array = source(tmp_path, dtype="uint32")
    image = theirs(tmp_path / "a.zarr" / "round", version)
    zarr.create_group(tmp_path / "a.zarr", zarr_format=2 if version == "0.4" else 3)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
    for name in ("cells", "nuclei"):
        apply_transform(
            labels,
            labels,
            transforms=[tmp_path / "affine.mat"],
            into=image / "labels" / name,
            interpolation="nearest",
            compute=Compute(scheduler),
        )
    assert inspect_volume(image).labels == ("round/labels/cells", "round/labels/nuclei")
    np.testing.assert_array_equal(open_volume(image / "labels" / "nuclei").read(), array)
    listed = zarr.open_group(image / "labels", mode="r").attrs
    assert listed.get("ome", listed)["labels"] == ["cells", "nuclei"]
    own = zarr.open_group(image / "labels" / "cells", mode="r").attrs
    assert own.get("ome", own)["image-label"]["source"] == {"image": "../../"}
    if version == "0.5":  # a list of 0.4 states no version
        assert yaozarrs.validate_zarr_store(image / "labels").ome_version() == version
    assert yaozarrs.validate_zarr_store(image).ome_version() == version
    checked(image / "labels" / "cells")


def test_a_replaced_image_leaves_the_others(tmp_path, scheduler):
    container = ours(tmp_path / "a.zarr")
    for seed in (0, 1):
        path, array = source(tmp_path, seed)
        convert_volume(path, into=container / "x", overwrite=bool(seed), compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(container / "x").read(), array)
    checked(container)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_a_copy_from_another_file_system_does_not_make_others_wait(tmp_path, scheduler, monkeypatch):
    path, array = source(tmp_path)
    container = ours(tmp_path / "a.zarr")
    waiting = []
    copy = shutil.copytree
    monkeypatch.setattr(
        shutil,
        "copytree",
        lambda *a, **k: (waiting.append((container / ".teralign.lock").exists()), copy(*a, **k))[1],
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="teralign-test-") as folder:
        compute = Compute(scheduler, work_dir=Path(folder) / "work")
        convert_volume(path, into=container / "x", compute=compute)
    assert waiting
    assert not any(waiting)
    np.testing.assert_array_equal(open_volume(container / "x").read(), array)
    checked(container)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "source0.zarr"]


def test_a_dataset_is_added_to_n5(tmp_path, scheduler):
    path, array = source(tmp_path)
    write_n5(tmp_path / "a.n5" / "c0" / "s0", array, {"pixelResolution": GRID.spacing[::-1]})
    convert_volume(path, into=tmp_path / "a.n5" / "c1", levels=1, compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(tmp_path / "a.n5" / "c1").read(), array)
    assert open_volume(tmp_path / "a.n5").channels == 2
    checked(tmp_path / "a.n5" / "c1")


def test_copies_of_the_metadata_do_not_hide_the_image(tmp_path, scheduler):
    path, _ = source(tmp_path)
    container = ours(tmp_path / "a.zarr", "0.4")
    zarr.consolidate_metadata(container)
    convert_volume(path, into=container / "x", compute=Compute(scheduler))
    assert "x" in zarr.open_group(container, mode="r")


@pytest.mark.parametrize("called_off", ["_make_groups", "_enter"])
def test_an_added_image_that_nothing_names_yet_is_completed_by_the_same_call(
    called_off, tmp_path, scheduler, monkeypatch
):
    path, array = source(tmp_path, dtype="uint32")
    container = ours(tmp_path / "a.zarr", "0.4")
    zarr.consolidate_metadata(container)

    def cut_off(*_):
        raise KeyboardInterrupt

    options = {"into": container / "labels" / "cells", "label": True, "compute": Compute(scheduler)}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"teralign.volumes.additions.Addition.{called_off}", cut_off)
        convert_volume(path, **options)
    assert inspect_volume(container).labels == ()
    convert_volume(path, **options)
    assert inspect_volume(container).labels == ("labels/cells",)
    assert "cells" in zarr.open_group(container, mode="r")["labels"]
    np.testing.assert_array_equal(open_volume(container / "labels" / "cells").read(), array)
    checked(container / "labels" / "cells")
    assert not list(tmp_path.rglob(".teralign*"))
    with pytest.raises(InputError, match="exists already"):
        convert_volume(path, **options)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_label_enters_a_group_of_others_without_a_list(version, tmp_path, scheduler):
    path, _ = source(tmp_path, dtype="uint32")
    image = theirs(tmp_path / "a.zarr", version)
    zarr.create_group(image / "labels", zarr_format=2 if version == "0.4" else 3)
    convert_volume(path, into=image / "labels" / "cells", label=True, compute=Compute(scheduler))
    found = dict(zarr.open_group(image / "labels", mode="r").attrs)
    assert found == ({"labels": ["cells"]} if version == "0.4" else {"ome": {"version": "0.5", "labels": ["cells"]}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("xml", [False, True])
def test_an_image_added_to_a_collection_is_in_its_list(xml, version, tmp_path, scheduler):
    path, array = source(tmp_path)
    container = tmp_path / "rounds.zarr"
    for name in ("one", "two"):
        ours(container / name, version)
    write_index(container, ["one", "two"], ome_zarr=version)
    if xml:  # a list with an OME-XML has the images that the XML has
        (container / "OME" / "METADATA.ome.xml").write_text("<OME><Image/><Image/></OME>")
    convert_volume(path, into=container / "three", compute=Compute(scheduler))
    convert_volume(path, into=container / "three/labels/cells", label=True, compute=Compute(scheduler))
    with pytest.raises(InputError, match=r"2 images: one, two;" if xml else r"3 images: one, two, three;"):
        open_volume(container)
    np.testing.assert_array_equal(open_volume(container / "three").read(), array)
    assert inspect_volume(container / "three", check=True).labels == ("three/labels/cells",)


def _add(path: str, container: str, name: str) -> None:
    convert_volume(path, into=f"{container}/{name}", label=True, compute=Compute(workers=1))


def test_two_processes_add_to_one_container(tmp_path):
    path, array = source(tmp_path)
    container = ours(tmp_path / "a.zarr")
    names = ("labels/cells", "labels/nuclei", "x")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_add, args=(str(path), str(container), name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert sorted(inspect_volume(container).labels) == ["labels/cells", "labels/nuclei"]
    for name in names:
        np.testing.assert_array_equal(open_volume(container / name).read(), array)
    assert not (container / ".teralign.lock").exists()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("slot", [(0, 2), (1, 0)])
def test_a_slot_of_our_image_is_filled_with_its_scales(slot, version, tmp_path, scheduler):
    path, array = source(tmp_path)
    image = ours(tmp_path / "a.zarr", version, channels=3, timepoints=2)
    convert_volume(path, into=image, slot=slot, compute=Compute(scheduler))
    whole = open_volume(image)
    for t, c in np.ndindex(2, 3):
        np.testing.assert_array_equal(whole.read(timepoint=t, channel=c), array if (t, c) == slot else 0)
    for level in (1, 2):
        array = mean(array, (1, 2, 2))
        read = open_volume(image / f"s{level}").read(timepoint=slot[0], channel=slot[1])
        np.testing.assert_array_equal(read, array)
    checked(image)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "source0.zarr"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("order", ["tczyx", "czyx", "zcyx"])
def test_a_slot_of_an_image_of_others_is_filled(order, version, tmp_path, scheduler):
    path, array = source(tmp_path)
    image = theirs(tmp_path / "a.zarr", version, order=order)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
    options = {"transforms": [tmp_path / "affine.mat"], "into": image, "slot": (0, 1)}
    assert plan_apply_transform(path, path, **options).blocks["warp"] > 0
    apply_transform(path, path, compute=Compute(scheduler), **options)
    for channel in range(3):
        np.testing.assert_array_equal(open_volume(image).read(channel=channel), array if channel == 1 else 0)
    read = zarr.open_array(image / "0", mode="r")[...]
    np.testing.assert_array_equal(np.moveaxis(read, order.index("c"), 0)[1].reshape(GRID.shape), array)
    checked(image)


def test_a_plain_array_is_filled(tmp_path, scheduler):
    path, array = source(tmp_path)
    image = theirs(tmp_path / "a.zarr", "0.5")
    (image / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    convert_volume(path, into=image / "0", slot=(0, 2), compute=Compute(scheduler))
    np.testing.assert_array_equal(zarr.open_array(image / "0", mode="r")[0, 2], array)


def test_labels_in_a_slot_keep_their_ids(tmp_path, scheduler):
    path, array = source(tmp_path)
    image = ours(tmp_path / "a.zarr", channels=2, levels=2)
    convert_volume(path, into=image, slot=(0, 1), label=True, compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(image / "s1").read(channel=1), mode(array, (1, 2, 2)))


def test_a_filled_slot_is_replaced_only_if_asked(tmp_path, scheduler):
    image = ours(tmp_path / "a.zarr", channels=2)
    first, _ = source(tmp_path, 0)
    convert_volume(first, into=image, slot=(0, 1), compute=Compute(scheduler))
    _, array = source(tmp_path, 1)
    array[:, :40] = 0  # files that are there now, and not after
    writer = create_volume(tmp_path / "b.zarr", grid=GRID, dtype="uint16", levels=1, chunking=CHUNKS)
    for unit in GRID.region.split(writer.write_shape):
        writer.write(unit, np.ascontiguousarray(array[unit.slices]))
    with pytest.raises(
        InputError, match=r"a.zarr has voxels at timepoint 0, channel 1; choose another --slot, or add"
    ):
        plan_convert_volume(tmp_path / "b.zarr", into=image, slot=(0, 1))
    convert_volume(tmp_path / "b.zarr", into=image, slot=(0, 1), overwrite=True, compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(image).read(channel=1), array)
    checked(image)


@pytest.mark.parametrize("writer", [ours, theirs])
def test_an_interrupted_slot_is_seen_and_finished_by_the_same_call(writer, tmp_path, scheduler, monkeypatch):
    path, array = source(tmp_path)
    image = ours(tmp_path / "a.zarr", channels=3) if writer is ours else theirs(tmp_path / "a.zarr", "0.5")
    linked = []
    link = Slot.publish.__globals__["_link"]

    def cut_off(built, target):
        linked.append(target)
        if len(linked) == 3:
            raise KeyboardInterrupt
        link(built, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.volumes.slots._link", cut_off)
        convert_volume(path, into=image, slot=(0, 1), compute=Compute(scheduler))
    found = inspect_volume(image, check=True)
    assert found.unfinished == ["timepoint 0, channel 1"]
    assert found.check.faults[0].reason == "its voxels are incomplete until the same call with --slot has run again"
    done = convert_volume(path, into=image, slot=(0, 1), compute=Compute(scheduler))
    assert done.resumed == done.units
    np.testing.assert_array_equal(open_volume(image).read(channel=1), array)
    checked(image)
    assert not [p for p in tmp_path.iterdir() if p.name.endswith("partial")]


@pytest.mark.parametrize(
    ("into", "options", "sentence"),
    [
        ("gone.zarr/x", {}, r"there is no .*gone.zarr to add to; check the path, or make it with --output"),
        ("a.zarr", {}, r"--into .*a.zarr names no image; name the one to add, such as --into .*a.zarr/NAME"),
        ("a.zarr/s0", {}, r"a.zarr/s0 exists already; choose another name, or add --overwrite"),
        ("a.zarr/s0", {"overwrite": True}, r"s0 is not an image with scales, so it is not replaced"),
        ("a.zarr/s0/x", {}, r"x lies in .*s0, which is an array; name a group beside it"),
        ("a.zarr/x", {"ome_zarr": "0.4"}, r"a.zarr holds 0.5, and one container has one; leave out --ome-zarr"),
        ("a.zarr/labels/x", {}, r"x is the place of a label image; add --interpolation nearest \(of convert-volume"),
        ("a.zarr/x/labels/y", {"label": True}, r"a.zarr/x is no image that could have labels"),
        ("a.zarr/labels", {"label": True}, r"labels holds the label images of .*a.zarr; name one .*labels/NAME"),
        ("a.zarr/labels/x/y", {}, r"labels holds the label images of .*a.zarr; name one .*labels/NAME"),
        ("a.zarr/../b.zarr/x", {}, r"leads out of a group by ..; give the path without it"),
        ("a.tif", {}, r"a.tif is one image; images are added to .zarr and .n5"),
        ("s3://bucket/a.zarr/x", {}, r"a.zarr is not on a disk, where alone images are added"),
        ("a.zarr", {"slot": (0, 2)}, r"a.zarr has 1 timepoints and 2 channels, counted from 0, and so no --slot 0,2"),
        ("a.zarr", {"slot": (0, 1), "levels": 2}, r"--slot has the chunks, scales and version of the image"),
        (
            "a.zarr",
            {"slot": (0, 1), "crop": ((0, 10), (0, 70), (0, 45))},
            r"45 x 70 x 20 voxels .*, and the volume 45 x",
        ),
        ("a.zarr", {"slot": (0, 1), "spacing": (1.0, 1.0, 1.0)}, r"0.5, 0.5, 2 µm .*, and the volume .*; they must"),
        ("a.zarr", {"slot": (0, 1), "dtype": "uint8"}, r"a.zarr holds uint16 voxels, and not uint8"),
        ("packed.zarr", {"slot": (0, 1)}, r"0 keeps 2 channels in one file, so one cannot be written alone; convert"),
    ],
)
def test_what_cannot_be_added_is_one_sentence(into, options, sentence, tmp_path):
    path, _ = source(tmp_path)
    ours(tmp_path / "a.zarr", channels=2)
    theirs(tmp_path / "packed.zarr", "0.5", chunk=2)
    before = content(tmp_path)
    with pytest.raises(InputError, match=sentence) as error:
        plan_convert_volume(path, into=into if "://" in into else tmp_path / into, **options)
    assert "\n" not in str(error.value)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("closed", "into", "options"),
    [
        ("", "x", {}),
        ("labels", "labels/x", {"label": True}),
        ("", "", {"slot": (0, 1)}),
        ("s1", "", {"slot": (0, 1)}),
    ],
)
def test_a_folder_that_may_not_be_written_is_named_before_any_work(closed, into, options, tmp_path, monkeypatch):
    path, _ = source(tmp_path)
    container = ours(tmp_path / "a.zarr", channels=2)
    (container / "labels").mkdir()
    access = os.access  # root, who often runs tests, may write everything
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != container / closed and access(folder, mode))
    with pytest.raises(InputError, match=f"{container / closed} may not be written; ask for the permission"):
        plan_convert_volume(path, into=container / into, **options)


def test_an_output_and_a_container_contradict_each_other(tmp_path):
    path, _ = source(tmp_path)
    container = ours(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"give either an output, a new container, or --into"):
        plan_convert_volume(path, tmp_path / "b.zarr", into=container / "x")
    with pytest.raises(InputError, match=r"give either an output"):
        plan_convert_volume(path)
    with pytest.raises(InputError, match=r"--slot is a timepoint and a channel of an existing image"):
        plan_convert_volume(path, tmp_path / "b.zarr", slot=(0, 0))
