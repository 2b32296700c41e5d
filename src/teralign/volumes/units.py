"""Units of length, as the file formats spell them."""

from __future__ import annotations

_MICROMETRES = {
    1e-4: ("angstrom", "å", "ångström"),
    1e-3: ("nanometer", "nanometre", "nm"),
    1.0: ("micrometer", "micrometre", "micron", "um", "µm", "μm", "\\u00b5m"),
    1e3: ("millimeter", "millimetre", "mm"),
    1e4: ("centimeter", "centimetre", "cm"),
    1e6: ("meter", "metre", "m"),
    25400.0: ("inch", "in"),
}
_BY_NAME = {name: size for size, names in _MICROMETRES.items() for name in names}


def micrometres(unit: str) -> float | None:
    """How many µm one `unit` is, None for what is no unit of length that we know ("pixel", "")."""
    name = unit.strip().strip('"').lower()
    return _BY_NAME.get(name) or _BY_NAME.get(name.removesuffix("s"))
