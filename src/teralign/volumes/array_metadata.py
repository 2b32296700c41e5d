"""Metadata of arrays that other programs write, respelled for tensorstore.

tensorstore refuses keys that it does not know, and values of another JSON type. Writers add settings of their
encoders, which no decoder needs (`checksum`, `nthreads`, `nbWorkers`), numbers as text, and, in N5, units and axes of
their own. Only keys that change no voxel are left out or respelled here; others stay, and tensorstore refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from teralign.errors import InputError
from teralign.results import Json
from teralign.volumes.json_values import JsonObject

_METADATA_FILES = {"n5": "attributes.json", "zarr": ".zarray", "zarr3": "zarr.json"}
_ZARR_CODECS = {
    "zstd": ("level",),
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "gzip": ("level",),
    "zlib": ("level",),
    "bz2": ("level",),
}
_N5_CODECS = {
    "raw": (),
    "zstd": ("level",),
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "gzip": ("level", "useZlib"),
    "bzip2": ("blockSize",),
    "xz": ("preset",),
}
_ZARR3_CODECS = {
    "bytes": ("endian",),
    "transpose": ("order",),
    "zstd": ("level", "checksum"),
    "blosc": ("cname", "clevel", "shuffle", "blocksize", "typesize"),
    "gzip": ("level",),
    "crc32c": (),
    "sharding_indexed": ("chunk_shape", "codecs", "index_codecs", "index_location"),
}
_ZARR3_KEYS = ("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "attributes")
_OLD_NAMES = {"endian": "bytes", **{f"numcodecs.{name}": name for name in ("zstd", "blosc", "gzip", "crc32c")}}
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_NAMED_NUMBERS = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity"}
_LEVEL = 1  # of encoders, where the one in the metadata is no number of theirs; it matters to writers only


def metadata_file(driver: str) -> str | None:
    """Return the name of the file that describes an array, None for a driver whose arrays share one."""
    return _METADATA_FILES.get(driver)


def respelled(driver: str, metadata: JsonObject, name: str) -> JsonObject:
    """Return metadata respelled for tensorstore's `driver`; `name` is the array in messages.

    Raises InputError for a codec that tensorstore lacks.
    """
    respell: dict[str, Callable[[JsonObject, str], JsonObject]] = {"n5": _n5, "zarr": _zarr2, "zarr3": _zarr3}
    return respell[driver](metadata, name)


def _n5(metadata: JsonObject, name: str) -> JsonObject:
    """Keep the attributes that describe the array: other programs may add any others to N5."""
    compression = metadata.get("compression", metadata.get("compressionType", "raw"))
    kept = {key: metadata[key] for key in ("dimensions", "blockSize") if key in metadata}
    return {
        **kept,
        "dataType": str(metadata.get("dataType")).lower(),
        "compression": _codec("type", compression, _N5_CODECS, name),
    }


def _zarr2(metadata: JsonObject, name: str) -> JsonObject:
    kept = {
        key: value
        for key, value in metadata.items()
        if value is not None or key not in ("dimension_separator", "order")
    }
    dtype = metadata.get("dtype")
    compressor = metadata.get("compressor")
    known = _dtype(dtype)
    if isinstance(dtype, str) and known is not None:
        kept["dtype"] = _byte_order(dtype, known)
        kept["fill_value"] = _fill_value(metadata.get("fill_value"), known)
    kept["compressor"] = _codec("id", compressor, _ZARR_CODECS, name) if compressor else None
    if isinstance(kept.get("order"), str):
        kept["order"] = str(kept["order"]).upper()
    if kept.get("zarr_format") == "2":
        kept["zarr_format"] = 2
    return {"order": "C", **kept}


def _zarr3(metadata: JsonObject, name: str) -> JsonObject:
    kept = {key: metadata[key] for key in _ZARR3_KEYS if key in metadata}
    unknown = {key: value for key, value in metadata.items() if key not in kept and key != "consolidated_metadata"}
    kept |= {key: value for key, value in unknown.items() if value is not None}
    data_type = metadata.get("data_type")
    if isinstance(data_type, dict) and not data_type.get("configuration"):
        kept["data_type"] = data_type = data_type.get("name")
    dtype = _dtype(data_type)
    if dtype is None:
        return kept
    fill = _fill_value(metadata.get("fill_value"), dtype)
    kept["fill_value"] = 0 if fill is None else fill
    kept["codecs"] = _zarr3_codecs(metadata.get("codecs"), dtype, name)
    return kept


def _zarr3_codecs(codecs: Json, dtype: np.dtype[np.generic], name: str) -> Json:
    return [_zarr3_codec(codec, dtype, name) for codec in codecs] if isinstance(codecs, list) else codecs


def _zarr3_codec(declared: Json, dtype: np.dtype[np.generic], name: str) -> Json:
    content: JsonObject = declared if isinstance(declared, dict) else {"name": declared}
    known = _OLD_NAMES.get(str(content.get("name")), str(content.get("name")))
    given = content.get("configuration")
    settings = _kept_settings(known, given if isinstance(given, dict) else {}, _ZARR3_CODECS, name)
    if known == "bytes" and dtype.itemsize > 1:
        settings = {"endian": "little", **settings}
    if known == "blosc":
        shuffle = settings.get("shuffle")
        if isinstance(shuffle, int) and 0 <= shuffle < len(_SHUFFLES):
            settings["shuffle"] = _SHUFFLES[shuffle]
        settings = {"typesize": dtype.itemsize, **settings}
    for key in ("codecs", "index_codecs"):
        if key in settings:
            settings[key] = _zarr3_codecs(settings[key], dtype if key == "codecs" else np.dtype(np.uint64), name)
    return {"name": known, "configuration": settings} if settings else {"name": known}


def _codec(key: str, declared: Json, known: Mapping[str, tuple[str, ...]], name: str) -> Json:
    """Return a codec that `key` names, with the settings that tensorstore knows."""
    content: JsonObject = declared if isinstance(declared, dict) else {key: declared}
    codec = str(content.get(key, content.get("id")))
    settings = _kept_settings(codec, content, known, name)
    if codec == "blosc" and isinstance(settings.get("shuffle"), str):
        settings["shuffle"] = _SHUFFLES.index(str(settings["shuffle"])) if settings["shuffle"] in _SHUFFLES else 1
    return {key: codec, **settings}


def _kept_settings(
    codec: str, settings: JsonObject, known: Mapping[str, tuple[str, ...]], name: str
) -> dict[str, Json]:
    if codec not in known:
        raise InputError(
            f"{name} is compressed by {codec}, which cannot be read; those that can are {', '.join(known)}."
        )
    kept = {key: settings[key] for key in known[codec] if settings.get(key) is not None}
    level = kept.get("level")
    if level is not None and not (isinstance(level, int) and (codec == "zstd" or 0 <= level <= 9)):
        kept["level"] = _LEVEL
    return kept


def _dtype(name: Json) -> np.dtype[np.generic] | None:
    """Return the data type of a name, None where it is none."""
    try:
        return np.dtype(str(name))
    except (TypeError, ValueError, SyntaxError):
        return None


def _byte_order(name: str, dtype: np.dtype[np.generic]) -> str:
    """Return a data type of numbers as Zarr v2 writes it: '<u2' for '|u2', '=u2' and 'uint16'."""
    return dtype.newbyteorder(">" if name.startswith(">") else "<").str if dtype.kind in "buif" else name


def _fill_value(value: Json, dtype: np.dtype[np.generic]) -> Json:
    """Return the value of voxels that are not stored as `dtype` has it, None where it is none of its values."""
    if isinstance(value, str):
        text = value.strip().lower()
        if dtype.kind == "f":
            return _NAMED_NUMBERS.get(text, _number(text, value))
        value = {"true": 1.0, "false": 0.0}.get(text, _number(text, None))
    if not isinstance(value, int | float):
        return None
    if dtype.kind == "f":
        return value if math.isfinite(value) else _NAMED_NUMBERS[str(value)]
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind not in "iu" or not math.isfinite(value) or int(value) != value:
        return None
    limits = np.iinfo(dtype.str)
    return int(value) if limits.min <= int(value) <= limits.max else None


def _number(text: str, otherwise: Json) -> Json:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return otherwise
