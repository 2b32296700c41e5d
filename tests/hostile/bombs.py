"""Small files whose compressed parts hold half a gigabyte of zeros, where the metadata declare a kilobyte."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import SimpleITK
import tifffile

from hostile.seeds import SEEDS
from volume_files import noise, write_n5, write_nifti, write_precomputed, write_slices, write_zarr

SHAPE = (8, 8, 8)
BYTES = 512 << 20
_STEP = 1 << 20
_HOW_MANY = BYTES // _STEP

Payload = Callable[[], bytes]
Bomb = Callable[[Path], str]
"""Writes a volume into a folder, and returns its URI there."""


def _zeros() -> np.ndarray:
    return np.zeros(BYTES, np.uint8)


def _deflated() -> bytes:
    """Return zeros by deflate, without a header: a part that is repeated."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = coder.compress(bytes(_STEP)) + coder.flush(zlib.Z_FULL_FLUSH)
    return part * _HOW_MANY + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


@functools.cache
def gzipped() -> bytes:
    crc = functools.reduce(lambda crc, _: zlib.crc32(bytes(_STEP), crc), range(_HOW_MANY), 0)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + _deflated() + struct.pack("<II", crc, BYTES)


@functools.cache
def zlibbed() -> bytes:
    checksum = functools.reduce(lambda found, _: zlib.adler32(bytes(_STEP), found), range(_HOW_MANY), 1)
    return b"\x78\xda" + _deflated() + struct.pack(">I", checksum)


def zstd() -> bytes:
    return bytes(imagecodecs.zstd_encode(_zeros()))


def zstd_frames() -> bytes:
    return bytes(imagecodecs.zstd_encode(bytes(_STEP))) * _HOW_MANY


@functools.cache
def blosc() -> bytes:
    return bytes(imagecodecs.blosc_encode(_zeros(), compressor="zstd", level=5))


def bzip2() -> bytes:
    return bz2.compress(bytes(16 * _STEP)) * (_HOW_MANY // 16)


def xz() -> bytes:
    return lzma.compress(bytes(16 * _STEP), preset=0) * (_HOW_MANY // 16)


def brotli() -> bytes:
    return bytes(imagecodecs.brotli_encode(_zeros(), level=1))


def in_n5(compression: Mapping[str, Any], payload: Payload) -> Bomb:
    def write(folder: Path) -> str:
        array = write_n5(folder / "image.n5" / "raw", noise(SHAPE, "uint16"), compression=compression)
        (array / "0/0/0").write_bytes(struct.pack(">HH3I", 0, 3, *SHAPE) + payload())
        return "image.n5/raw"

    return write


def in_zarr2(compressor: Mapping[str, Any], payload: Payload) -> Bomb:
    def write(folder: Path) -> str:
        array = write_zarr(folder / "image.zarr" / "raw", noise(SHAPE, "uint16"), 2, compressors=None)
        metadata = json.loads((array / ".zarray").read_text())
        (array / ".zarray").write_text(json.dumps(metadata | {"compressor": compressor}))
        (array / "0.0.0").write_bytes(payload())
        return "image.zarr/raw"

    return write


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
GZIP = {"name": "gzip", "configuration": {"level": 1}}
ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
CRC = {"name": "crc32c"}
_OF_BLOSC = {"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0}
BLOSC = {"name": "blosc", "configuration": _OF_BLOSC}


def in_zarr3(codecs: list[Mapping[str, Any]], payload: Payload) -> Bomb:
    def write(folder: Path) -> str:
        array = write_zarr(folder / "image.zarr" / "raw", noise(SHAPE, "uint16"), 3, compressors=None)
        metadata = json.loads((array / "zarr.json").read_text())
        (array / "zarr.json").write_text(json.dumps(metadata | {"codecs": codecs}))
        (array / "c/0/0/0").write_bytes(payload())
        return "image.zarr/raw"

    return write


def in_shard(codecs: list[Mapping[str, Any]], payload: Payload) -> Bomb:
    """A shard of one chunk, with its index at the end."""
    settings = {"chunk_shape": SHAPE, "codecs": codecs, "index_codecs": [LITTLE, CRC], "index_location": "end"}

    def whole() -> bytes:
        content = payload()
        index = struct.pack("<QQ", 0, len(content))
        return content + index + struct.pack("<I", _crc32c(index))

    return in_zarr3([{"name": "sharding_indexed", "configuration": settings}], whole)


def _crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def in_precomputed(ending: str, payload: Payload) -> Bomb:
    def write(folder: Path) -> str:
        (chunk,) = write_precomputed(folder / "image", noise(SHAPE, "uint16")).iterdir()
        chunk.unlink()
        Path(f"{chunk}{ending}").write_bytes(payload())
        return "image"

    return write


def in_tiff(array: np.ndarray, payload: Payload, **options: Any) -> Bomb:
    """A TIFF all of whose strips or tiles are a bomb."""

    def write(folder: Path) -> str:
        path = folder / "image.tif"
        tifffile.imwrite(path, array, metadata=None, **options)
        content, bomb = path.read_bytes(), payload()
        changed = bytearray(content) + bomb
        kind = "Tile" if "tile" in options else "Strip"
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                struct.pack_into("<I", changed, page.tags[f"{kind}Offsets"].valueoffset, len(content))
                struct.pack_into("<I", changed, page.tags[f"{kind}ByteCounts"].valueoffset, len(bomb))
        path.write_bytes(changed)
        return "image.tif"

    return write


def jpeg() -> bytes:
    """Return the beginning of an image of 200 megapixels, whose other pixels decoders take for grey."""
    content = bytearray(imagecodecs.jpeg8_encode(np.zeros((64, 64, 3), np.uint8)))
    place = next(content.index(bytes((0xFF, kind))) for kind in (0xC0, 0xC2) if bytes((0xFF, kind)) in content)
    struct.pack_into(">HH", content, place + 5, 16000, 12000)
    return bytes(content)


def jpeg2000() -> bytes:
    """Return the beginning of an image of four gigapixels, without its voxels."""
    content = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), level=0, codecformat="j2k"))
    place = content.index(b"\xff\x51") + 6
    for at in (place, place + 4, place + 16, place + 20):  # width and height of the image, and of a tile
        struct.pack_into(">I", content, at, 60000)
    return bytes(content)


