"""Scans of other programs: what is read is where it was, and what is written is read again."""

import re

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from real_data import REAL_DATA, needs_real_data
from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.tasks.import_tiles import export_tiles, import_tiles
from teralign.tiles import Tile, TileChannel, TileReader, TileSet, TileSource, read_tiles, write_tiles
from teralign.tiles.bigstitcher import read_bigstitcher
from teralign.tiles.bigstitcher_export import write_bigstitcher
from teralign.tiles.terastitcher import read_terastitcher, write_terastitcher
from teralign.volumes import create_volume

SPACING = (2.0, 0.5, 0.5)
SHAPE = (4, 16, 16)
PLACE = st.floats(-1e5, 1e5)
POSITIONS = st.lists(st.tuples(PLACE, PLACE, PLACE), min_size=1, max_size=4)


def write_planes(folder, pattern, value, planes=SHAPE[0]):
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(planes):
        tifffile.imwrite(folder / pattern.format(z), np.full(SHAPE[1:], 10 * value + z, np.uint16))


def write_colm(folder, step_mm="0.003500", cells="1,1\n1,0\n", channels=1, objective="10x"):
    folder.mkdir(exist_ok=True)
    (folder / "Experiment.ini").write_text(
        '[North Scan Region]\nNum Horizontal = "2"\nNum Vertical = "2"\n'
        f'Stack Step (mm) = "{step_mm}"\n'
        '[Experiment Settings]\nNum in stack (Top Left Corner) = "4"\nX Resolution = "16"\n'
        f'Num Enabled Channels = "{channels}"\n[North Scan Region Stats]\n'
        'Actual Horizontal Overlap (%) = "25.0"\nActual Vertical Overlap (%) = "12.5"\n'
        f'[Objectives]\nNorth = "{objective}"\n'
    )
    (folder / "Scanned Cells.txt").write_text(cells)
    for location in (0, 1, 2):
        for channel in range(channels):
            name = f"LOC{location:03d}_CHN0{channel}_PLN{{:04d}}.tiff"
            write_planes(folder / "VW0" / f"LOC{location:03d}", name, 100 * channel + location)
    return folder


def imported(source, folder, **options):
    import_tiles(source, folder / "tiles.json", overwrite=True, **options)
    return read_tiles(folder / "tiles.json")


def voxel(tiles, folder, name, channel=0, z=0):
    reader = TileReader(tiles, folder)
    return int(reader.read(tiles.by_name(name), channel, Region((z, 0, 0), (z + 1, 1, 1))).item())


def test_z_step_truncated_to_integer_um(tmp_path):
    """A step of 3.5 µm stays 3.5 µm, not 3."""
    assert imported(write_colm(tmp_path / "scan"), tmp_path).spacing[0] == pytest.approx(3.5)


def test_a_colm_experiment(tmp_path):
    tiles = imported(write_colm(tmp_path / "scan", channels=2), tmp_path)
    pixel = 0.585 * 2048 / 16
    assert tiles.spacing == pytest.approx((3.5, pixel, pixel))
    assert [tile.state for tile in tiles.tiles] == ["present", "present", "present", "absent"]
    assert tiles.by_name("LOC003").shape == SHAPE
    assert tiles.by_name("LOC002").position == pytest.approx((0, 14 * pixel, 0))
    assert tiles.by_name("LOC001").position == pytest.approx((0, 0, 12 * pixel))
    assert tiles.by_name("LOC001").index == (0, 0, 1)
    assert [channel.name for channel in tiles.channels] == ["CHN00", "CHN01"]
    assert [voxel(tiles, tmp_path, "LOC001", c, 3) for c in (0, 1)] == [13, 1013]


def test_all_channels_of_a_scan_are_imported_not_the_first_alone(tmp_path):
    tiles = imported(write_colm(tmp_path / "scan", channels=3), tmp_path)
    assert all(len(tile.sources) == 3 for tile in tiles.present)


def test_another_objective_asks_for_the_voxel_size(tmp_path):
    with pytest.raises(InputError, match="give --spacing"):
        imported(write_colm(tmp_path / "scan", objective="63x"), tmp_path)
    assert imported(tmp_path / "scan", tmp_path, spacing=SPACING).by_name("LOC001").position == (0, 0, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("Stack Step", "Step"), "lacks 'Stack Step"),
        (lambda t: t.replace('"4"', '"many"'), "malformed"),
        (lambda t: t.replace('Num Vertical = "2"', 'Num Vertical = "3"'), "3 rows of 2 cells"),
        (lambda t: "no ini at all", "malformed"),
    ],
)
def test_a_damaged_experiment_is_named(tmp_path, change, words):
    file = write_colm(tmp_path / "scan") / "Experiment.ini"
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError, match=words):
        imported(tmp_path / "scan", tmp_path)


