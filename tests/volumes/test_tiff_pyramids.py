"""TIFFs whose pages have coarser levels in SubIFDs, as raw2ometiff, QuPath and Bio-Formats write them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import coarser_levels, open_volume
from volume_files import noise

SPACING = (1.5, 0.5, 0.5)
KINDS = {
    "tiled": {"tile": (32, 32)},
    "compressed": {"tile": (16, 16), "compression": "zlib"},
    "strips": {"rowsperstrip": 16, "compression": "lzw"},
    "flat": {},
}


def write_pyramid(path, array, *, ome=True, axes="ZYX", strides=((1, 2, 2), (1, 4, 4)), **options):
    """A pyramid of every second, every fourth voxel, …"""
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", SPACING, strict=True)}
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as tiff:
        metadata = {"axes": axes, **sizes} if ome else None
        tiff.write(array, subifds=len(strides), photometric="minisblack", metadata=metadata, **options)
        for stride in strides:
            coarse = array[(..., *(slice(None, None, s) for s in stride))]
            tiff.write(coarse, subfiletype=1, photometric="minisblack", metadata=None, **options)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ome", [True, False])
def test_every_level_is_read_to_the_bit(kind, ome, tmp_path):
    array = noise((5, 64, 96), "uint16")
    path = write_pyramid(tmp_path / "a.ome.tif", array, ome=ome, **KINDS[kind])
    spacing = None if ome else SPACING
    np.testing.assert_array_equal(open_volume(path, spacing=spacing).read(), array)
    for name, stride in (("s0", 1), ("s1", 2), ("s2", 4)):
        size = (1.5, 0.5 * stride, 0.5 * stride)
        level = open_volume(path / name, spacing=size if spacing else None)
        half = 0.25 * (stride - 1)
        assert level.grid == Grid((5, 64 // stride, 96 // stride), size, (0, half, half))
        np.testing.assert_array_equal(level.read(), array[:, ::stride, ::stride])
        region = Region((1, 3, 5), (4, 9, 20))
        np.testing.assert_array_equal(level.read(region), array[:, ::stride, ::stride][region.slices])


def test_channels_have_levels_too(tmp_path):
    array = noise((2, 3, 64, 64), "uint8")
    path = write_pyramid(tmp_path / "a.ome.tif", array, axes="CZYX", strides=((1, 2, 2),), tile=(32, 32))
    level = open_volume(path / "s1")
    assert (level.channels, level.grid.shape) == (2, (3, 32, 32))
    np.testing.assert_array_equal(level.read(channel=1), array[1, :, ::2, ::2])


def test_levels_stand_for_means_where_they_cover_the_volume(tmp_path):
    array = noise((4, 65, 64), "uint8")
    volume = open_volume(write_pyramid(tmp_path / "a.ome.tif", array, tile=(32, 32)))
    assert volume.scales == ("s1", "s2")
    assert set(coarser_levels(volume)) == {(1, 2, 2), (1, 4, 4)}
    assert open_volume(f"{volume.uri}/s2").scales == ("s0", "s1")


def test_the_levels_are_listed_and_a_wrong_one_is_named(tmp_path):
    path = write_pyramid(tmp_path / "a.ome.tif", noise((4, 64, 64), "uint8"), tile=(32, 32))
    found = inspect_volume(str(path))
    assert json_of(found)["s1"] == [[32, 32, 4], [1.0, 1.0, 1.5]]
    assert json_of(found)["s2"] == [[16, 16, 4], [2.0, 2.0, 1.5]]
    with pytest.raises(InputError, match=r"a.ome.tif has no scale s3; it holds s0, s1, s2"):
        open_volume(path / "s3")


def json_of(found):
    """Shape and spacing (x, y, z) of the scales, by name."""
    import json

    from teralign.results import to_json

    scales = json.loads(to_json(found))["scales"]
    return {scale["dataset"]: [scale["shape"], scale["spacing_um"]] for scale in scales}