def in_slices(folder: Path) -> str:
    """Slices one of which is a PNG of 256 megapixels."""
    write_slices(folder / "image", noise(SHAPE, "uint16"), "{}.png")
    parts = {b"IHDR": struct.pack(">IIBBBBB", 16000, 16000, 16, 0, 0, 0, 0), b"IDAT": zlibbed(), b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in parts.items():
        content += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    (folder / "image" / "12.png").write_bytes(content)
    return "image"


def in_hdf5(folder: Path, *, twice: bool = False) -> str:
    import h5py

    with h5py.File(folder / "image.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(SHAPE)
        plist.set_deflate(1)
        if twice:
            plist.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (1,))
        space = h5py.h5s.create_simple(SHAPE)
        dataset = h5py.h5d.create(file.id, b"raw", h5py.h5t.STD_U16LE, space, plist)
        dataset.write_direct_chunk((0, 0, 0), zlib.compress(zlibbed()) if twice else zlibbed())
    return "image.h5/raw"


def in_nrrd(encoding: str, payload: Payload) -> Bomb:
    header = "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 8 8 8\nspacings: 1 1 1\nendian: little\n"

    def write(folder: Path) -> str:
        (folder / "image.nrrd").write_bytes(f"{header}encoding: {encoding}\n\n".encode() + payload())
        return "image.nrrd"

    return write


def in_metaimage(folder: Path) -> str:
    header = "NDims = 3\nDimSize = 8 8 8\nElementSpacing = 1 1 1\nElementType = MET_USHORT\nCompressedData = True\n"
    (folder / "image.mha").write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + zlibbed())
    return "image.mha"


def in_nifti(folder: Path) -> str:
    plain = write_nifti(folder / "plain.nii", noise(SHAPE, "uint16"))
    (folder / "image.nii.gz").write_bytes(gzip.compress(plain.read_bytes()) + gzipped())
    return "image.nii.gz"


