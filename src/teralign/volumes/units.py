"""Units of length and time, as the file formats spell them."""

from __future__ import annotations

from collections.abc import Mapping

_MICROMETRES = {
    1e-4: ("angstrom", "å", "ångström"),
    1e-3: ("nanometer", "nanometre", "nm"),
    1.0: ("micrometer", "micrometre", "micron", "um", "µm", "μm", "\\u00b5m"),
    1e3: ("millimeter", "millimetre", "mm"),
    1e4: ("centimeter", "centimetre", "cm"),
    1e6: ("meter", "metre", "m"),
    25400.0: ("inch", "in"),
}
_SECONDS = {
    1e-9: ("nanosecond", "ns"),
    1e-6: ("microsecond", "µs", "us"),
    1e-3: ("millisecond", "ms", "msec"),
    1.0: ("second", "sec", "s"),
    60.0: ("minute", "min"),
    3600.0: ("hour", "h"),
    86400.0: ("day", "d"),
}
_LENGTHS = {name: size for size, names in _MICROMETRES.items() for name in names}
_TIMES = {name: size for size, names in _SECONDS.items() for name in names}


def micrometres(unit: str) -> float | None:
    """How many µm one `unit` is, None for what is no unit of length that we know ("pixel", "")."""
    return _size(unit, _LENGTHS)


def seconds(unit: str) -> float | None:
    """How many seconds one `unit` is, None for what is no unit of time that we know ("frame", "")."""
    return _size(unit, _TIMES)


def _size(unit: str, sizes: Mapping[str, float]) -> float | None:
    name = unit.strip().strip('"').lower()
    return sizes.get(name) or sizes.get(name.removesuffix("s"))
