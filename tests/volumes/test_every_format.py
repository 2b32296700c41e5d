"""What every format adapter must pass: geometry and voxels to the bit, however they are asked for."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from teralign.errors import DataError
from teralign.grids import Region
from teralign.volumes import open_volume
from volume_files import EVERY_FORMAT, SPACING, noise

SHAPE = (5, 19, 33)
HELD = [(name, dtype) for name, form in EVERY_FORMAT.items() for dtype in form.dtypes]


CHUNKED = ["n5", "ome-zarr-0.4", "ome-zarr-0.5", "ome-zarr-0.6", "zarr-v2-big-endian", "zarr-v3-sharded"]
CHUNKED += ["precomputed", "precomputed-gz", "precomputed-nested"]


def voxel_files(folder):
    """The files in a folder that hold voxels, not metadata."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".z")]
    return [path for path in found if path.name != "info" and path.suffix != ".json"]


def overwrite_the_middle(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CHECKED = ["n5", "nrrd", "nifti-gz", "tiff-slices-tiled", "png-slices", "precomputed-gz", "precomputed-nested"]
DAMAGE = [(name, overwrite_the_middle) for name in CHECKED] + [(name, cut_in_half) for name in EVERY_FORMAT]


@pytest.fixture(params=EVERY_FORMAT)
def write(request, tmp_path):
    return lambda array: EVERY_FORMAT[request.param].write(tmp_path, array)


class TestEveryFormat:
    @pytest.mark.parametrize(("name", "dtype"), HELD)
    def test_gives_every_voxel_to_the_bit(self, name, dtype, tmp_path):
        array = noise(SHAPE, dtype)
        uri, grid = EVERY_FORMAT[name].write(tmp_path, array)
        volume = open_volume(uri, spacing=SPACING)
        found = volume.read()
        assert volume.grid == grid
        assert (volume.channels, volume.timepoints, volume.channel_names) == (1, 1, ("0",))
        assert volume.dtype == found.dtype == np.dtype(dtype)
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, array)

    def test_gives_regions_of_odd_places_and_shapes(self, write):
        array = noise(SHAPE, "uint16")
        volume = open_volume(write(array)[0], spacing=SPACING)
        regions = [Region((1, 3, 7), (4, 18, 30)), Region((4, 18, 32), SHAPE), Region((0, 7, 0), (5, 8, 33))]
        for region in regions:
            found = volume.read(region)
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, array[region.slices])
        assert volume.read(Region((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)

    @pytest.mark.parametrize("shape", [(3, 1, 17), (2, 9, 2)])
    def test_may_be_thin(self, write, shape):
        array = noise(shape, "uint16")
        uri, grid = write(array)
        volume = open_volume(uri, spacing=SPACING)
        assert volume.grid == grid
        np.testing.assert_array_equal(volume.read(), array)

    @pytest.mark.parametrize("region", [Region((0, 0, 0), (5, 19, 34)), Region((-1, 0, 0), (2, 2, 2))])
    def test_refuses_what_is_outside(self, write, region):
        volume = open_volume(write(noise(SHAPE, "uint8"))[0], spacing=SPACING)
        with pytest.raises(ValueError, match=r"not inside"):
            volume.read(region)
        with pytest.raises(ValueError, match=r"no channel 1"):
            volume.read(channel=1)

    def test_travels_to_a_worker_before_and_after_it_was_read(self, write):
        array = noise(SHAPE, "uint16")
        volume = open_volume(write(array)[0], spacing=SPACING)
        fresh = len(pickle.dumps(volume))
        volume.read()
        sent = pickle.dumps(volume)
        assert len(sent) == fresh < 4000
        np.testing.assert_array_equal(pickle.loads(sent).read(), array)

    def test_is_read_by_several_threads_at_once(self, write):
        array = noise(SHAPE, "uint16")
        volume = open_volume(write(array)[0], spacing=SPACING)
        regions = list(Region.whole(SHAPE).split((2, 8, 8)))
        with ThreadPoolExecutor(4) as pool:
            for region, found in zip(regions, pool.map(volume.read, regions), strict=True):
                np.testing.assert_array_equal(found, array[region.slices])

    def test_has_a_digest_that_tells_another_volume(self, write):
        uri, _ = write(noise(SHAPE, "uint16"))
        digest = open_volume(uri, spacing=SPACING).digest()
        assert digest == pickle.loads(pickle.dumps(open_volume(uri, spacing=SPACING))).digest()
        assert digest != open_volume(uri, spacing=(1, 1, 1)).digest()

    @pytest.mark.parametrize("name", CHUNKED)
    def test_a_chunk_that_nobody_wrote_is_zero(self, name, tmp_path):
        array = np.full((16, 16, 24), 7, "uint16")
        uri, _ = EVERY_FORMAT[name].write(tmp_path, array)
        chunks = voxel_files(tmp_path)
        assert len(chunks) == 2 * 2 * 3
        chunks[0].unlink()
        found = open_volume(uri, spacing=SPACING).read()
        assert (found == 0).sum() == 8**3
        assert (found == 7).sum() == array.size - 8**3
        for chunk in chunks[1:]:
            chunk.unlink()
        assert not open_volume(uri, spacing=SPACING).read().any()

    @pytest.mark.parametrize(("name", "damage"), DAMAGE)
    def test_damaged_voxels_are_an_error_that_names_the_file(self, name, damage, tmp_path):
        uri, _ = EVERY_FORMAT[name].write(tmp_path, noise((16, 32, 32), "uint16"))
        volume = open_volume(uri, spacing=SPACING)
        damage(max(voxel_files(tmp_path), key=lambda path: path.stat().st_size))
        with pytest.raises(DataError, match=f"{tmp_path}.*cannot be read"):
            volume.read()
