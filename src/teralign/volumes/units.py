"""Numbers and units of length and time, as file formats and their writers spell them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeGuard

_MICROMETRES = {
    1e-6: ("picometer", "picometre", "pm"),
    1e-4: ("angstrom", "å", "ångström"),
    1e-3: ("nanometer", "nanometre", "nm"),
    1.0: ("micrometer", "micrometre", "micron", "um", "µm", "μm", "mum", "µ", "μ"),
    1e3: ("millimeter", "millimetre", "mm"),
    1e4: ("centimeter", "centimetre", "cm"),
    1e5: ("decimeter", "decimetre", "dm"),
    1e6: ("meter", "metre", "m"),
    25400.0: ("inch", "inche", "in"),  # inches, without its s
    # the others that OME-Zarr allows
    1e-18: ("yoctometer",),
    1e-15: ("zeptometer",),
    1e-12: ("attometer",),
    1e-9: ("femtometer",),
    304800.0: ("foot", "feet"),
    914400.0: ("yard",),
    1e8: ("hectometer",),
    1e9: ("kilometer",),
    1609344000.0: ("mile",),
    1e12: ("megameter",),
    1e15: ("gigameter",),
    1e18: ("terameter",),
    1e21: ("petameter",),
    1e24: ("exameter",),
    1e27: ("zettameter",),
    1e30: ("yottameter",),
    3.0856775814913673e22: ("parsec",),
}
_SECONDS = {
    1e-9: ("nanosecond", "ns"),
    1e-6: ("microsecond", "µs", "μs", "us"),
    1e-3: ("millisecond", "ms", "msec"),
    1.0: ("second", "sec", "s"),
    60.0: ("minute", "min"),
    3600.0: ("hour", "h"),
    86400.0: ("day", "d"),
}
_LENGTHS = {name: size for size, names in _MICROMETRES.items() for name in names}
_TIMES = {name: size for size, names in _SECONDS.items() for name in names}
_ESCAPED_MICRO = re.compile(r"\\u00b5|\\u03bc|\\xb5|&micro;|&mu;|&#181;|&#956;|&#xb5;")
# A micro sign that went through wrong encodings: Âµm, Î¼m, ?m, \ufffdm. No other prefix of metre or second lies
# outside ASCII.
_GARBLED_MICRO = re.compile(r"(?:[^\x00-\x7f]|\?)+(m|s)")
_MEGAMETRE = "Mm"  # in lower case a millimetre


def is_size(value: float | None) -> TypeGuard[float]:
    """Return whether a stated voxel size can be one: a positive, finite number."""
    return value is not None and math.isfinite(value) and value > 0


def parse_number(text: object) -> float | None:
    """Return the number that a text holds, None if it holds none; some writers put a comma for the decimal point."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return None


def micrometres(unit: str) -> float | None:
    """Return how many µm a unit of length is, None for an unknown unit ("pixel", "")."""
    return None if unit.strip() == _MEGAMETRE else _size(unit, _LENGTHS)


def seconds(unit: str) -> float | None:
    """Return how many seconds a unit of time is, None for an unknown unit ("frame", "")."""
    return _size(unit, _TIMES)


def is_blank(unit: str) -> bool:
    """Return whether the name of a unit is empty, so that none is given."""
    return not _plain(unit)


def unknown_unit(*units: str) -> str:
    """Return the remark about units that are not understood, "" where each is understood or blank."""
    unknown = sorted({unit for unit in units if micrometres(unit) is None and not is_blank(unit)})
    return f"its unit {' or '.join(map(repr, unknown))} is not a known length" if unknown else ""


def _size(unit: str, sizes: Mapping[str, float]) -> float | None:
    name = _GARBLED_MICRO.sub(r"µ\1", _plain(unit)) if _plain(unit) not in sizes else _plain(unit)
    return sizes.get(name) or sizes.get(name.removesuffix("s"))


def _plain(unit: str) -> str:
    """Return the name of a unit in lower case, without spaces, quotes and the (s) of a plural."""
    name = _ESCAPED_MICRO.sub("µ", unit.strip(" \t\r\n\0\xa0\"'").lower())
    return name.removesuffix("(s)").strip()
