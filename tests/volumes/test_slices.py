import numpy as np
import pytest
import tifffile

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.volumes import open_volume, split_uri
from volume_files import SPACING, noise, write_slices

SHAPE = (12, 20, 34)


@pytest.mark.parametrize("name", ["{}.tif", "{:02d}.tif", "{:06d}.TIF", "brain 2_z{}_ch1.tiff", "s{}.png"])
def test_slices_come_in_the_order_of_their_numbers(name, tmp_path):
    array = noise(SHAPE, "uint16")
    folder = write_slices(tmp_path / "slices", array, name)
    (folder / ".DS_Store").write_text("hidden")
    assert split_uri(folder) == (folder, "")
    volume = open_volume(folder, spacing=SPACING)
    assert volume.grid == Grid(SHAPE, SPACING)
    np.testing.assert_array_equal(volume.read(), array)
    region = Region((3, 5, 7), (9, 6, 30))
    np.testing.assert_array_equal(volume.read(region), array[region.slices])


def test_numbers_may_count_in_steps(tmp_path):
    array = noise(SHAPE, "uint8")
    folder = write_slices(tmp_path / "slices", array)
    for z in reversed(range(SHAPE[0])):
        (folder / f"slice_{z + 8:03d}.tif").rename(folder / f"at_{z * 25 + 50}_um.tif")
    np.testing.assert_array_equal(open_volume(folder, spacing=SPACING).read(), array)


def test_only_the_slices_and_tiles_that_are_asked_for_are_read(tmp_path):
    array = noise(SHAPE, "uint16")
    folder = write_slices(tmp_path / "slices", array, compression="zlib", tile=(16, 16))
    volume = open_volume(folder, spacing=SPACING)
    assert volume.chunk_shape == (1, 16, 16)
    (folder / "slice_010.tif").write_bytes(b"damaged")
    (folder / "slice_011.tif").unlink()
    np.testing.assert_array_equal(volume.read(Region((4, 0, 0), SHAPE)), array[4:])
    for z, name in ((2, "slice_010.tif"), (3, "slice_011.tif")):
        with pytest.raises(DataError, match=f"the slice .*{name} cannot be read: "):
            volume.read(Region((z, 0, 0), (z + 1, 4, 4)))


@pytest.mark.parametrize(("name", "options"), [("{}.tif", {"photometric": "rgb"}), ("{}.png", {})])
def test_colour_samples_are_channels(name, options, tmp_path):
    array = noise((*SHAPE, 3), "uint8")
    volume = open_volume(write_slices(tmp_path / "slices", array, name, **options), spacing=SPACING)
    assert (volume.channels, volume.timepoints, volume.grid.shape) == (3, 1, SHAPE)
    region = Region((3, 5, 7), (9, 6, 30))
    np.testing.assert_array_equal(volume.read(region, channel=1), array[..., 1][region.slices])


def test_colours_may_lie_one_after_the_other(tmp_path):
    array = noise((4, 3, 20, 34), "uint8")
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib", "rowsperstrip": 8}
    volume = open_volume(write_slices(tmp_path / "slices", array, **options), spacing=SPACING)
    assert (volume.channels, volume.grid.shape, volume.chunk_shape) == (3, (4, 20, 34), (1, 8, 34))
    np.testing.assert_array_equal(volume.read(channel=2), array[:, 2])


def test_the_voxel_size_is_the_first_slices_where_it_says_one(tmp_path):
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    folder = write_slices(
        tmp_path / "a", noise(SHAPE, "uint8"), "{}.ome.tif", ome=True, metadata={"axes": "YX"} | sizes
    )
    assert open_volume(folder).grid == Grid(SHAPE, SPACING)
    for name in ("{}.tif", "{}.png"):
        folder = write_slices(tmp_path / name[3:], noise(SHAPE, "uint8"), name)
        with pytest.raises(InputError, match=r"does not say how large its voxels are; give --spacing"):
            open_volume(folder)


