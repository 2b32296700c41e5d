import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from teralign.errors import InputError
from teralign.tasks.import_tiles import export_tiles, import_tiles
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, read_tiles
from teralign.tiles.tables import read_table, write_table

SPACING = (2.0, 0.5, 0.5)
PLACE = st.floats(-1e6, 1e6)


def write_stacks(folder, *names, shape=(4, 8, 8)):
    for k, name in enumerate(names):
        tifffile.imwrite(
            folder / name, np.full(shape, k, np.uint16), photometric="minisblack", metadata={"axes": "ZYX"}
        )


def test_a_table_of_stacks(tmp_path):
    write_stacks(tmp_path, "a.tif", "b.tif")
    (tmp_path / "stage.csv").write_text("file,row,col,z,y,x\na.tif,0,0,0,0.25,0\nb.tif,0,1,1.5,0,3.125\n")
    found = import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING)
    tiles = read_tiles(tmp_path / "tiles.json")
    assert (found.tiles, found.states, found.pairs) == (2, {"present": 2}, 1)
    assert [tile.position for tile in tiles.tiles] == [(0, 0.25, 0), (1.5, 0, 3.125)]
    assert [tile.stage for tile in tiles.tiles] == [tile.position for tile in tiles.tiles]
    assert [tile.index for tile in tiles.tiles] == [(0, 0, 0), (0, 0, 1)]
    assert [tile.sources[0].uri for tile in tiles.tiles] == ["a.tif", "b.tif"]
    assert tiles.tiles[0].shape == (4, 8, 8)


def test_a_folder_with_its_table(tmp_path):
    write_stacks(tmp_path, "a.tif")
    (tmp_path / "stage.csv").write_text("file;z;y;x\na.tif;0;0;0\n")
    (tmp_path / "notes.csv").write_text("day,who\n1,me\n")
    import_tiles(tmp_path, tmp_path / "out" / "tiles.json", spacing=SPACING)
    assert read_tiles(tmp_path / "out" / "tiles.json").tiles[0].sources[0].uri == str(tmp_path / "a.tif")


@pytest.mark.parametrize("grid", [True, False])
def test_rows_that_differ_in_channel_are_one_tile(tmp_path, grid):
    write_stacks(tmp_path, "a0.tif", "a1.tif", "b0.tif", "b1.tif")
    rows = [("a0", 0, 0, 0), ("a1", 0, 1, 0), ("b0", 1, 0, 4), ("b1", 1, 1, 4)]
    head = "file,row,col,layer,channel,z,y,x\n" if grid else "file,channel,z,y,x\n"
    lines = [f"{f}.tif,{f'0,{c},0,' if grid else ''}{k},0,0,{x}\n" for f, c, k, x in rows]
    (tmp_path / "stage.csv").write_text(head + "".join(lines))
    import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING)
    tiles = read_tiles(tmp_path / "tiles.json")
    assert [channel.name for channel in tiles.channels] == ["0", "1"]
    assert [[source.uri for source in tile.sources] for tile in tiles.tiles] == [
        ["a0.tif", "a1.tif"],
        ["b0.tif", "b1.tif"],
    ]


def test_all_channels_of_a_file_are_those_of_its_tile(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((4, 2, 8, 8), np.uint16), photometric="minisblack", metadata={"axes": "ZCYX"}
    )
    (tmp_path / "stage.csv").write_text("file,z,y,x\na.ome.tif,0,0,0\n")
    import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING)
    assert [source.channel for source in read_tiles(tmp_path / "tiles.json").tiles[0].sources] == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,z,y\na.tif,0,0\n", "lacks the column x"),
        ("file,z,y,x\n", "has no row"),
        ("file,z,y,x\na.tif,0,0,far\n", "line 2 of .* gives 'far' for x"),
        ("file,z,y,x\na.tif,0,0,nan\n", "line 2"),
        ("file,z,y,x,row,col\na.tif,0,0,0,one,0\n", "line 2 .* 'one' for row"),
        ("file,z,y,x,channel\na.tif,0,0,0,0\na.tif,0,0,9,1\n", "lacks the channel 1"),
        ("file,z,y,x,channel\na.tif,0,0,0,0\nb.tif,0,0,0,0\n", "line 3 .* that line 2 has already"),
        ("file,z,y,x\ngone.tif,0,0,0\n", "the tile gone cannot be read: .*--skip-unreadable"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path, content, words):
    write_stacks(tmp_path, "a.tif")
    (tmp_path / "stage.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING)
    assert not (tmp_path / "tiles.json").exists()


def test_the_voxel_size_is_asked_for(tmp_path):
    write_stacks(tmp_path, "a.tif")
    (tmp_path / "stage.csv").write_text("file,z,y,x\na.tif,0,0,0\n")
    with pytest.raises(InputError, match="give --spacing"):
        import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json")


def test_tiles_that_cannot_be_read_are_marked_where_asked(tmp_path, caplog):
    write_stacks(tmp_path, "a.tif")
    (tmp_path / "b.tif").write_bytes(b"II*\0 cut off")
    (tmp_path / "stage.csv").write_text("file,z,y,x\na.tif,0,0,0\nb.tif,0,0,3\n")
    found = import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING, skip_unreadable=True)
    assert found.states == {"present": 1, "unreadable": 1}
    assert "the tile b cannot be read" in caplog.text
    assert read_tiles(tmp_path / "tiles.json").by_name("b").shape == (4, 8, 8)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(PLACE, PLACE, PLACE), min_size=1, max_size=5, unique=True))
def test_a_table_written_is_read_with_equal_positions(tmp_path_factory, positions):
    folder, planes = tmp_path_factory.mktemp("tables"), TileSource("f", 1, "*.tif")
    tiles = TileSet(
        SPACING,
        (TileChannel("red"), TileChannel("green")),
        tuple(
            Tile(f"t{k}", p, (4, 8, 8), sources=(TileSource("all.tif", z_range=(k, k + 1)), planes))
            for k, p in enumerate(positions)
        ),
    )
    write_table(folder / "out.csv", tiles, folder)
    found = read_table(folder / "out.csv")
    assert [tile.position for tile in found.tiles] == [tile.position for tile in tiles.tiles]
    assert [tile.name for tile in found.tiles] == [tile.name for tile in tiles.tiles]
    assert [found.channels.index(name) for name in ("red", "green")] == [1, 0]  # sorted by name
    for a, b in zip(found.tiles, tiles.tiles, strict=True):
        for name, source in zip(("red", "green"), b.sources, strict=True):
            read = a.sources[found.channels.index(name)]
            assert (read.channel, read.planes, read.z_range) == (source.channel, source.planes, source.z_range)


def test_what_is_exported_is_imported(tmp_path):
    write_stacks(tmp_path, "a.tif", "b.tif")
    (tmp_path / "stage.csv").write_text("file,z,y,x\na.tif,0,0,0.1\nb.tif,0,0,3.7\n")
    import_tiles(tmp_path / "stage.csv", tmp_path / "tiles.json", spacing=SPACING)
    assert export_tiles(tmp_path / "tiles.json", tmp_path / "out.csv").form == "csv"
    import_tiles(tmp_path / "out.csv", tmp_path / "again.json", spacing=SPACING)
    one, other = (read_tiles(tmp_path / name) for name in ("tiles.json", "again.json"))
    assert [t.position for t in one.tiles] == [t.position for t in other.tiles]
    with pytest.raises(InputError, match="exists already"):
        export_tiles(tmp_path / "tiles.json", tmp_path / "out.csv")