def test_a_location_that_is_lost_is_named_or_skipped(tmp_path):
    scan = write_colm(tmp_path / "scan")
    (scan / "VW0" / "LOC001").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="the tile LOC001 cannot be read"):
        imported(scan, tmp_path)
    tiles = imported(scan, tmp_path, skip_unreadable=True)
    assert tiles.by_name("LOC001").state == "unreadable"
    assert tiles.by_name("LOC001").position[2] > 0


def write_terastitcher_project(folder, name="xml_import.xml"):
    """A project as TeraStitcher writes it; names of the files do not matter (resume XML names)."""
    for column in (0, 1):
        write_planes(folder / f"000000/000000_{column:06d}", "{:06d}.tif", column)
    stacks = [
        (0, 0, 0, 1, 2, "000000/000000_000000", "[0,4)", ".*\\.tif"),
        (0, 1, 13, -1, 0, "000000/000000_000001", "[0,4)", ".*\\.tif"),
        (1, 0, 0, 14, 0, "", "", ""),
    ]
    rows = "".join(
        f'<Stack N_CHANS="1" N_BYTESxCHAN="2" ROW="{r}" COL="{c}" ABS_V="{v}" ABS_H="{h}" ABS_D="{d}" '
        f'DIR_NAME="{where}" Z_RANGES="{z}" IMG_REGEX="{names}"><NORTH_displacements /></Stack>'
        for r, c, h, v, d, where, z, names in stacks
    )
    (folder / name).write_text(
        '<?xml version="1.0" encoding="UTF-8" ?><!DOCTYPE TeraStitcher SYSTEM "TeraStitcher.DTD">'
        '<TeraStitcher volume_format="TiledXY|2Dseries"><stacks_dir value="/elsewhere/raw" />'
        '<voxel_dims V="0.5" H="0.5" D="2" /><origin V="0" H="0" D="0" />'
        '<mechanical_displacements V="7" H="7" />'
        f'<dimensions stack_rows="2" stack_columns="2" stack_slices="4" /><STACKS>{rows}</STACKS></TeraStitcher>'
    )
    return folder / name


@pytest.mark.parametrize("name", ["xml_import.xml", "xml_merging.xml", "any.xml"])
def test_resume_xml_names_never_match(tmp_path, name):
    """A project of TeraStitcher is known by its content, whatever its name."""
    tiles = imported(write_terastitcher_project(tmp_path, name), tmp_path)
    assert tiles.spacing == SPACING
    assert [tile.position for tile in tiles.tiles] == [(4, 0.5, 0), (0, -0.5, 6.5), (0, 7, 0)]
    assert [tile.state for tile in tiles.tiles] == ["present", "present", "absent"]
    assert voxel(tiles, tmp_path, "R000_C001", z=2) == 12


def test_what_terastitcher_moved_counts(tmp_path):
    tiles = imported(write_terastitcher_project(tmp_path), tmp_path)
    write_tiles(tmp_path / "tiles.json", tiles)
    export_tiles(tmp_path / "tiles.json", tmp_path / "out.xml", form="terastitcher")
    text = (tmp_path / "out.xml").read_text()
    assert imported(tmp_path / "out.xml", tmp_path).by_name("R000_C001").position == (0, -0.5, 6.5)
    (tmp_path / "out.xml").write_text(text.replace('ABS_H="13"', 'ABS_H="15"'))
    assert imported(tmp_path / "out.xml", tmp_path).by_name("R000_C001").position == (0, -0.5, 7.5)


@settings(deadline=None, max_examples=25)
@given(POSITIONS, st.booleans())
def test_terastitcher_xml_is_read_with_equal_positions(tmp_path_factory, positions, planes):
    folder = tmp_path_factory.mktemp("terastitcher")
    source = TileSource("raw", planes="*.tif") if planes else TileSource("raw/a.tif")
    tiles = TileSet(
        SPACING,
        (TileChannel("0"),),
        tuple(Tile(f"t{k}", p, SHAPE, sources=(source,), index=(0, k, 1)) for k, p in enumerate(positions)),
    )
    write_terastitcher(folder / "out.xml", tiles, folder)
    found = read_terastitcher(folder / "out.xml")
    assert [tile.position for tile in found.tiles] == [tile.position for tile in tiles.tiles]
    assert [(tile.name, tile.index) for tile in found.tiles] == [(tile.name, tile.index) for tile in tiles.tiles]
    assert found.spacing == SPACING


def test_terastitcher_cannot_hold_what_has_no_place_in_a_grid(tmp_path):
    tiles = TileSet(SPACING, (TileChannel("0"),), (Tile("a", (0, 0, 0), SHAPE, sources=(TileSource("a.tif"),)),))
    with pytest.raises(InputError, match="the tile a lacks them"):
        write_terastitcher(tmp_path / "out.xml", tiles, tmp_path)


