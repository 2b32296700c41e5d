"""Tables of points: columns by name, separators and encodings of other programs."""

import pytest

from teralign.errors import InputError
from teralign.transforms import check_point_table, read_point_table


def table(folder, text, encoding="utf-8"):
    path = folder / "points.csv"
    path.write_bytes(text.encode(encoding))
    return read_point_table(path)


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6\n",
        "x,y,z\n1,2,3\n4,5,6\n",
        "z,y,x\n3,2,1\n6,5,4\n",
        ",x,y,z\n0,1,2,3\n1,4,5,6\n",
        "id,x,y,z\n7,1,2,3\n8,4,5,6\n",
        "gene,Z,X,Y\nGad1,3,1,2\nSst,6,4,5\n",
        "Position X,Position Y,Position Z,Unit\n1,2,3,um\n4,5,6,um\n",
        "LABEL,POSITION_X,POSITION_Y,POSITION_Z\nspot 1,1,2,3\nspot 2,4,5,6\n",
        "centerX,centerY,centerZ\n1,2,3\n4,5,6\n",
        "x_um,y_um,z_um,t\n1,2,3,0\n4,5,6,0\n",
        "x [micron],y [micron],z [micron]\n1,2,3\n4,5,6\n",
        "x,y,z,x_moving,y_moving,z_moving\n1,2,3,7,8,9\n4,5,6,7,8,9\n",
        "x (\u00b5m),y (\u00b5m),z (\u00b5m),x (px),y (px)\n1,2,3,9,9\n4,5,6,9,9\n",
        "# x,y,z\n1,2,3\n4,5,6\n",
        "x;y;z\n1;2;3\n4;5;6\n",
        "id\tx\ty\tz\n7\t1\t2\t3\n8\t4\t5\t6\n",
        '"name","x","y","z"\r\n"a, b",1,2,3\r\n"c",4,5,6\r\n,,,\r\n\r\n',
    ],
)
def test_columns_are_found_by_name(tmp_path, text):
    assert table(tmp_path, text).points.tolist() == [[3, 2, 1], [6, 5, 4]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "index,axis-0,axis-1,axis-2\n0.0,3,2,1\n",
            r"no column x \(its columns: index, axis-0, .*name three columns",
        ),
        ("label,centroid-0,centroid-1,centroid-2\n1,3,2,1\n", "no column x"),
        ("a,b,c\n1,2,3\n", "no column x"),
        ("x,y\n1,2\n", "no column z"),
        ("x,y,z,x\n1,2,3,4\n", "several columns for x"),
        ("x_fixed,y_fixed,z_fixed,x_moving,y_moving,z_moving\n1,2,3,4,5,6\n", "several columns for x"),
        ("x (px),y (px),z (px)\n1,2,3\n", r"'x \(px\)', in px; they must be in µm"),
        ("x_nm,y_nm,z_nm\n1,2,3\n", "'x_nm', in nm"),
        ("cell 1,1,2,3\n", "line 1 .* is not a point"),
        ("x,y,z\n1,2,3\n\n4,,6\n", "line 4 .* is not a point"),
        ("1,5;2,5;3,5\n", "line 1 .* is not a point"),
    ],
)
def test_a_table_that_does_not_say_which_columns_are_which_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        table(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    text = "x (\u00b5m),y (\u00b5m),z (\u00b5m),marker\n1,2,3,M\u00fcller\n"
    found = table(tmp_path, text, encoding)
    assert found.points.tolist() == [[3, 2, 1]]
    found.save(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1].endswith("M\u00fcller")


def test_text_that_is_not_utf8_is_said(tmp_path, caplog):
    table(tmp_path, "x,y,z,n\n1,2,3,\u00fc\n", "cp1252")
    assert "not UTF-8; they are read as Windows-1252" in caplog.text


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xd8", b"x,y,z\n1,2,3,\x81\n"])
def test_what_is_no_text_is_refused(tmp_path, content):
    (tmp_path / "points.csv").write_bytes(content)
    with pytest.raises(InputError, match="are not text in UTF-8"):
        read_point_table(tmp_path / "points.csv")


def test_rows_keep_their_columns_their_order_and_their_separator(tmp_path):
    found = table(tmp_path, "id;z;y;x;note\n7;3;2;1;a\n8;6;5;4\n")
    found.moved(found.points + 1, "moving").save(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "id;z;y;x;note;space",
        "7;4.000000;3.000000;2.000000;a;moving",
        "8;7.000000;6.000000;5.000000;;moving",
    ]


def test_a_column_space_of_another_meaning_is_kept(tmp_path):
    found = table(tmp_path, "x,y,z,space\n1,2,3,soma\n")
    found.moved(found.points, "moving").save(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "1.000000,2.000000,3.000000,soma"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_the_head_of_a_long_table_is_enough_to_check_it(tmp_path, encoding):
    path = tmp_path / "points.csv"
    rows = "".join(f"M\u00fcller {n},1,2,3\n" for n in range(20_000))
    path.write_bytes(f"name,x,y,z\n{rows}bad,1,2\n".encode(encoding))
    check_point_table(path)
    path.write_bytes(f"name,x,y,z\nbad,1,2\n{rows}".encode(encoding))
    with pytest.raises(InputError, match=r"line 2 of .* is not a point"):
        check_point_table(path)
