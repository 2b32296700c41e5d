"""Values that programs put into OME-XML and ImageJ's description, whatever the specification says."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import tifffile

from teralign.errors import InputError
from teralign.volumes import DisplaySettings, open_volume
from volume_files import noise

ARRAY = noise((2, 3, 5, 6), "uint16")


@pytest.fixture(scope="module")
def xml(tmp_path_factory):
    """OME-XML of two channels, 0.25 x 0.5 x 2 µm and 3 s."""
    path = tmp_path_factory.mktemp("ome") / "a.ome.tif"
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm"}
    metadata = {"axes": "CZYX", **sizes, "TimeIncrement": 3.0, "Channel": {"Name": ["A", "B"], "Color": [1, 2]}}
    tifffile.imwrite(path, ARRAY, ome=True, photometric="minisblack", metadata=metadata)
    with tifffile.TiffFile(path) as tiff:
        return tiff.ome_metadata


def write_ome(folder, xml):
    tifffile.imwrite(folder / "a.ome.tif", ARRAY, description=xml.encode(), metadata=None, photometric="minisblack")
    return folder / "a.ome.tif"


def changed(xml, attribute, value):
    """The XML with another value of an attribute, at its first place."""
    new = re.sub(rf'\b{attribute}="[^"]*"', f'{attribute}="{value}"', xml, count=1)
    assert new != xml
    return new


def write_imagej(folder, *lines):
    description = "\n".join(["ImageJ=1.53t", "images=3", "slices=3", *lines, ""])
    options = {"metadata": None, "resolution": (4, 2), "photometric": "minisblack"}
    tifffile.imwrite(folder / "a.tif", ARRAY[0], description=description.encode("latin-1"), **options)
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#FF8000FF", "FF8000"), ("#ff8000", "FF8000"), ("0xFF8000FF", "FF8000"), ("", None), ("red", None),
        ("-8388353.0", "FF8000"), ("-8388353", "FF8000"), ("NaN", None),
    ],
)  # fmt: skip
def test_colours_are_understood_or_left_out(text, colour, xml, tmp_path):
    volume = open_volume(write_ome(tmp_path, changed(xml, "Color", text)))
    assert volume.display[0] == DisplaySettings(colour)
    np.testing.assert_array_equal(volume.read(channel=1), ARRAY[1])


@pytest.mark.parametrize(
    ("value", "step"), [("", None), ("soon", None), ("1,5", 1.5), ("0", None), ("-1", None), ("NaN", None)]
)
def test_times_that_make_no_sense_are_left_out(value, step, xml, tmp_path):
    assert open_volume(write_ome(tmp_path, changed(xml, "TimeIncrement", value))).time_step == step


def test_a_comma_is_a_decimal_point(xml, tmp_path):
    assert open_volume(write_ome(tmp_path, changed(xml, "PhysicalSizeZ", "1,5"))).grid.spacing == (1.5, 0.5, 0.25)
    assert open_volume(write_imagej(tmp_path, "unit=um", "spacing=1,5")).grid.spacing == (1.5, 0.5, 0.25)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", r"its voxels are along z \(they are"),
        ("wide", r"its voxels are along z \(its PhysicalSizeZ is 'wide'; they are"),
        ("1.5 µm", r"its voxels are along z \(its PhysicalSizeZ is '1.5 µm'; they are"),
        ("NaN", r"its voxels are nan µm along z"),
    ],
)
def test_a_size_that_is_no_number_is_asked_for(value, said, xml, tmp_path):
    with pytest.raises(InputError, match=said + r".* 0.25 µm along x.*give --spacing 0.25,0.5,Z in µm"):
        open_volume(write_ome(tmp_path, changed(xml, "PhysicalSizeZ", value)))


@pytest.mark.parametrize("unit", ["Âµm", "?m", " ", "", "micron"])
def test_units_that_lost_their_sign_are_micrometres(unit, xml, tmp_path):
    assert open_volume(write_ome(tmp_path, changed(xml, "PhysicalSizeZUnit", unit))).grid.spacing[0] == 2.0


def test_a_unit_that_is_none_of_length_is_named(xml, tmp_path):
    with pytest.raises(InputError, match=r"along z \(its unit 'reference frame' is not a known length"):
        open_volume(write_ome(tmp_path, changed(xml, "PhysicalSizeZUnit", "reference frame")))


def test_xml_that_is_cut_off_leaves_the_voxels(xml, tmp_path, caplog):
    path = write_ome(tmp_path, xml.replace("</Pixels>", ""))
    with caplog.at_level(logging.WARNING, "teralign"):
        assert open_volume(path, spacing=(2, 1, 1)).grid.spacing == (2, 1, 1)
    assert "OME-XML that cannot be understood" in caplog.text


@pytest.mark.parametrize("attribute", ["SizeX", "SizeC", "SamplesPerPixel", "DimensionOrder", "Type", "ID", "IFD"])
@pytest.mark.parametrize("value", ["", "abc", "1,5", "-1"])
def test_no_value_ends_in_a_traceback(attribute, value, xml, tmp_path):
    try:
        open_volume(write_ome(tmp_path, changed(xml, attribute, value))).read()
    except InputError as error:
        assert "a.ome.tif" in str(error)


@pytest.mark.parametrize(("attribute", "value"), [("DimensionOrder", "zyx"), ("SizeZ", "3.0"), ("SizeZ", "three")])
def test_planes_in_no_order_are_one_sentence(attribute, value, xml, tmp_path):
    with pytest.raises(InputError, match=r"a.ome.tif has OME-XML that does not say how its planes are arranged \("):
        open_volume(write_ome(tmp_path, changed(xml, attribute, value)))


@pytest.mark.parametrize("value", ["", " "])
def test_samples_that_are_not_given_are_one(value, xml, tmp_path):
    volume = open_volume(write_ome(tmp_path, changed(xml, "SamplesPerPixel", value)))
    np.testing.assert_array_equal(volume.read(channel=1), ARRAY[1])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_that_are_declared_but_not_there_are_counted(compression, xml, tmp_path):
    path = tmp_path / "a.ome.tif"
    options = {"metadata": None, "photometric": "minisblack", "compression": compression}
    tifffile.imwrite(path, ARRAY[0], description=xml.encode(), **options)
    with pytest.raises(InputError, match=r"a.ome.tif declares 6 planes, but 3 of them are in no file; copy all"):
        open_volume(path)


def test_each_axis_of_imagej_may_have_its_own_unit(tmp_path):
    path = write_imagej(tmp_path, "unit=micron", "yunit=nm", "zunit=mm", "spacing=0.0015")
    np.testing.assert_allclose(open_volume(path).grid.spacing, (1.5, 0.0005, 0.25))
    path = write_imagej(tmp_path, "unit=\\u00B5m", "zunit=pixel", "spacing=2")
    with pytest.raises(InputError, match=r"along z \(its unit 'pixel' is not .* give --spacing 0.25,0.5,Z"):
        open_volume(path)


@pytest.mark.parametrize("line", ["finterval=", "finterval=abc", "xorigin=abc", "tunit=", "loop=", "max=1,5"])
def test_other_lines_of_imagej_do_not_matter(line, tmp_path):
    volume = open_volume(write_imagej(tmp_path, "unit=um", "spacing=2", line))
    assert (volume.grid.spacing, volume.grid.origin, volume.time_step) == ((2.0, 0.5, 0.25), (0, 0, 0), None)


def test_inches_of_a_scanner_are_doubted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "teralign"):
        open_volume(write_imagej(tmp_path, "unit=inch", "spacing=1"))
    assert "a.tif has voxels of 6350 x 12700 x 25400 µm (x, y, z), which is beyond 0.005 µm to 1 mm" in caplog.text