AFFINES = st.lists(st.floats(-0.2, 0.2), min_size=9, max_size=9)


@settings(deadline=None, max_examples=25)
@given(
    POSITIONS,
    st.none() | AFFINES,
    st.sampled_from(["tif", "zarr", "n5"]),
)
def test_bigstitcher_xml_is_read_with_equal_positions(tmp_path_factory, positions, linear, kind):
    folder = tmp_path_factory.mktemp("bigstitcher")
    matrix = None if linear is None else tuple(map(tuple, (np.eye(3) + np.reshape(linear, (3, 3))).tolist()))
    uri = {"tif": "t{0}.tif", "zarr": "t{0}.zarr", "n5": "all.n5/setup{0}/timepoint0/s0"}[kind]
    n = len(positions)
    tiles = TileSet(
        SPACING,
        (TileChannel("red"), TileChannel("green")),
        tuple(
            Tile(f"t{k}", p, SHAPE, sources=(TileSource(uri.format(k)), TileSource(uri.format(k + n))), matrix=matrix)
            for k, p in enumerate(positions)
        ),
    )
    write_bigstitcher(folder / "out.xml", tiles, folder)
    found = read_bigstitcher(folder / "out.xml")
    assert found.spacing == SPACING
    assert list(found.channels) == ["red", "green"]
    for a, b in zip(found.tiles, tiles.tiles, strict=True):
        assert (a.name, a.position) == (b.name, b.position)
        assert [s.uri for s in a.sources] == [str(folder / s.uri) for s in b.sources]
        np.testing.assert_allclose(a.matrix or np.eye(3), b.matrix or np.eye(3), atol=1e-9)


def bdv_xml(registrations, loader, unit="um", setups=2):
    views = "".join(
        f"<ViewSetup><id>{k}</id><size>16 16 4</size><voxelSize><unit>{unit}</unit><size>0.5 0.5 2</size></voxelSize>"
        f"<attributes><tile>{k}</tile><channel>0</channel></attributes></ViewSetup>"
        for k in range(setups)
    )
    listed = "".join(
        f'<ViewRegistration timepoint="0" setup="{k}">'
        + "".join(f'<ViewTransform type="affine"><affine>{a}</affine></ViewTransform>' for a in affines)
        + "</ViewRegistration>"
        for k, affines in enumerate(registrations)
    )
    return (
        '<SpimData><BasePath type="relative">.</BasePath><SequenceDescription>'
        f"{loader}<ViewSetups>{views}</ViewSetups>"
        '<Timepoints type="pattern"><integerpattern>0</integerpattern></Timepoints></SequenceDescription>'
        f"<ViewRegistrations>{listed}</ViewRegistrations></SpimData>"
    )


def test_registrations_are_composed_the_last_applied_first(tmp_path):
    """BigStitcher's world counts in the finest voxels: its calibration is 1 1 4."""
    for k in (0, 1):
        tifffile.imwrite(tmp_path / f"{k}.tif", np.zeros(SHAPE, np.uint16), photometric="minisblack")
    files = "".join(
        f'<FileMapping view_setup="{k}" timepoint="0" series="0" channel="0">'
        f'<file type="relative">{k}.tif</file></FileMapping>'
        for k in (0, 1)
    )
    loader = f'<ImageLoader format="spimreconstruction.filemap2"><files>{files}</files></ImageLoader>'
    calibration, moved, shifted = "1 0 0 0 0 1 0 0 0 0 4 0", "1 0 0 10 0 1 0 2 0 0 1 3", "1 0 0 .5 0 1 0 0 0 0 1 0"
    (tmp_path / "dataset.xml").write_text(bdv_xml([[moved, calibration], [shifted, moved, calibration]], loader))
    tiles = imported(tmp_path / "dataset.xml", tmp_path)
    assert tiles.spacing == (2, 0.5, 0.5)
    assert [tile.position for tile in tiles.tiles] == [(1.5, 1, 5), (1.5, 1, 5.25)]
    assert [tile.matrix for tile in tiles.tiles] == [None, None]


def test_tiles_in_n5_of_bigdataviewer(tmp_path):
    for k in (0, 1):
        grid = Grid((32, 32, 32), SPACING)
        writer = create_volume(tmp_path / f"dataset.n5/setup{k}/timepoint0/s0", grid=grid, dtype=np.uint16, levels=1)
        list(writer.write(grid.region, np.full(grid.shape, k + 5, np.uint16)))
        writer.finish([])
    loader = '<ImageLoader format="bdv.n5" version="1.0"><n5 type="relative">dataset.n5</n5></ImageLoader>'
    placed = [[f"0.5 0 0 {9 * k} 0 0.5 0 0 0 0 2 0"] for k in (0, 1)]
    (tmp_path / "dataset.xml").write_text(bdv_xml(placed, loader))
    tiles = imported(tmp_path / "dataset.xml", tmp_path)
    assert [tile.position for tile in tiles.tiles] == [(0, 0, 0), (0, 0, 9)]
    assert voxel(tiles, tmp_path, tiles.tiles[1].name) == 6


