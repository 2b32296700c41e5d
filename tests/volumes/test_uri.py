from pathlib import Path

import pytest

from teralign.errors import InputError
from teralign.volumes import open_volume, split_uri
from volume_files import SPACING, noise, write_attributes, write_n5, write_zarr


@pytest.mark.parametrize(
    ("uri", "container", "dataset"),
    [
        ("fix.n5/lowres", "fix.n5", "lowres"),
        ("round2.zarr/s2", "round2.zarr", "s2"),
        ("deep/round.ome.zarr/labels/cells/s0", "deep/round.ome.zarr", "labels/cells/s0"),
        ("image.tif", "image.tif", ""),
        ("a/IMAGE.OME.TIFF", "a/IMAGE.OME.TIFF", ""),
        ("atlas.nrrd", "atlas.nrrd", ""),
        ("fix.n5/", "fix.n5", ""),
    ],
)
def test_splits_a_uri_at_the_format_suffix(uri, container, dataset):
    assert split_uri(uri) == (Path(container), dataset)
    assert split_uri(Path(uri)) == (Path(container), dataset)


def test_recognises_folders_without_a_suffix_by_what_is_in_them(tmp_path):
    write_attributes(tmp_path / "export", {"n5": "2.0.0"})
    write_n5(tmp_path / "export" / "c0" / "s0", noise((4, 4, 4), "uint8"))
    write_attributes(tmp_path / "export" / "c0", {})
    assert split_uri(tmp_path / "export" / "c0" / "s0") == (tmp_path / "export", "c0/s0")
    array = noise((4, 4, 4), "uint8")
    write_zarr(tmp_path / "plain", array, 3)
    assert (open_volume(tmp_path / "plain", spacing=SPACING).read() == array).all()


def test_a_folder_may_be_called_like_an_image(tmp_path):
    write_n5(tmp_path / "run.tif" / "fix.n5" / "s0", noise((4, 4, 4), "uint8"))
    assert split_uri(tmp_path / "run.tif" / "fix.n5" / "s0") == (tmp_path / "run.tif" / "fix.n5", "s0")


def test_says_what_is_no_volume(tmp_path):
    (tmp_path / "notes.txt").write_text("no volume")
    with pytest.raises(InputError, match=r"notes.txt is in no readable format; readable formats are N5"):
        split_uri(tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"there is no .*gone"):
        split_uri(tmp_path / "gone")


@pytest.mark.parametrize("name", ["a.n5", "a.n5/s0", "a.zarr", "a.zarr/s0", "a.tif", "a.nrrd"])
def test_says_that_there_is_no_such_file(name, tmp_path):
    container, _ = split_uri(tmp_path / name)
    with pytest.raises(InputError, match=f"^there is no {container}; check the path.$"):
        open_volume(tmp_path / name)
