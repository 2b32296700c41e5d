"""Volumes written by other libraries, or by hand, for the tests to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import tensorstore as ts
import tifffile
import zarr

from teralign.grids import Grid

SPACING = (2.0, 0.5, 0.25)
ORIGIN = (3.0, -1.5, 0.75)


def noise(shape: Sequence[int], dtype: str, seed: int = 0) -> np.ndarray:
    """Random voxels over the whole range of a dtype, its ends included."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(size=shape).astype(kind)
    info = np.iinfo(kind)
    array = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    array.flat[:2] = info.min, info.max
    return array


def write_n5(
    path: Path,
    array: np.ndarray,
    attributes: Mapping[str, Any] | None = None,
    *,
    compression: Mapping[str, Any] | None = None,
    chunk: int = 8,
) -> Path:
    """An N5 dataset; `attributes` as they are, x,y,z. The array is in C order: (z, y, x), (c, z, y, x), …"""
    metadata = {
        "dimensions": array.shape[::-1],
        "blockSize": [chunk] * array.ndim,
        "dataType": array.dtype.name,
        "compression": compression or {"type": "gzip"},
        **(attributes or {}),
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
    store = ts.open(spec, create=True).result()
    store[ts.d[:].transpose[::-1]].write(array).result()
    return path


def write_attributes(folder: Path, attributes: Mapping[str, Any]) -> None:
    """The attributes.json of an N5 group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(attributes))


def write_zarr(path: Path, array: np.ndarray, version: int, **options: Any) -> Path:
    """A plain Zarr array of format 2 or 3, written by zarr-python."""
    chunks = options.pop("chunks", (8,) * array.ndim)
    stored = zarr.create_array(
        path, shape=array.shape, dtype=array.dtype, chunks=chunks, zarr_format=version, fill_value=0, **options
    )
    stored[...] = array
    return path


def write_ome_zarr(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    axes: Sequence[Mapping[str, str]],
    transforms: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    version: str = "0.5",
    group_transforms: Sequence[Mapping[str, Any]] = (),
    omero: Mapping[str, Any] | None = None,
) -> Path:
    """An OME-Zarr image: arrays by path, with the coordinate transformations of each."""
    image: dict[str, Any] = {
        "axes": list(axes),
        "datasets": [{"path": name, "coordinateTransformations": list(transforms[name])} for name in arrays],
    }
    if group_transforms:
        image["coordinateTransformations"] = list(group_transforms)
    attributes: dict[str, Any] = {"multiscales": [image]} | ({"omero": dict(omero)} if omero else {})
    if version == "0.4":
        image["version"] = version
    else:
        attributes = {"ome": {"version": version, **attributes}}
    form = 2 if version == "0.4" else 3
    zarr.create_group(path, zarr_format=form, attributes=attributes)
    for name, array in arrays.items():
        if form == 2:
            keys = {"name": "v2", "separator": "/"}
            write_zarr(path / name, array, form, chunk_key_encoding=keys)
        else:
            write_zarr(path / name, array, form)
    return path


def space_axes(order: str = "zyx", unit: str | None = "micrometer") -> list[dict[str, str]]:
    """OME-Zarr axes by one letter each."""
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": axis, "type": kinds.get(axis, "space")} | ({"unit": unit} if unit and axis in "zyx" else {})
        for axis in order
    ]


def write_nrrd(path: Path, array: np.ndarray, *, vector: bool = False) -> Path:
    """An NRRD written by SimpleITK, with SPACING and ORIGIN."""
    image = SimpleITK.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN[::-1])
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path


def n5_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    path = write_n5(folder / "image.n5" / "raw", array, {"pixelResolution": SPACING[::-1]})
    return path, Grid(array.shape, SPACING)


def _ome(folder: Path, array: np.ndarray, version: str) -> tuple[Path, Grid]:
    steps = [{"type": "scale", "scale": SPACING}, {"type": "translation", "translation": ORIGIN}]
    path = write_ome_zarr(folder / "image.zarr", {"s0": array}, space_axes(), {"s0": steps}, version=version)
    return path / "s0", Grid(array.shape, SPACING, ORIGIN)


def ome_zarr_04_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return _ome(folder, array, "0.4")


def ome_zarr_05_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return _ome(folder, array, "0.5")


def big_endian_zarr_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    path = write_zarr(folder / "image.zarr", array.astype(array.dtype.newbyteorder(">")), 2)
    return path, Grid(array.shape, SPACING)


def sharded_zarr_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    path = write_zarr(folder / "image.zarr" / "raw", array, 3, chunks=(4, 4, 4), shards=(8, 8, 8))
    return path, Grid(array.shape, SPACING)


def tiff_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    tifffile.imwrite(folder / "image.tif", array, photometric="minisblack")
    return folder / "image.tif", Grid(array.shape, SPACING)


def big_endian_tiff_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    tifffile.imwrite(folder / "image.tiff", array, byteorder=">", photometric="minisblack")
    return folder / "image.tiff", Grid(array.shape, SPACING)


def ome_tiff_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", SPACING, strict=True)}
    path = folder / "image.ome.tif"
    tifffile.imwrite(path, array, byteorder=">", compression="lzw", tile=(16, 16), metadata={"axes": "ZYX", **sizes})
    return path, Grid(array.shape, SPACING)


def nrrd_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_nrrd(folder / "image.nrrd", array), Grid(array.shape, SPACING, ORIGIN)


EVERY_FORMAT = {
    "n5": n5_file,
    "ome-zarr-0.4": ome_zarr_04_file,
    "ome-zarr-0.5": ome_zarr_05_file,
    "zarr-v2-big-endian": big_endian_zarr_file,
    "zarr-v3-sharded": sharded_zarr_file,
    "tiff": tiff_file,
    "tiff-big-endian": big_endian_tiff_file,
    "ome-tiff": ome_tiff_file,
    "nrrd": nrrd_file,
}
