"""NDTiff, from files that the ndtiff package wrote (see ndtiff/README.md)."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from teralign.errors import DataError, InputError
from teralign.grids import Grid
from teralign.volumes import open_volume, split_uri

FILES = Path(__file__).parent / "ndtiff"
PLANES = np.arange(5)[:, None, None] * 1000 + np.arange(12)[:, None] * 40 + np.arange(10)


@pytest.fixture
def folder(tmp_path):
    """A copy of the data set."""
    shutil.copytree(FILES, tmp_path / "run_1")
    return tmp_path / "run_1"


def test_a_folder_is_one_volume_of_its_channels(folder):
    assert split_uri(folder) == (folder, "")
    volume = open_volume(folder)
    assert (volume.grid, volume.channels) == (Grid((5, 12, 10), (2.0, 0.25, 0.25)), 2)
    for channel in range(2):
        np.testing.assert_array_equal(volume.read(channel=channel), PLANES + 7 * channel)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(channel=1), PLANES + 7)


def test_of_a_pyramid_the_finest_level_is_read(folder, tmp_path):
    folder.rename(tmp_path / "deep")
    folder.mkdir()
    (tmp_path / "deep").rename(folder / "Full resolution")
    np.testing.assert_array_equal(open_volume(folder).read(), PLANES)


def test_a_plane_that_is_missing_is_said(folder):
    index = folder / "NDTiff.index"
    entries = list(tifffile.read_ndtiff_index(index))
    index.write_bytes(index.read_bytes()[: len(index.read_bytes()) * (len(entries) - 1) // len(entries) + 2])
    with pytest.raises((InputError, DataError), match=r"\d of them are in no file"):
        open_volume(folder).read(channel=1)


def test_an_index_without_entries_is_said(folder):
    (folder / "NDTiff.index").write_bytes(b"")
    with pytest.raises(InputError, match=r"NDTiff.index names no image"):
        open_volume(folder)
