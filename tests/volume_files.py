"""Volumes written by other libraries, or by hand, for the tests to read."""

from __future__ import annotations

import gzip
import importlib.util
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import SimpleITK
import tensorstore as ts
import tifffile
import zarr

from teralign.grids import Grid

SPACING = (2.0, 0.5, 0.25)
ORIGIN = (3.0, -1.5, 0.75)
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


def noise(shape: Sequence[int], dtype: str, seed: int = 0) -> np.ndarray:
    """Random voxels over the whole range of a dtype, its ends included."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
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
    """An OME-Zarr image: arrays by path, with the coordinate transformations of each; 0.6 has them in sequences."""
    image: dict[str, Any] = {
        "axes": list(axes),
        "datasets": [{"path": name, "coordinateTransformations": list(transforms[name])} for name in arrays],
    }
    if version.startswith("0.6"):
        image["coordinateSystems"] = [{"name": "own", "axes": image.pop("axes")}]
        for dataset in image["datasets"]:
            inner = dataset["coordinateTransformations"]
            step = {"input": {"path": dataset["path"]}, "output": {"name": "own"}}
            step |= inner[0] if len(inner) == 1 else {"type": "sequence", "transformations": inner}
            dataset["coordinateTransformations"] = [step]
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


def write_nifti(path: Path, array: np.ndarray, *, units: int = 3, vector: bool = False) -> Path:
    """A NIfTI written by SimpleITK, with SPACING and ORIGIN in `units` (1 m, 2 mm, 3 µm, 0 not said)."""
    image = SimpleITK.GetImageFromArray(array, isVector=vector)
    image.SetSpacing((*SPACING[::-1], 1.0)[: image.GetDimension()])
    image.SetOrigin((*ORIGIN[::-1], 0.0)[: image.GetDimension()])
    SimpleITK.WriteImage(image, str(path))
    edit_nifti(path, 123, "B", units)
    return path


def edit_nifti(path: Path, offset: int, form: str, *values: float) -> None:
    """Put other values into the header of a NIfTI."""
    unpack, pack = (gzip.decompress, gzip.compress) if path.suffix == ".gz" else (bytes, bytes)
    content = bytearray(unpack(path.read_bytes()))
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(pack(bytes(content)))


def write_nifti_by_hand(path: Path, array: np.ndarray, version: int, order: str) -> Path:
    """A NIfTI-1 or NIfTI-2 in either byte order, with SPACING in µm and neither origin nor axes."""
    size, dim, kind, pixdim, offset, units, magic = (
        (348, (40, "8h"), 70, (76, "8f"), (108, "f"), (123, "B"), 344)
        if version == 1
        else (540, (16, "8q"), 12, (104, "8d"), (168, "q"), (500, "i"), 4)
    )
    kinds = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "int8": 256, "uint16": 512}
    kinds |= {"uint32": 768, "int64": 1024, "uint64": 1280}
    content = bytearray(size + 4)
    struct.pack_into(f"{order}i", content, 0, size)
    struct.pack_into(order + dim[1], content, dim[0], array.ndim, *array.shape[::-1], *[1] * (7 - array.ndim))
    struct.pack_into(f"{order}2h", content, kind, kinds[array.dtype.name], array.itemsize * 8)
    struct.pack_into(order + pixdim[1], content, pixdim[0], 1, *SPACING[::-1], 0, 0, 0, 0)
    struct.pack_into(order + offset[1], content, offset[0], len(content))
    struct.pack_into(order + units[1], content, units[0], 3)
    content[magic : magic + 4] = f"n+{version}\0".encode()
    path.write_bytes(bytes(content) + array.astype(array.dtype.newbyteorder(order)).tobytes())
    return path


def write_slices(folder: Path, array: np.ndarray, name: str = "slice_{:03d}.tif", **options: Any) -> Path:
    """A folder of slices along z, numbered from 8; `options` are tifffile's."""
    folder.mkdir()
    for z, plane in enumerate(array):
        path = folder / name.format(z + 8)
        if path.suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(plane))
        else:
            tifffile.imwrite(path, plane, **{"photometric": "minisblack", "metadata": None, **options})
    return folder


def write_precomputed(
    folder: Path,
    array: np.ndarray,
    key: str = "fine",
    *,
    resolution: Sequence[float] = tuple(1000 * s for s in SPACING[::-1]),
    offset: Sequence[int] = (0, 0, 0),
    encoding: str = "raw",
    sharding: Mapping[str, Any] | None = None,
) -> Path:
    """A scale of a precomputed volume; the voxels are (z, y, x) or (c, z, y, x), all other numbers x, y, z."""
    voxels = array if array.ndim == 4 else array[np.newaxis]
    scale = {"key": key, "resolution": resolution, "voxel_offset": offset, "chunk_size": (8, 8, 8)}
    scale |= {"size": voxels.shape[:0:-1], "encoding": encoding} | ({"sharding": sharding} if sharding else {})
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = (4, 4, 4)
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"type": "image", "data_type": array.dtype.name, "num_channels": len(voxels)},
        "scale_metadata": scale,
    }
    store = ts.open(spec, create=True).result()
    store[ts.d[:].translate_to[0]].write(voxels.T).result()
    return folder / key


COMPRESSIONS = {".gz": gzip.compress, ".br": imagecodecs.brotli_encode, ".zstd": imagecodecs.zstd_encode}


def compress_chunks(scale: Path, *, nested: bool = False, ending: str = ".gz") -> None:
    """Store chunks as cloud-volume does on a disk, or nested as neuroglancer-scripts does."""
    for path in list(scale.iterdir()):
        target = scale / path.name.replace("_", "/") if nested else path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        path.unlink()
        Path(f"{target}{ending}").write_bytes(COMPRESSIONS[ending](content))


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


