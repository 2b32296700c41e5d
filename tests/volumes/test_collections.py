"""Groups that hold images: the only image is taken, several are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from teralign.errors import InputError
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import open_volume
from volume_files import noise, space_axes, write_ome_zarr

ARRAY = noise((6, 8, 10), "uint16")
XML = (
    b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    b'<Image ID="Image:0"><Pixels/></Image><Image ID="Image:1"/><ImageRef ID="Image:0"/></OME>'
)


@pytest.fixture(params=["0.4", "0.5"])
def version(request):
    return request.param


def image(path: Path, version: str, offset: int = 0) -> Path:
    steps = {"0": [{"type": "scale", "scale": [2.0, 1.0, 1.0]}], "1": [{"type": "scale", "scale": [2.0, 2.0, 2.0]}]}
    arrays = {"0": ARRAY + offset, "1": ARRAY[:, ::2, ::2] + offset}
    return write_ome_zarr(path, arrays, space_axes(), steps, version=version)


def group(path: Path, version: str, **attributes: object) -> None:
    """A group whose metadata are where the version has them."""
    inside = attributes if version == "0.4" else {"ome": {"version": version, **attributes}}
    zarr.create_group(path, zarr_format=2 if version == "0.4" else 3, attributes=inside)


def bioformats2raw(path: Path, version: str, images: int) -> Path:
    group(path, version, **{"bioformats2raw.layout": 3})
    for number in range(images):
        image(path / str(number), version, number)
    return path


def plate(path: Path, version: str, wells: dict[str, int]) -> Path:
    """A plate of wells with some fields each."""
    group(path, version, plate={"wells": [{"path": well} for well in wells]})
    for row in {well[0] for well in wells}:
        zarr.create_group(path / row, zarr_format=2 if version == "0.4" else 3)
    for well, fields in wells.items():
        group(path / well, version, well={"images": [{"path": str(field)} for field in range(fields)]})
        for field in range(fields):
            image(path / well / str(field), version, field)
    return path


@pytest.mark.parametrize("listed", ["series", "xml", "nowhere"])
def test_the_images_of_bioformats2raw_are_named(listed, version, tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", version, 2)
    if listed != "nowhere":
        group(path / "OME", version, **({"series": ["0", "1"]} if listed == "series" else {}))
    if listed == "xml":
        (path / "OME" / "METADATA.ome.xml").write_bytes(XML)
    with pytest.raises(
        InputError, match=r"a.zarr is a collection of 2 images: 0, 1; name one, such as .*a.zarr/0\.$"
    ):
        open_volume(path)
    with pytest.raises(InputError, match=r"a.zarr has no 7: it is a collection of 2 images: 0, 1"):
        open_volume(path / "7")
    np.testing.assert_array_equal(open_volume(path / "1").read(), ARRAY + 1)
    np.testing.assert_array_equal(open_volume(path / "1" / "0").read(), ARRAY + 1)


@pytest.mark.parametrize("suffix", ["a.zarr", "a"])
def test_the_only_image_of_bioformats2raw_is_taken(suffix, version, tmp_path):
    path = bioformats2raw(tmp_path / suffix, version, 1)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read(), ARRAY)
    assert volume.scales == ("0/1",)
    np.testing.assert_array_equal(open_volume(path / "0" / "1").read(), ARRAY[:, ::2, ::2])
    np.testing.assert_array_equal(open_volume(path / "1").read(), ARRAY[:, ::2, ::2])
    assert [scale.dataset for scale in inspect_volume(path).scales] == ["0", "0/1"]
    with pytest.raises(InputError, match=r"0 has no scale 5; it holds 0, 1"):
        open_volume(path / "5")


def test_the_wells_and_fields_of_a_plate_are_named(version, tmp_path):
    path = plate(tmp_path / "a.zarr", version, {"A/1": 1, "B/2": 3, "B/3": 1})
    with pytest.raises(
        InputError, match=r"a.zarr is a plate of 3 wells: A/1, B/2, B/3; name one, such as .*zarr/A/1"
    ):
        open_volume(path)
    with pytest.raises(InputError, match=r"a.zarr is a plate of 2 wells: B/2, B/3; name one, such as .*zarr/B/2"):
        open_volume(path / "B")
    with pytest.raises(InputError, match=r"B/2 is a well of 3 images: 0, 1, 2; name one, such as .*B/2/0"):
        open_volume(path / "B" / "2")
    with pytest.raises(InputError, match=r"a.zarr has no C/1: it is a plate of 3 wells: A/1, B/2, B/3"):
        open_volume(path / "C" / "1")
    for uri in (path / "A", path / "A" / "1", path / "A" / "1" / "0"):
        np.testing.assert_array_equal(open_volume(uri).read(), ARRAY)
    np.testing.assert_array_equal(open_volume(path / "B" / "2" / "2").read(), ARRAY + 2)


def test_the_only_image_of_a_plate_is_taken(version, tmp_path):
    path = plate(tmp_path / "a.zarr", version, {"C/5": 1})
    np.testing.assert_array_equal(open_volume(path).read(), ARRAY)
    np.testing.assert_array_equal(open_volume(path / "1").read(), ARRAY[:, ::2, ::2])


def test_many_wells_are_counted_and_some_of_them_named(version, tmp_path):
    path = tmp_path / "a.zarr"
    group(path, version, plate={"wells": [{"path": f"{row}/{n}"} for row in "ABCDEFGH" for n in range(1, 13)]})
    with pytest.raises(InputError, match=r"a plate of 96 wells: A/1, .*, A/12 and 84 more; name one, such as"):
        open_volume(path)
    group(tmp_path / "empty.zarr", version, plate={"wells": []})
    with pytest.raises(InputError, match=r"empty.zarr is a plate without any\.$"):
        open_volume(tmp_path / "empty.zarr")


def test_what_is_declared_and_missing_is_an_error(version, tmp_path):
    path = tmp_path / "a.zarr"
    group(path, version, plate={"wells": [{"path": "A/1"}]})
    with pytest.raises(InputError, match=r"a.zarr has no image or array A/1"):
        open_volume(path)


def test_labels_are_listed_and_open_by_their_path(version, tmp_path):
    path = image(tmp_path / "a.zarr" / "round", version)
    assert inspect_volume(path).labels == ()
    group(path / "labels", version, labels=["cells", "nuclei"])
    for number, name in enumerate(("cells", "nuclei")):
        image(path / "labels" / name, version, number)
    expected = ("round/labels/cells", "round/labels/nuclei")
    assert inspect_volume(path).labels == inspect_volume(path / "0").labels == expected
    np.testing.assert_array_equal(open_volume(path / "labels" / "nuclei").read(), ARRAY + 1)
    with pytest.raises(InputError, match=r"labels is a list of labels of 2 label images: cells, nuclei; name one"):
        open_volume(path / "labels")


def test_plates_are_read_in_archives(version, tmp_path):
    plate(tmp_path / "a.zarr", version, {"A/1": 2})
    archive = Path(shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "a.zarr"))
    with pytest.raises(InputError, match=r"a.zarr.zip/A/1 is a well of 2 images: 0, 1; name one, such as .*A/1/0"):
        open_volume(archive)
    np.testing.assert_array_equal(open_volume(archive / "A" / "1" / "1").read(), ARRAY + 1)
    assert json.loads(json.dumps(inspect_volume(archive / "A/1/0").labels)) == []


def test_the_only_image_is_taken_at_an_address(version, website, tmp_path):
    folder, address = website
    bioformats2raw(folder / f"one-{version}.zarr", version, 1)
    bioformats2raw(folder / f"two-{version}.zarr", version, 2)
    np.testing.assert_array_equal(open_volume(f"{address}/one-{version}.zarr").read(), ARRAY)
    np.testing.assert_array_equal(open_volume(f"{address}/one-{version}.zarr/1").read(), ARRAY[:, ::2, ::2])
    with pytest.raises(InputError, match=r"a collection of 2 images: 0, 1; name one, such as http://.*zarr/0\."):
        open_volume(f"{address}/two-{version}.zarr")
