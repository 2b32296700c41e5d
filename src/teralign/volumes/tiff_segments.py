"""Strips and tiles of a TIFF that are images themselves: their own headers give their size, not the file's.

Decoders of other compressions get the size of a strip or tile, and stop there. Those of JPEG, JPEG 2000 and PNG make
an image of the size in its header, up to gigabytes; so the header is looked at before. https://www.w3.org/TR/png/,
ITU-T T.81 (JPEG), T.800 (JPEG 2000)
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import tifffile

_IMAGES = {6, 7, 34892, 33007, 33003, 33004, 33005, 34712, 34933}  # TIFF's numbers of JPEG, JPEG 2000 and PNG
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000, alone or in a file of boxes
_LONGEST_START = 1 << 16
PNG = b"\x89PNG\r\n\x1a\n"
"""The beginning of a PNG."""
_ROOM = 4  # times the values of a strip or tile: writers pad the last ones, and a chroma of half the size counts too
_SMALL = 1 << 16  # values of an image that is no harm


def limit_images(pages: Iterable[tifffile.TiffPage | tifffile.TiffFrame]) -> None:
    """Have pages decode no strip or tile that is an image far larger than the file says; they raise ValueError.

    The pages are those of a series, which are compressed in one way.
    """
    limited: set[int] = set()
    for page in pages:
        keyframe = page.keyframe  # of which each page that tifffile parsed in full is its own
        if keyframe is None or keyframe.compression not in _IMAGES:
            return
        if id(keyframe) not in limited:
            limited.add(id(keyframe))
            _limit(keyframe)


def _limit(page: tifffile.TiffPage) -> None:
    decode = page.decode
    limit = _ROOM * math.prod(page.chunks) + _SMALL

    def limited(data: bytes | None, index: int, /, **options: object) -> object:
        values = _values(bytes(data[:_LONGEST_START])) if data else 0
        if values > limit:
            raise ValueError(
                f"part {index} of it is an image of {values} values, where the file has room for {limit}"
            )
        return decode(data, index, **options)

    page.__dict__["decode"] = limited  # where tifffile caches it


def _values(head: bytes) -> int:
    """Return how many values the image has that begins so, 0 for what is none or has its size elsewhere."""
    try:
        if head.startswith(b"\xff\xd8"):
            return _of_jpeg(head)
        if head.startswith(PNG):
            width, height = struct.unpack_from(">II", head, 16)
            return int(width * height)
        place = head.find(_CODESTREAM)
        if place >= 0:
            right, bottom, left, top = struct.unpack_from(">4I", head, place + 8)
            (components,) = struct.unpack_from(">H", head, place + 40)
            return int(max(0, right - left) * max(0, bottom - top) * components)
    except struct.error:  # too short: the decoder says so
        pass
    return 0


def _of_jpeg(head: bytes) -> int:
    place = 2
    while True:
        mark, kind = struct.unpack_from("BB", head, place)
        if mark != 0xFF:
            return 0
        if kind == 0xFF:  # padding
            place += 1
        elif kind in _START_OF_FRAME:
            height, width, components = struct.unpack_from(">HHB", head, place + 5)
            return int(height * width * components)
        elif kind in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int(struct.unpack_from(">H", head, place + 2)[0])
