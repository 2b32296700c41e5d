"""Coarser scales for images of several formats."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import zarr

from teralign.blockwise import run_blocks
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.build_pyramid import build_pyramid
from teralign.volumes import Chunking, Extension, audit_volume, create_volume, open_volume
from teralign.volumes.pyramid import mean, mode
from volume_files import noise, space_axes, write_attributes, write_n5, write_ome_zarr

SHAPE = (20, 45, 38)
SPACING = (2.0, 0.5, 0.5)
FACTORS = [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]


def ours(folder, array):
    writer = create_volume(
        folder / "a.zarr",
        grid=Grid(array.shape, SPACING, (1.0, 2.0, 3.0)),
        dtype=array.dtype,
        chunking=Chunking((8, 16, 16)),
        levels=1,
    )
    for unit in writer.levels[0].region.split(writer.write_shape):
        writer.write(unit, np.ascontiguousarray(array[unit.slices]))
    return folder / "a.zarr"


def ome_zarr(folder, array, version):
    """Axes x, c, z, y, lengths in nm, and a transformation of the group."""
    axes = space_axes("xczy", unit="nanometer")
    own = [
        {"type": "scale", "scale": [250, 1, 1000, 250]},
        {"type": "translation", "translation": [70, 0, 90, 80]},
    ]
    group = [{"type": "scale", "scale": [2, 1, 2, 2]}]
    turned = np.stack([array, array]).transpose(3, 0, 1, 2)
    return write_ome_zarr(folder / "a.zarr", {"0": turned}, axes, {"0": own}, version=version, group_transforms=group)


def ome_zarr_06(folder, array):
    """Transformations in sequences, as 0.6 has them."""
    steps = [{"type": "scale", "scale": SPACING}, {"type": "translation", "translation": [5, 6, 7]}]
    return write_ome_zarr(folder / "a.zarr", {"0": array}, space_axes(), {"0": steps}, version="0.6")


def janelia(folder, array):
    write_n5(folder / "a.n5" / "c0" / "s0", array, {"pixelResolution": SPACING[::-1]}, chunk=16)
    write_n5(folder / "a.n5" / "c1" / "s0", array, {"pixelResolution": SPACING[::-1]}, chunk=16)
    write_attributes(folder / "a.n5", {"n5": "2.0.0"})
    return folder / "a.n5"


def cosem(folder, array):
    place = {"axes": ["z", "y", "x"], "scale": SPACING, "translate": [5, 6, 7], "units": ["um"] * 3}
    write_n5(folder / "a.n5" / "em" / "s0", array, {"transform": place}, chunk=16)
    return folder / "a.n5" / "em"


IMAGES = {
    "ours": ours,
    "ome-zarr-0.6": ome_zarr_06,
    "ome-zarr-0.5": lambda folder, array: ome_zarr(folder, array, "0.5"),
    "ome-zarr-0.4": lambda folder, array: ome_zarr(folder, array, "0.4"),
    "janelia": janelia,
    "cosem": cosem,
}


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", IMAGES)
def test_levels_are_means_and_lie_where_means_do(form, tmp_path, scheduler):
    array = noise(SHAPE, "uint16")
    path = IMAGES[form](tmp_path, array)
    before = content(path)
    finest = open_volume(path)
    assert build_pyramid(str(path), levels=4, compute=Compute(scheduler)).levels == 4
    after = content(path)
    assert all(after[name] == before[name] for name in before if not name.endswith((".json", ".zattrs")))
    prefix = "" if form.startswith("ome") else "s"
    for level, factors in enumerate(FACTORS):
        found = open_volume(path / f"{prefix}{level}")
        expected = finest.grid.downsample(factors)
        assert found.grid.shape == expected.shape
        np.testing.assert_allclose(found.grid.spacing, expected.spacing)
        np.testing.assert_allclose(found.grid.origin, expected.origin)
        if level:
            array = mean(array, tuple(a // b for a, b in zip(factors, FACTORS[level - 1], strict=True)))
            assert {f.state for f in audit_volume(found).findings(1)} == {"whole"}
        for channel in range(finest.channels):
            np.testing.assert_array_equal(found.read(channel=channel), array)
    assert open_volume(path).grid == finest.grid
    assert len(open_volume(path).scales) == 3


def test_zarr_python_sees_the_levels(tmp_path, scheduler):
    for version in ("0.4", "0.5"):
        folder = tmp_path / version
        path = ome_zarr(folder, noise(SHAPE, "uint16"), version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in Zarr v3 that is no standard, but some writers do it
            zarr.consolidate_metadata(path)
        build_pyramid(str(path), levels=2, compute=Compute(scheduler))
        group = zarr.open_group(path, mode="r")
        assert sorted(group.keys()) == ["0", "1"]
        np.testing.assert_array_equal(group["1"][:, 0].transpose(1, 2, 0), open_volume(path / "1").read())


def test_labels_take_the_most_frequent_value(tmp_path, scheduler):
    labels = np.random.default_rng(0).choice(np.array([0, 5, 900], np.uint16), SHAPE)
    path = ours(tmp_path, labels)
    build_pyramid(str(path), levels=2, label=True, compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(path / "s1").read(), mode(labels, (1, 2, 2)))


def test_levels_that_are_there_are_replaced_only_when_told_to(tmp_path, scheduler):
    path = janelia(tmp_path, noise(SHAPE, "uint16"))
    build_pyramid(str(path), levels=4, compute=Compute(scheduler))
    before = content(path)
    with pytest.raises(InputError, match=r"has the scales s1, s2, s3 already; add --overwrite"):
        build_pyramid(str(path), levels=2, compute=Compute(scheduler))
    assert content(path) == before
    build_pyramid(str(path), levels=2, compute=Compute(scheduler), overwrite=True)
    assert sorted(p.name for p in (path / "c1").iterdir() if p.is_dir()) == ["s0", "s1"]
    assert json.loads((path / "c0" / "attributes.json").read_text())["scales"] == [[1, 1, 1], [2, 2, 1]]
    assert not path.with_name("a.n5.partial").exists()


def test_a_run_that_was_cut_off_leaves_the_image_as_it_was_and_goes_on(tmp_path, scheduler, monkeypatch):
    array = noise(SHAPE, "uint16")
    whole, path = ours(tmp_path / "whole", array), ours(tmp_path / "cut", array)
    build_pyramid(str(whole), levels=3, compute=Compute(workers=1))
    before = content(path)

    def cut_off(function, units, **arguments):
        run_blocks(function, list(units)[:2], **arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.filling.filling.run_blocks", cut_off)
        build_pyramid(str(path), levels=3, compute=Compute(scheduler))
    assert content(path) == before
    assert build_pyramid(str(path), levels=3, compute=Compute(scheduler)).resumed == 2
    assert content(path) == content(whole)


def test_cut_off_at_the_very_end_no_level_is_named_that_is_not_whole(tmp_path, scheduler, monkeypatch):
    """The levels are in their places, and the metadata do not say so yet."""
    array = noise(SHAPE, "uint16")
    whole, path = ours(tmp_path / "whole", array), ours(tmp_path / "cut", array)
    build_pyramid(str(whole), levels=3, compute=Compute(scheduler))
    write = Extension._declare

    def cut_off(extension, factors, *display):
        if len(factors) > 1:
            raise KeyboardInterrupt
        write(extension, factors, *display)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Extension, "_declare", cut_off)
        build_pyramid(str(path), levels=3, compute=Compute(scheduler))
    assert open_volume(path).scales == ()
    with pytest.raises(InputError, match=r"has the scales s1, s2 already"):
        build_pyramid(str(path), levels=3, compute=Compute(scheduler))
    assert build_pyramid(str(path), levels=3, compute=Compute(scheduler), overwrite=True).resumed == 0
    assert content(path) == content(whole)


def test_what_cannot_have_levels_is_refused(tmp_path):
    path = write_n5(tmp_path / "a.n5" / "highres", noise(SHAPE, "uint8"), {"pixelResolution": SPACING[::-1]})
    for uri in (path, ours(tmp_path, noise(SHAPE, "uint8")) / "s1"):
        with pytest.raises(InputError):
            build_pyramid(str(uri))
    with pytest.raises(InputError, match=r"small enough without coarser scales.* give --levels"):
        build_pyramid(str(tmp_path / "a.zarr"))
    with pytest.raises(InputError, match=r"highres is not the finest scale .* convert-volume makes"):
        build_pyramid(str(path))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("omero", "expected"),
    [
        (None, "data"),
        ({"channels": [{"label": "DAPI", "color": "FF0000"}]}, "data"),
        ({"channels": [{"window": {"min": 0, "max": 9, "start": 1, "end": 5}}]}, (0, 9, 1, 5)),
        ({"channels": [{"label": "a"}, {"label": "b"}]}, None),
    ],
)
def test_channels_without_a_window_get_one_from_their_voxels(omero, expected, version, tmp_path, scheduler):
    array = np.random.default_rng(0).integers(100, 900, SHAPE).astype("uint16")
    steps = {"0": [{"type": "scale", "scale": SPACING}]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"0": array}, space_axes(), steps, omero=omero, version=version)
    build_pyramid(path, levels=2, compute=Compute(scheduler))
    [settings] = open_volume(path).display
    coarse = mean(array, (1, 2, 2))
    data = (0, 65535, *np.rint(np.percentile(coarse, (0.1, 99.9))))
    assert settings.window == (data if expected == "data" else expected)
    attributes = zarr.open_group(path, mode="r").attrs
    channels = attributes.get("ome", attributes)["omero"]["channels"]
    for own, after in zip((omero or {}).get("channels", ()), channels, strict=omero is not None):
        assert own.items() <= after.items()


def test_labels_get_no_window(tmp_path, scheduler):
    steps = {"0": [{"type": "scale", "scale": SPACING}]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"0": noise(SHAPE, "uint16")}, space_axes(), steps)
    build_pyramid(path, levels=2, label=True, compute=Compute(scheduler))
    assert "omero" not in (path / "zarr.json").read_text()
