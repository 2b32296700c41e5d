"""The content of single parameters and cells: channels, labels, spacings, and entries of `apply_to`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from teralign.errors import InputError
from teralign.grids import FloatTriple, as_float_triple
from teralign.pipeline.parameters import Given, Parameters
from teralign.volumes.uri import FIND_MASK

RESULT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""A name that a file or a folder of results may have."""

_NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
_ENDINGS = {
    "interpolation": re.compile("linear|nearest|cubic"),
    "channels": re.compile(r"\d+(,\d+)*"),
    "spacing": re.compile(rf"{_NUMBER}(,{_NUMBER}){{2}}"),
    "name": RESULT_NAME,
}
_UNSAFE = re.compile(r"""["'$`\\*?{}\[\]\x00-\x1f\x7f]""")  # where Nextflow stages a file it quotes the rest

_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # bytes


@dataclass(frozen=True)
class Entry:
    """An entry of apply_to: a volume or a table, and what its endings say."""

    uri: str
    interpolation: str | None = None
    channels: str | None = None
    spacing: str | None = None
    name: str | None = None

    @property
    def is_table(self) -> bool:
        """True for a table of points, by the ending of its name."""
        return self.uri.lower().endswith(".csv")


def check_name(uri: str, given: Given) -> None:
    """Raise InputError for a path that cannot be quoted where Nextflow stages it, or that no file can have."""
    check_path(uri, given)
    if _UNSAFE.search(uri):
        raise given.refuse(
            f"{uri} has quotes, brackets or other characters in its name that a shell would take apart; "
            "rename it or link to it."
        )


def check_path(uri: str, given: Given) -> None:
    """Raise InputError for a path that no file can have: it is too long, or has characters that no name has."""
    content = uri.encode(errors="replace")
    if "\0" in uri or content.decode() != uri:
        raise given.refuse(f"{uri} has characters that no file has in its name; check it.")
    if len(content) > _LONGEST_PATH or max(map(len, content.split(b"/"))) > _LONGEST_NAME:
        raise given.refuse(
            f"{uri} is longer than a path may be ({_LONGEST_PATH} bytes, {_LONGEST_NAME} for each name); "
            "check it, or link to it."
        )


def parse_entries(given: Given) -> list[Entry]:
    """Parse apply_to: entries with semicolons between them. Raises InputError for an ending that is not known."""
    return [_entry(text.strip(), given) for text in given.text.split(";") if text.strip()]


def _entry(text: str, given: Given) -> Entry:
    """Parse 'labels.tif:nearest:spacing=1,1,2'."""
    match = re.fullmatch(r"(.+?)((?::[A-Za-z]+(?:=[^:=]*)?)*)", text)
    uri, endings = (match[1], match[2]) if match else (text, "")
    of_uri = re.search(r":z=[^:]*", endings)  # part of the URI
    if of_uri:
        uri, endings = uri + of_uri[0].strip(), endings.replace(of_uri[0], "", 1)
    settings: dict[str, str] = {}
    for ending in filter(None, endings.split(":")):
        name, _, value = ending.partition("=") if "=" in ending else ("interpolation", "", ending)
        value = re.sub(r"\s", "", value)
        shape = _ENDINGS.get(name.strip())
        if shape is None or not shape.fullmatch(value):
            raise given.refuse(
                f"{text} ends in '{ending}'; an ending is linear, nearest, cubic, channels=0,2, spacing=X,Y,Z or "
                "name=NAME."
            )
        settings[name.strip()] = value
    entry = Entry(uri, **settings)
    of_images = [name for name in settings if name != "name"]
    if entry.is_table and of_images:
        raise given.refuse(f"{text} is a table of points, which has no {' and no '.join(of_images)}.")
    return entry


def parse_channel(given: Given | None) -> int:
    """Parse the channel to align, 0 where it is not given. Raises InputError for what is no whole number."""
    if given is None:
        return 0
    if not re.fullmatch(r"\d+", given.text):
        raise InputError(f"{given.where} must be a whole number from 0, not '{given.text}'.")
    return int(given.text)


def parse_spacings(given: Given | None) -> dict[str, FloatTriple]:
    """Parse spacings (x, y, z) in µm by scale: 's2=1,1,2;s3=2,2,4'; without a scale, under "".

    Raises InputError for anything but three positive numbers.
    """
    found: dict[str, FloatTriple] = {}
    for entry in re.split(r"\s*;\s*", given.text) if given else ():
        scale, _, text = entry.rpartition("=")
        numbers = [float(n) if re.fullmatch(_NUMBER, n.strip()) else 0.0 for n in text.split(",")]
        if given and (len(numbers) != 3 or min(numbers) <= 0):
            raise InputError(
                f"{given.where} cannot be '{given.text}': give x,y,z in µm, such as 0.23,0.23,0.42, or a spacing for "
                "each scale, s2=1,1,2;s3=2,2,4."
            )
        x, y, z = numbers
        found[scale.strip()] = x, y, z
    return found


def parse_scales(given: Given | None) -> list[str]:
    """Parse names of scales with commas or semicolons between them; none where they are not given."""
    return [name.strip() for name in re.split("[,;]", given.text) if name.strip()] if given else []


def parse_region(given: Given | None) -> tuple[FloatTriple, FloatTriple] | None:
    """Parse a box 'x,y,z,x,y,z' into its low and high corner (x, y, z) in µm, None where it is not given.

    Raises InputError for anything but six numbers whose second three are the larger ones.
    """
    if given is None:
        return None
    texts = re.split("[,;]", re.sub(r"\s", "", given.text))
    numbers = [float(text) for text in texts if re.fullmatch(f"-?{_NUMBER}", text)]
    low, high = numbers[:3], numbers[3:]
    if len(texts) != 6 or len(numbers) != 6 or any(a >= b for a, b in zip(low, high, strict=True)):
        raise InputError(
            f"{given.where} cannot be '{given.text}': give the low and the high corner of a box in µm, X,Y,Z,X,Y,Z, "
            "such as 0,0,0,500,500,100."
        )
    return as_float_triple(low), as_float_triple(high)


def parse_expansion(given: Given | None) -> float | None:
    """Parse the factor by which a sample was expanded. Raises InputError for anything but a number above 0."""
    if given is None:
        return None
    if not re.fullmatch(_NUMBER, given.text) or float(given.text) <= 0:
        raise InputError(f"{given.where} must be a number above 0, such as 4, not '{given.text}'.")
    return float(given.text)


def mask_options(parameters: Parameters, side: str) -> list[str]:
    """Return the options of an alignment for the mask "auto", or for a mask with labels.

    Labels go with the mask: those of the run hold where the row has no mask of its own. Raises InputError for labels
    without a volume that has them, and for what are no whole numbers.
    """
    column = f"{side}_mask"
    mask = parameters.get(column)
    labels = parameters.own(f"{column}_labels")
    if labels is None and parameters.own(column) is None:
        labels = parameters.shared(f"{column}_labels")
    found_by_itself = mask is not None and mask.text == FIND_MASK
    if labels is None:
        return [f"--{side}-mask auto"] if found_by_itself else []
    if mask is None:
        raise labels.refuse(f"there is no {column} that has them.")
    if found_by_itself:
        raise labels.refuse("a mask that is found by itself has no labels.")
    text = re.sub(r"\s", "", labels.text).replace(";", ",")
    if not re.fullmatch(r"-?\d+(,-?\d+)*", text):
        raise InputError(f"{labels.where} must be whole numbers with commas between them, not '{labels.text}'.")
    return [f"--{side}-mask-labels {text}"]