def test_a_loader_that_is_not_known_is_named(tmp_path):
    loader = '<ImageLoader format="strange.loader" />'
    (tmp_path / "dataset.xml").write_text(bdv_xml([["1 0 0 0 0 1 0 0 0 0 1 0"]] * 2, loader))
    with pytest.raises(InputError, match=r"strange\.loader"):
        imported(tmp_path / "dataset.xml", tmp_path)


@pytest.mark.parametrize(
    "text", ["<SpimData>", "<SpimData/>", "<TeraStitcher/>", "<TeraStitcher><STACKS/></TeraStitcher>", "<x/>", "x"]
)
def test_xml_that_is_none_is_one_sentence(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml"):
        imported(tmp_path / "a.xml", tmp_path)


def test_ome_zarr_images_with_translations(tmp_path):
    folder = tmp_path / "scan"
    for k in (0, 1):
        grid = Grid((8, 16, 16), SPACING, (0, 1, 7.25 * k))
        writer = create_volume(folder / f"tile{k}.zarr", grid=grid, dtype=np.uint16, levels=1)
        list(writer.write(grid.region, np.full(grid.shape, k + 5, np.uint16)))
        writer.finish([])
    tiles = imported(folder, tmp_path)
    assert tiles.spacing == SPACING
    assert [tile.position for tile in tiles.tiles] == [(0, 1, 0), (0, 1, 7.25)]
    assert voxel(tiles, tmp_path, "tile1") == 6


FIJI = "# Define the number of dimensions we are working on\ndim = 2\n\n# Define the image coordinates\n"


def test_a_configuration_of_fiji(tmp_path):
    for name in ("a1.tif", "a2.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint16))
    (tmp_path / "TileConfiguration.txt").write_text(f"{FIJI}a1.tif; ; (0.0, 0.0)\na2.tif; ; (6.5, -1.25)\n")
    tiles = imported(tmp_path / "TileConfiguration.txt", tmp_path, spacing=SPACING)
    assert [tile.position for tile in tiles.tiles] == [(0, 0, 0), (0, -0.625, 3.25)]
    assert tiles.tiles[0].shape == (1, 8, 8)


def test_the_command_takes_tiles_from_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "all.tif", np.zeros((2, 8, 8), np.uint16), photometric="minisblack")
    (tmp_path / "TileConfiguration.txt").write_text(f"{FIJI}a1.tif; ; (0.0, 0.0)\na2.tif; ; (6.5, -1.25)\n")
    source, output = tmp_path / "TileConfiguration.txt", tmp_path / "tiles.json"
    options = ["--stack", str(tmp_path / "all.tif"), "--spacing", "0.5,0.5,1"]
    assert run(load_command("import-tiles"), [str(source), str(output), *options], name="import-tiles") == 0
    assert [tile.sources[0].z_range for tile in read_tiles(output).tiles] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("line", ["a.tif; ; (1, 2, 3, 4)", "a.tif; ; (x, y)", "a.tif (1, 2)", "a.tif; 3; (1, 2)"])
def test_a_bad_line_of_fiji_is_named(tmp_path, line):
    (tmp_path / "TileConfiguration.txt").write_text(FIJI + line)
    with pytest.raises(InputError, match="line 5"):
        imported(tmp_path / "TileConfiguration.txt", tmp_path, spacing=SPACING)


@needs_real_data
def test_real_tiles_are_slices_of_a_stack_in_the_order_of_their_numbers(tmp_path):
    stack = REAL_DATA / "tiles" / "wsi_brain.tif"
    tiles = imported(REAL_DATA / "tiles" / "wsi_TileConfiguration.txt", tmp_path, stack=stack, spacing=(1, 1, 1))
    assert len(tiles.tiles) == 54  # of 63 slices
    assert tiles.tiles[0].shape == (1, 512, 512)
    numbers = [int(re.findall(r"\d+$", tile.name)[0]) for tile in tiles.tiles]
    ranks = [sorted(numbers).index(number) for number in numbers]
    assert [tile.sources[0].z_range for tile in tiles.tiles] == [(rank, rank + 1) for rank in ranks]
    whole = tifffile.imread(stack)
    np.testing.assert_array_equal(
        TileReader(tiles, tmp_path).read(tiles.tiles[3], 0, Region.whole((1, 512, 512)))[0], whole[ranks[3]]
    )


def test_a_folder_that_is_no_scan(tmp_path):
    with pytest.raises(InputError, match="no scan that can be imported"):
        imported(tmp_path, tmp_path)