@pytest.mark.parametrize("change", [noise((20, 35), "uint16"), noise((20, 34), "uint8")])
def test_a_slice_unlike_the_first_is_an_error_where_it_is_read(change, tmp_path):
    folder = write_slices(tmp_path / "slices", noise(SHAPE, "uint16"))
    tifffile.imwrite(folder / "slice_013.tif", change)
    volume = open_volume(folder, spacing=SPACING)
    with pytest.raises(
        DataError, match=r"slice_013.tif cannot be read: it has 3. x 20 .* pixels, the first slice 34 x"
    ):
        volume.read()


def named(folder, *names):
    """A folder of files with these names."""
    folder.mkdir()
    for name in names:
        tifffile.imwrite(folder / name, np.zeros((4, 4), "uint8"))
    return folder


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["z1.tif", "z2.tif", "z4.tif", "z5.tif"], "not evenly numbered: z4.tif comes where z3.tif should"),
        (["z01.tif", "z2.tif"], "not evenly numbered: z2.tif comes where z02.tif should"),
        (["z1.tif", "z2.tif", "mean.tif"], "not named alike, such as mean.tif and z1.tif"),
        (["c0_z0.tif", "c0_z1.tif", "c1_z0.tif", "c1_z1.tif"], "more than one number that counts"),
        (["z1.tif"], "has one image only, z1.tif"),
        (["mean.tif"], "has one image only, mean.tif"),
    ],
)
def test_names_that_leave_the_order_open_are_refused(names, said, tmp_path):
    with pytest.raises(InputError, match=said):
        open_volume(named(tmp_path / "slices", *names), spacing=SPACING)


def test_a_folder_of_stacks_is_no_volume(tmp_path):
    folder = named(tmp_path / "stacks", "z1.tif", "z2.tif")
    tifffile.imwrite(folder / "z1.tif", np.zeros((3, 4, 4), "uint8"), photometric="minisblack")
    with pytest.raises(InputError, match=r"z1.tif is not a slice that can be read: it holds 3 images"):
        open_volume(folder, spacing=SPACING)


@pytest.mark.parametrize(
    "name",
    ["Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "._z001.tif", "notes.txt", "acquisition.LOG", "a.xml"],
)
def test_notes_and_what_desktops_leave_behind_are_passed_over(name, tmp_path):
    array = noise((3, 4, 4), "uint8")
    folder = write_slices(tmp_path / "slices", array)
    (folder / name).write_text("no slice")
    np.testing.assert_array_equal(open_volume(folder, spacing=SPACING).read(), array)


@pytest.mark.parametrize("name", ["stack.nd2", "z003.jpg", "z003.tif.tmp", "deeper"])
def test_anything_else_among_slices_is_named(name, tmp_path):
    folder = named(tmp_path / "slices", "z1.tif", "z2.tif")
    if name == "deeper":
        (folder / name).mkdir()
    else:
        (folder / name).write_text("no slice")
    said = f"{folder} is in no readable format: it holds images, but also {name}; if the images are slices"
    with pytest.raises(InputError, match=said):
        open_volume(folder, spacing=SPACING)


def test_a_folder_without_images_is_no_volume(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty is in no readable format; readable formats are N5"):
        open_volume(tmp_path / "empty", spacing=SPACING)


def test_a_png_with_few_bits_or_a_palette_is_refused(tmp_path):
    folder = write_slices(tmp_path / "slices", noise(SHAPE, "uint8"), "{}.png")
    content = bytearray((folder / "8.png").read_bytes())
    for depth, colour in ((1, 0), (8, 3)):
        content[24:26] = depth, colour
        (folder / "8.png").write_bytes(content)
        with pytest.raises(
            InputError, match=r"8.png is not a slice that can be read: it has . bits a sample, or a palette"
        ):
            open_volume(folder, spacing=SPACING)
    (folder / "8.png").write_text("no image")
    with pytest.raises(InputError, match=r"8.png is not a slice that can be read: it is not a PNG"):
        open_volume(folder, spacing=SPACING)