def ome_zarr_06_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return _ome(folder, array, "0.6")


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


def big_endian_nrrd_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    kinds = {"float32": "float", "float64": "double"}
    sizes = " ".join(str(n) for n in array.shape[::-1])
    spacings = " ".join(str(s) for s in SPACING[::-1])
    header = f"NRRD0004\ntype: {kinds.get(array.dtype.name, array.dtype.name)}\ndimension: 3\nsizes: {sizes}\n"
    header += f"spacings: {spacings}\nendian: big\nencoding: raw\n\n"
    path = folder / "image.nrrd"
    path.write_bytes(header.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes())
    return path, Grid(array.shape, SPACING)


def nifti_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_nifti(folder / "image.nii", array), Grid(array.shape, SPACING, ORIGIN)


def gzipped_nifti_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_nifti(folder / "image.nii.gz", array), Grid(array.shape, SPACING, ORIGIN)


def big_endian_nifti_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_nifti_by_hand(folder / "image.nii", array, 1, ">"), Grid(array.shape, SPACING)


def nifti_2_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_nifti_by_hand(folder / "image.nii", array, 2, "<"), Grid(array.shape, SPACING)


def tiff_slices(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_slices(folder / "image", array), Grid(array.shape, SPACING)


def tiled_tiff_slices(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    options = {"byteorder": ">", "compression": "zlib", "tile": (16, 16)}
    return write_slices(folder / "image", array, "z{}.tiff", **options), Grid(array.shape, SPACING)


def png_slices(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_slices(folder / "image", array, "{}.png"), Grid(array.shape, SPACING)


def precomputed_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    return write_precomputed(folder / "image", array), Grid(array.shape, SPACING)


def gzipped_precomputed_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    scale = write_precomputed(folder / "image", array, offset=(4, -2, 7))
    compress_chunks(scale)
    return scale, Grid(array.shape, SPACING, (14, -1, 1))


def nested_precomputed_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    scale = write_precomputed(folder / "image", array)
    compress_chunks(scale, nested=True)
    return scale, Grid(array.shape, SPACING)


def sharded_precomputed_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128"}
    sharding |= {"preshift_bits": 1, "minishard_bits": 2, "shard_bits": 1}
    sharding |= {"minishard_index_encoding": "gzip", "data_encoding": "gzip"}
    return write_precomputed(folder / "image", array, sharding=sharding), Grid(array.shape, SPACING)


def hdf5_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    import h5py

    with h5py.File(folder / "image.h5", "w") as file:
        chunks = tuple(min(8, n) for n in array.shape)
        dataset = file.create_dataset("group/raw", data=array, chunks=chunks, compression="gzip", fletcher32=True)
        dataset.attrs["element_size_um"] = SPACING
    return folder / "image.h5" / "group" / "raw", Grid(array.shape, SPACING)


def big_endian_hdf5_file(folder: Path, array: np.ndarray) -> tuple[Path, Grid]:
    import h5py

    with h5py.File(folder / "image.hdf5", "w") as file:
        file.create_dataset("raw", data=array, dtype=array.dtype.newbyteorder(">"))
    return folder / "image.hdf5" / "raw", Grid(array.shape, SPACING)


@dataclass(frozen=True)
class Format:
    """A way to store a volume: `write` gives its URI and the grid that it must have; `dtypes` are those it holds."""

    write: Callable[[Path, np.ndarray], tuple[Path, Grid]]
    dtypes: tuple[str, ...] = NUMBERS


_OF_PRECOMPUTED = tuple(name for name in NUMBERS if name not in ("int64", "float64"))

EVERY_FORMAT = {
    "n5": Format(n5_file),
    "ome-zarr-0.4": Format(ome_zarr_04_file, (*NUMBERS, "float16", "bool")),
    "ome-zarr-0.5": Format(ome_zarr_05_file, (*NUMBERS, "float16", "bool")),
    "ome-zarr-0.6": Format(ome_zarr_06_file),
    "zarr-v2-big-endian": Format(big_endian_zarr_file, (*NUMBERS, "float16")),
    "zarr-v3-sharded": Format(sharded_zarr_file),
    "tiff": Format(tiff_file, (*NUMBERS, "float16", "bool")),
    "tiff-big-endian": Format(big_endian_tiff_file),
    "ome-tiff": Format(ome_tiff_file, tuple(name for name in NUMBERS if "int64" not in name)),
    "nrrd": Format(nrrd_file),
    "nrrd-big-endian": Format(big_endian_nrrd_file),
    "nifti": Format(nifti_file),
    "nifti-gz": Format(gzipped_nifti_file),
    "nifti-big-endian": Format(big_endian_nifti_file),
    "nifti-2": Format(nifti_2_file),
    "tiff-slices": Format(tiff_slices, (*NUMBERS, "float16", "bool")),
    "tiff-slices-tiled": Format(tiled_tiff_slices),
    "png-slices": Format(png_slices, ("uint8", "uint16")),
    "precomputed": Format(precomputed_file, _OF_PRECOMPUTED),
    "precomputed-gz": Format(gzipped_precomputed_file, _OF_PRECOMPUTED),
    "precomputed-nested": Format(nested_precomputed_file, _OF_PRECOMPUTED),
    "precomputed-sharded": Format(sharded_precomputed_file, _OF_PRECOMPUTED),
}
if importlib.util.find_spec("h5py"):
    EVERY_FORMAT["hdf5"] = Format(hdf5_file, (*NUMBERS, "float16", "bool"))
    EVERY_FORMAT["hdf5-big-endian"] = Format(big_endian_hdf5_file, (*NUMBERS, "float16"))
