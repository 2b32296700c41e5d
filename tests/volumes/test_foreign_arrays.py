"""Arrays whose metadata other programs write in ways that tensorstore refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from teralign.errors import InputError
from teralign.volumes import open_volume

VOXELS = np.arange(7 * 8 * 9, dtype=np.uint16).reshape(7, 8, 9)

ZSTD2, BLOSC2 = {"id": "zstd", "level": 1}, {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
GZIP2, ZLIB2 = {"id": "gzip", "level": 1}, {"id": "zlib", "level": 1}
ZARR2: dict[str, tuple[Any, dict[str, Any]]] = {
    "zarr-python 3.0.0rc1": (ZSTD2, {"compressor": {**ZSTD2, "checksum": False}}),
    "numcodecs with a checksum": (ZSTD2, {"compressor": {**ZSTD2, "checksum": True}}),
    "n5-zarr before 1.3.2": (ZSTD2, {"fill_value": "0"}),
    "fill as a fraction": (None, {"fill_value": "0.0"}),
    "fill of another type": (None, {"fill_value": False}),
    "no fill for integers": (None, {"fill_value": "NaN"}),
    "empty fill": (None, {"fill_value": ""}),
    "jzarr": (BLOSC2, {"compressor": {**BLOSC2, "nthreads": 1}}),
    "numcodecs' own blosc": (BLOSC2, {"compressor": {**BLOSC2, "typesize": 2}}),
    "blosc by names": (BLOSC2, {"compressor": {**BLOSC2, "shuffle": "shuffle"}}),
    "n5-zarr's gzip": (GZIP2, {"compressor": {**GZIP2, "useZlib": False}}),
    "java's default level": (ZLIB2, {"compressor": {**ZLIB2, "level": -1}}),
    "level as text": (ZSTD2, {"compressor": {"id": "zstd", "level": "3"}}),
    "no separator": (None, {"dimension_separator": None}),
    "no order": (None, {"order": None}),
    "order in a small letter": (None, {"order": "c"}),
    "version as text": (None, {"zarr_format": "2"}),
    "byte order of no meaning": (None, {"dtype": "|u2"}),
    "native byte order": (None, {"dtype": "=u2"}),
    "type by its name": (None, {"dtype": "uint16"}),
    "empty compressor": (None, {"compressor": {}}),
}

ZSTD5, GZIP5, BLOSC5 = (
    {"type": "zstd", "level": 1},
    {"type": "gzip", "level": 1},
    {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
)
N5: dict[str, tuple[Any, dict[str, Any]]] = {
    "checksum": (ZSTD5, {"compression": {**ZSTD5, "checksum": True}}),
    "zarr.N5Store": (ZSTD5, {"compression": {**ZSTD5, "id": "zstd", "checksum": False}}),
    "early n5-zstandard": (ZSTD5, {"compression": {**ZSTD5, "nbWorkers": 0}}),
    "n5-blosc": (BLOSC5, {"compression": {**BLOSC5, "nthreads": 1, "blocksize": 0}}),
    "gzip": (GZIP5, {"compression": {**GZIP5, "id": "gzip", "level": None}}),
    "raw": ({"type": "raw"}, {"compression": {"type": "raw", "level": 0}}),
    "xz": ({"type": "xz", "preset": 6}, {"compression": {"type": "xz", "preset": 6, "checksum": 1}}),
    "bzip2": ({"type": "bzip2", "blockSize": 8}, {"compression": {"type": "bzip2", "blockSize": 8, "level": 1}}),
    "units as one text": (GZIP5, {"units": "um"}),
    "units of nothing": (GZIP5, {"units": [None] * 3}),
    "axes as objects": (GZIP5, {"axes": [{"name": name} for name in "xyz"]}),
    "axes of channels": (GZIP5, {"axes": ["x", "y", "z", "c"]}),
    "resolution as an object": (GZIP5, {"resolution": {"dimensions": [0.5, 0.5, 2.0], "unit": "um"}}),
    "resolution of time too": (GZIP5, {"resolution": [0.5, 0.5, 2.0, 1.0]}),
    "type in capitals": (GZIP5, {"dataType": "UINT16"}),
}

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD3 = {"name": "zstd", "configuration": {"level": 1}}
BLOSC3 = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0, "typesize": 2}
ZARR3: dict[str, tuple[Any, dict[str, Any]]] = {
    "encoder settings": (
        [BYTES, ZSTD3],
        {"codecs": [BYTES, {"name": "zstd", "configuration": {"level": 1, "checksum": False, "nbWorkers": 0}}]},
    ),
    "numcodecs by their own names": (
        [BYTES, ZSTD3],
        {"codecs": [BYTES, {"name": "numcodecs.zstd", "configuration": {"level": 1}}]},
    ),
    "numcodecs' blosc": (
        [BYTES, {"name": "blosc", "configuration": BLOSC3}],
        {"codecs": [BYTES, {"name": "numcodecs.blosc", "configuration": BLOSC3 | {"shuffle": 1, "typesize": None}}]},
    ),
    "drafts of the specification": ([BYTES], {"codecs": [{**BYTES, "name": "endian"}]}),
    "byte order left out": ([BYTES], {"codecs": [{"name": "bytes"}]}),
    "codecs by name only": ([BYTES], {"codecs": ["bytes"]}),
    "fill as text": ([BYTES], {"fill_value": "0"}),
    "no fill": ([BYTES], {"fill_value": None}),
    "no names": ([BYTES], {"dimension_names": None}),
    "consolidated": ([BYTES], {"consolidated_metadata": None}),
    "type as an object": ([BYTES], {"data_type": {"name": "uint16"}}),
    "shards": (
        [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [4, 4, 8],
                    "codecs": [BYTES, ZSTD3],
                    "index_codecs": [BYTES, {"name": "crc32c"}],
                },
            }
        ],
        {
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [4, 4, 8],
                        "codecs": [BYTES, {"name": "numcodecs.zstd", "configuration": {"level": 1}}],
                        "index_codecs": [{"name": "bytes"}, {"name": "numcodecs.crc32c"}],
                    },
                }
            ]
        },
    ),
}


def written(path: Path, driver: str, metadata: dict[str, Any], changes: dict[str, Any]) -> Path:
    """Write the voxels by metadata that tensorstore reads, then say the same in the words of another program."""
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}, "metadata": metadata}
    ts.open(spec, create=True).result()[...] = VOXELS if driver != "n5" else VOXELS.T
    file = path / {"zarr": ".zarray", "zarr3": "zarr.json", "n5": "attributes.json"}[driver]
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ValueError):
        ts.open({"driver": driver, "kvstore": spec["kvstore"]}, open=True).result()
    return path


def zarr2(compressor: Any) -> dict[str, Any]:
    return {"shape": VOXELS.shape, "chunks": [4, 4, 8], "dtype": "<u2", "fill_value": 0, "compressor": compressor}


def n5(compression: Any) -> dict[str, Any]:
    sizes = {"dimensions": VOXELS.shape[::-1], "blockSize": [8, 4, 4]}
    return sizes | {"dataType": "uint16", "compression": compression}


def zarr3(codecs: Any) -> dict[str, Any]:
    grid = {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}}
    return {"shape": VOXELS.shape, "data_type": "uint16", "chunk_grid": grid, "codecs": codecs}


def assert_read(path: Path) -> None:
    volume = open_volume(path, spacing=(1, 1, 1))
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(volume.read(), VOXELS)


@pytest.mark.parametrize("name", ZARR2)
def test_zarr_2(name: str, tmp_path: Path) -> None:
    compressor, changes = ZARR2[name]
    assert_read(written(tmp_path / "a.zarr", "zarr", zarr2(compressor), changes))


@pytest.mark.parametrize("name", N5)
def test_n5(name: str, tmp_path: Path) -> None:
    compression, changes = N5[name]
    assert_read(written(tmp_path / "a.n5" / "s0", "n5", n5(compression), changes))


@pytest.mark.parametrize("name", ZARR3)
def test_zarr_3(name: str, tmp_path: Path) -> None:
    codecs, changes = ZARR3[name]
    assert_read(written(tmp_path / "a.zarr", "zarr3", zarr3(codecs), changes))


def test_voxels_that_are_not_stored_have_the_value_that_the_text_names(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", "zarr", zarr2(None), {"fill_value": "7"})
    (path / "0.0.0").unlink()
    assert set(open_volume(path, spacing=(1, 1, 1)).read()[:4, :4, :8].ravel()) == {7}


@pytest.mark.parametrize(
    ("driver", "metadata", "changes"),
    [
        ("zarr", zarr2(None), {"compressor": {"id": "lz4", "acceleration": 1}}),
        ("n5", n5({"type": "raw"}), {"compression": {"type": "lz4", "blockSize": 65536}}),
        ("zarr3", zarr3([BYTES]), {"codecs": [BYTES, {"name": "lz4"}]}),
    ],
)
def test_a_codec_that_cannot_be_read_is_named(
    driver: str, metadata: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    path = written(tmp_path / f"a.{'n5' if driver == 'n5' else 'zarr'}" / "s0", driver, metadata, changes)
    with pytest.raises(InputError, match=r"s0 is compressed by lz4, which cannot be read; those that can are .*zstd"):
        open_volume(path, spacing=(1, 1, 1))