def in_zip(part: str) -> Bomb:
    """An archive whose metadata or chunk expands."""

    def write(folder: Path) -> str:
        array = write_zarr(folder / "plain", noise(SHAPE, "uint16"), 3, compressors=None)
        with zipfile.ZipFile(folder / "image.zarr.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(array.rglob("*")):
                if path.is_file():
                    archive.writestr(
                        path.relative_to(array).as_posix(),
                        bytes(BYTES // 2) if path.name == part else path.read_bytes(),
                    )
        return "image.zarr.zip"

    return write


def in_manifest(folder: Path) -> str:
    """An array beside which lies a manifest that expands."""
    array = write_zarr(folder / "image.zarr" / "raw", noise(SHAPE, "uint16"), 3)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (BYTES // 16,)})
    with zipfile.ZipFile(array / "manifest.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("sizes.npy", header.getvalue() + bytes(BYTES // 2))
        archive.writestr("crcs.npy", header.getvalue())
    return "image.zarr/raw"


def in_field(folder: Path) -> str:
    SEEDS["field"].write(folder)
    (array,) = folder.glob("field.zarr/**/s0")
    metadata = json.loads((array / "zarr.json").read_text())
    (array / "zarr.json").write_text(json.dumps(metadata | {"codecs": [LITTLE, BLOSC]}))
    (array / "c/0/0/0/0").write_bytes(blosc())
    return "field.zarr"


def in_itk_field(folder: Path) -> str:
    """A field of ITK as NRRD, by gzip, that declares far less."""
    (folder / "points.csv").write_text("x,y,z\n1,1,1\n")
    image = SimpleITK.GetImageFromArray(np.zeros((*SHAPE, 3), np.float32), isVector=True)
    SimpleITK.WriteImage(image, str(folder / "field.nrrd"), useCompression=True)
    content = (folder / "field.nrrd").read_bytes()
    (folder / "field.nrrd").write_bytes(content[: content.index(b"\n\n") + 2] + gzipped())
    return "field.nrrd"


VOLUMES: dict[str, Bomb] = {
    "n5 gzip": in_n5({"type": "gzip"}, gzipped),
    "n5 zlib": in_n5({"type": "gzip", "useZlib": True}, zlibbed),
    "n5 zstd": in_n5({"type": "zstd"}, zstd_frames),
    "n5 bzip2": in_n5({"type": "bzip2"}, bzip2),
    "n5 xz": in_n5({"type": "xz"}, xz),
    "n5 blosc": in_n5({"type": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1}, blosc),
    "zarr v2 gzip": in_zarr2({"id": "gzip", "level": 1}, gzipped),
    "zarr v2 zstd": in_zarr2({"id": "zstd", "level": 1}, zstd),
    "zarr v2 blosc": in_zarr2({"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": 0}, blosc),
    "zarr v3 gzip": in_zarr3([LITTLE, GZIP], gzipped),
    "zarr v3 zstd": in_zarr3([LITTLE, ZSTD], zstd_frames),
    "zarr v3 blosc": in_zarr3([LITTLE, BLOSC], blosc),
    "zarr v3 checksum gzip": in_zarr3([LITTLE, CRC, GZIP], gzipped),
    "zarr v3 gzip gzip": in_zarr3([LITTLE, GZIP, GZIP], lambda: gzip.compress(gzipped())),
    "zarr v3 blosc gzip": in_zarr3([LITTLE, BLOSC, GZIP], gzipped),
    "zarr v3 gzip blosc": in_zarr3([LITTLE, GZIP, BLOSC], blosc),
    "zarr v3 shard blosc": in_shard([LITTLE, BLOSC], blosc),
    "zarr v3 shard gzip": in_shard([LITTLE, GZIP], gzipped),
    "precomputed gzip": in_precomputed(".gz", gzipped),
    "precomputed zstd": in_precomputed(".zstd", zstd_frames),
    "precomputed brotli": in_precomputed(".br", brotli),
    "tiff strip": in_tiff(noise(SHAPE, "uint16"), zlibbed, compression="zlib", rowsperstrip=8),
    "tiff tile": in_tiff(noise(SHAPE, "uint16"), zstd, compression="zstd", tile=(16, 16)),
    "tiff jpeg": in_tiff(np.zeros((4, 16, 16, 3), np.uint8), jpeg, compression="jpeg", photometric="rgb"),
    "tiff jpeg 2000": in_tiff(
        np.zeros((4, 64, 64), np.uint16), jpeg2000, compression="jpeg2000", photometric="minisblack"
    ),
    "png slices": in_slices,
    "hdf5": in_hdf5,
    "hdf5 twice": functools.partial(in_hdf5, twice=True),
    "nrrd gzip": in_nrrd("gzip", gzipped),
    "nrrd bzip2": in_nrrd("bzip2", bzip2),
    "metaimage": in_metaimage,
    "nifti": in_nifti,
    "zip of metadata": in_zip("zarr.json"),
    "zip of a chunk": in_zip("0"),
    "manifest": in_manifest,
}
TRANSFORMS: dict[str, Bomb] = {"field": in_field, "field of ITK": in_itk_field}
