"""Containers of several images, whose root lists them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.index_container import index_container
from teralign.volumes import create_volume, open_volume

GRID = Grid((8, 8, 8), (1.0, 1.0, 1.0))


def write_images(container: Path, names: list[str], *, ome_zarr: str | None = None) -> None:
    """Images that were containers of their own, moved into one, as the pipeline does."""
    container.mkdir()
    for name in names:
        alone = container.parent / f"{name}{container.suffix}"
        writer = create_volume(alone, grid=GRID, dtype="uint16", levels=1, ome_zarr=ome_zarr)
        writer.finish(writer.write(GRID.region, np.full(GRID.shape, len(name), np.uint16)))
        alone.rename(container / name)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_root_lists_its_images(version: str, tmp_path: Path) -> None:
    """As https://ngff.openmicroscopy.org/0.5/#bf2raw says; 0.4 has the attributes in files of their own."""
    container = tmp_path / "all.zarr"
    write_images(container, ["warped", "labels"], ome_zarr=version)
    (container / "notes").mkdir()
    assert index_container(container, ome_zarr=version).images == ("labels", "warped")
    if version == "0.5":
        root, inner = (json.loads((f / "zarr.json").read_text()) for f in (container, container / "OME"))
        assert (root["zarr_format"], root["node_type"]) == (3, "group")
        assert root["attributes"] == {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
        assert inner["attributes"] == {"ome": {"version": "0.5", "series": ["labels", "warped"]}}
    else:
        root, inner = (json.loads((f / ".zattrs").read_text()) for f in (container, container / "OME"))
        assert (root, inner) == ({"bioformats2raw.layout": 3}, {"series": ["labels", "warped"]})
    assert open_volume(container / "warped").read().max() == 6
    with pytest.raises(InputError, match="2 images: labels, warped"):
        open_volume(container)


def test_an_n5_root_has_its_version(tmp_path: Path) -> None:
    container = tmp_path / "all.n5"
    write_images(container, ["warped", "labels"])
    assert run(load_command("index-container"), [str(container)], name="index-container") == 0
    assert json.loads((container / "attributes.json").read_text()) == {"n5": "2.0.0"}
    assert open_volume(container / "labels").grid == GRID


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*gone\.zarr"):
        index_container(tmp_path / "gone.zarr")
    with pytest.raises(InputError, match=r"holds no image in a group of its own"):
        index_container(tmp_path)
