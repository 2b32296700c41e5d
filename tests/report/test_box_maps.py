import base64
import io

import numpy as np
from PIL import Image

from teralign.grids import Grid
from teralign.report.maps import VolumeMap, add_pooled, box_map, grid_edges


def decoded(data) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(data["sprite"].split(",")[1]))) as picture:
        return np.asarray(picture)


def test_boxes_of_unequal_sizes_lie_on_one_lattice():
    boxes = [((0, 0, x), (10, 20, w), v) for x, w, v in ((0, 30, 1.0), (30, 30, None), (60, 45, 3.0))]
    values, edges = box_map(boxes, lambda b: b[0], lambda b: b[1], lambda b: b[2])
    np.testing.assert_array_equal(values, [[[1, np.nan, 3]]])
    assert [list(axis) for axis in edges] == [[0, 10], [0, 20], [0, 30, 60, 105]]
    assert box_map([], lambda b: b, lambda b: b, lambda b: b) is None


def test_a_map_travels_as_grey_values_with_0_for_unknown():
    values = np.array([[[0.0, np.nan]], [[1.0, 9.0]]], np.float32)
    map_ = VolumeMap("k", "t", "µm", "n", values, grid_edges(Grid((2, 1, 2), (1, 1, 1))), low=0.0, high=2.0)
    data = map_.page_data()
    assert data["columns"] == 2 and data["edges"][2] == [-0.5, 0.5, 1.5]
    np.testing.assert_array_equal(decoded(data), [[1, 0, 128, 255]])


def test_parts_of_a_volume_are_pooled_into_boxes():
    values = np.random.default_rng(0).random((5, 7, 9)).astype(np.float32)
    target = np.full((2, 3, 3), np.nan, np.float32)
    for start in (0, 2):
        part = values[start : start + 2] if start == 0 else values[start:]
        add_pooled(target, part, (start, 0, 0), (3, 3, 3), np.fmin)
    assert target[0, 0, 0] == values[:3, :3, :3].min()
    assert target[1, 2, 2] == values[3:, 6:, 6:].min()


def test_a_map_of_a_million_boxes_is_reduced():
    values = np.zeros((100, 100, 100), np.float32)
    values[99, 99, 99] = 1
    map_ = VolumeMap("k", "t", "", "n", values, grid_edges(Grid((100, 100, 100), (1, 1, 1))))
    data = map_.page_data()
    assert len(data["edges"][0]) == 51 and data["edges"][0][-1] == 99.5
    assert decoded(data).max() == 255
