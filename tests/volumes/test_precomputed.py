import json

import numpy as np
import pytest

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import coarser_levels, open_volume, split_uri
from volume_files import SPACING, compress_chunks, noise, write_precomputed

SHAPE = (12, 20, 34)


def test_every_scale_is_a_dataset_by_its_key_and_lies_where_means_lie(tmp_path):
    fine, coarse = noise(SHAPE, "uint16"), noise((6, 10, 17), "uint16")
    folder = tmp_path / "image"
    write_precomputed(folder, fine, "8_8_40", resolution=(8, 8, 40), offset=(6, 4, 2))
    write_precomputed(folder, coarse, "more/16_16_80", resolution=(16, 16, 80), offset=(3, 2, 1))
    for uri in (folder, folder / "8_8_40"):
        volume = open_volume(uri)
        assert volume.grid == Grid(SHAPE, (0.04, 0.008, 0.008), (0.08, 0.032, 0.048))
        assert volume.scales == ("more/16_16_80",)
        np.testing.assert_array_equal(volume.read(), fine)
    volume = open_volume(folder / "more" / "16_16_80")
    assert volume.grid.spacing == (0.08, 0.016, 0.016)
    np.testing.assert_allclose(volume.grid.origin, open_volume(folder).grid.downsample((2, 2, 2)).origin)
    np.testing.assert_array_equal(volume.read(), coarse)
    assert list(coarser_levels(open_volume(folder))) == [(2, 2, 2)]
    with pytest.raises(InputError, match=r"image has no scale 8_8_4; did you mean 8_8_40\? It holds 8_8_40, more/16"):
        open_volume(folder / "8_8_4")


def test_it_is_found_by_its_ending_or_by_its_info(tmp_path):
    for name in ("plain", "image.precomputed"):
        scale = write_precomputed(tmp_path / name, noise(SHAPE, "uint8"))
        assert split_uri(scale) == (tmp_path / name, "fine")
        assert split_uri(tmp_path / name) == (tmp_path / name, "")
    (tmp_path / "info").write_text("what is in this folder")
    (tmp_path / "plain" / "notes").mkdir()
    assert split_uri(scale) == (tmp_path / "image.precomputed", "fine")
    assert split_uri(tmp_path / "plain" / "fine") == (tmp_path / "plain", "fine")


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
def test_encodings_and_channels(gzipped, encoding, tmp_path):
    array = noise((3, *SHAPE), "uint64")
    scale = write_precomputed(tmp_path / "image", array, encoding=encoding)
    if gzipped:
        compress_chunks(scale)
    volume = open_volume(scale)
    assert (volume.channels, volume.timepoints, volume.grid) == (3, 1, Grid(SHAPE, SPACING))
    region = Region((3, 5, 7), (9, 6, 30))
    np.testing.assert_array_equal(volume.read(region, channel=1), array[1][region.slices])


def test_chunks_of_both_kinds_may_lie_side_by_side(tmp_path):
    array = noise(SHAPE, "uint16")
    scale = write_precomputed(tmp_path / "image", array)
    plain = sorted(scale.iterdir())[::2]
    kept = {path: path.read_bytes() for path in plain}
    compress_chunks(scale)
    for path, content in kept.items():
        path.with_name(f"{path.name}.gz").unlink()
        path.write_bytes(content)
    np.testing.assert_array_equal(open_volume(scale).read(), array)


@pytest.mark.parametrize("ending", [".br", ".zstd"])
@pytest.mark.parametrize("nested", [False, True])
def test_brotli_and_zstd_are_read_and_their_damage_found(nested, ending, tmp_path):
    array = noise(SHAPE, "uint16")
    scale = write_precomputed(tmp_path / "image", array)
    compress_chunks(scale, nested=nested, ending=ending)
    volume = open_volume(scale)
    np.testing.assert_array_equal(volume.read(), array)
    damaged = min(scale.rglob(f"*{ending}"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"^{damaged} cannot be read: "):
        volume.read()


@pytest.mark.parametrize("ending", [".xz", ".bz2"])
@pytest.mark.parametrize("nested", [False, True])
def test_other_compressions_are_refused_and_not_taken_for_zeros(nested, ending, tmp_path):
    scale = write_precomputed(tmp_path / "image", noise(SHAPE, "uint8"))
    compress_chunks(scale, nested=nested)
    for path in list(scale.rglob("*.gz")):
        path.rename(path.with_suffix(ending))
    with pytest.raises(
        InputError, match=rf"fine has chunks that end in \{ending}; only those without an ending, .gz, .br and"
    ):
        open_volume(scale)


def edit_info(folder, edit):
    content = json.loads((folder / "info").read_text())
    edit(content)
    (folder / "info").write_text(json.dumps(content))


@pytest.mark.parametrize("value", ["gone", None, [8, 8], [8, None, 40], "8"])
@pytest.mark.parametrize("name", ["resolution", "voxel_offset"])
def test_sizes_and_places_without_three_numbers_are_named(name, value, tmp_path):
    folder = write_precomputed(tmp_path / "a.precomputed", noise(SHAPE, "uint8")).parent
    edit_info(folder, lambda info: info["scales"][0].update({name: value}))
    if value == "gone":
        edit_info(folder, lambda info: info["scales"][0].pop(name))
        if name == "voxel_offset":  # which is 0 by default
            assert open_volume(folder).grid.shape == SHAPE
            return
    with pytest.raises(InputError, match="a scale without three numbers for its resolution or voxel_offset"):
        open_volume(folder)


def test_broken_metadata_are_named(tmp_path):
    folder = write_precomputed(tmp_path / "a.precomputed", noise(SHAPE, "uint8")).parent
    (folder / "fine").rename(folder / "lost")
    with pytest.raises(InputError, match=r"info declares the scale fine, but its folder is missing"):
        open_volume(folder)
    (folder / "lost").rename(folder / "fine")
    edit_info(folder, lambda info: info.update(scales=[]))
    with pytest.raises(InputError, match=r"info declares no scales"):
        open_volume(folder)
    with pytest.raises(InputError, match=r"^there is no .*gone.precomputed; check the path.$"):
        open_volume(tmp_path / "gone.precomputed")


def test_an_offset_need_not_be_said(tmp_path):
    array = noise(SHAPE, "uint8")
    scale = write_precomputed(tmp_path / "image", array)
    compress_chunks(scale)
    edit_info(scale.parent, lambda info: info["scales"][0].pop("voxel_offset"))
    assert open_volume(scale).grid == Grid(SHAPE, SPACING)
    np.testing.assert_array_equal(open_volume(scale).read(), array)
