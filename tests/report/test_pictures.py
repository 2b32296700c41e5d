import numpy as np
import pytest

from teralign.report import Column, overlay, overlay_sheet
from teralign.report.pictures import _GAP, COLUMN_WIDTH, HEADER, scale_bar_length


def test_agreement_is_white_and_each_alone_has_its_colour():
    fixed = np.array([[1.0, 1.0, 0.0, 0.0]], np.float32)
    moving = np.array([[1.0, 0.0, 1.0, 0.0]], np.float32)
    assert overlay(fixed, moving).tolist() == [[[255, 255, 255], [255, 0, 255], [0, 255, 0], [0, 0, 0]]]


def test_values_outside_the_window_saturate():
    plane = np.array([[-3.0, 7.0]], np.float32)
    assert overlay(plane, plane).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("width", "bar"), [(235.0, 50.0), (1800.0, 500.0), (3.1, 1.0), (7.5, 2.0), (30_000.0, 10_000.0), (0.9, 0.2)]
)
def test_scale_bar_is_a_round_number(width, bar):
    assert scale_bar_length(width) == pytest.approx(bar)


def sheet_of(shape, spacing, count=3):
    rng = np.random.default_rng(0)
    fixed = rng.uniform(size=shape).astype(np.float32)
    columns = [Column(f"state {n}", "NCC 0.5", fixed) for n in range(count)]
    at = tuple(n // 2 for n in shape)
    return overlay_sheet(fixed, columns, spacing=spacing, at=at, fixed_window=(0.0, 1.0), moving_window=(0.0, 1.0))


@pytest.mark.parametrize("shape", [(40, 80, 100), (160, 64, 64), (5, 300, 17), (1, 1, 1)])
def test_every_shape_makes_a_sheet_of_modest_size(shape):
    sheet = sheet_of(shape, (0.84, 0.92, 0.92))
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert sheet.shape[1] == pytest.approx(3 * (COLUMN_WIDTH + 2 * _GAP), abs=12)


def test_micrometres_are_square():
    """A volume of half as many planes, twice as far apart, makes a sheet of the same shape."""
    fine, coarse = sheet_of((80, 60, 70), (1.0, 1.0, 1.0)), sheet_of((40, 60, 70), (2.0, 1.0, 1.0))
    assert fine.shape == coarse.shape


@pytest.mark.parametrize(("planes", "named"), [(40, {"xy", "zy", "xz"}), (1, {"xy"})])
def test_planes_are_named_where_there_is_room(planes, named):
    """Of an image without light, only the text is bright."""
    fixed = np.zeros((planes, 60, 80), np.float32)
    options = {"spacing": (1.0, 1.0, 1.0), "at": (planes // 2, 30, 40)}
    windows = {"fixed_window": (0.0, 1.0), "moving_window": (0.0, 1.0)}
    sheet = overlay_sheet(fixed, [Column("before", "", fixed)], **options, **windows)
    pixel = (80 + planes) / (COLUMN_WIDTH - _GAP)
    right, below = 2 * _GAP + round(80 / pixel), HEADER + _GAP + round(60 / pixel)
    corners = {"xy": (HEADER, _GAP), "zy": (HEADER, right), "xz": (below, _GAP)}
    patches = {name: sheet[row : row + 20, column : column + 24] for name, (row, column) in corners.items()}
    found = {name for name, patch in patches.items() if patch.max() > 200}
    assert found == named


def test_planes_lie_where_they_should():
    """Three bright bars through the middle show up along the right axis of each plane."""
    fixed = np.zeros((40, 60, 80), np.float32)
    fixed[20, 30, :] = 1
    sheet = overlay_sheet(
        fixed,
        [Column("before", "", fixed)],
        spacing=(1.0, 1.0, 1.0),
        at=(20, 30, 40),
        fixed_window=(0.0, 1.0),
        moving_window=(0.0, 1.0),
    )
    pixel = 120 / (COLUMN_WIDTH - _GAP)
    width, height = round(80 / pixel), round(60 / pixel)
    row = sheet[HEADER + round(30.5 / pixel), _GAP : _GAP + width]
    assert (row > 200).all()
    below = sheet[HEADER + height + _GAP + round(20.5 / pixel), _GAP : _GAP + width]
    assert (below > 200).all()
    right = sheet[HEADER : HEADER + height, _GAP + width + _GAP :].copy()
    right[:20, :24] = 0  # the name of the plane
    bright = np.argwhere((right > 200).all(axis=2))
    assert np.abs(bright.mean(axis=0) * pixel - [30.5, 20.5]).max() < 1.5
