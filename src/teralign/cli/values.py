"""Values on the command line: numbers and ranges given as x,y,z become z,y,x; names, labels, channels and paths."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from teralign.grids import Box, Range

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
    _PathType = click.Path[Path]
else:  # older versions of click have no type parameters
    _ParamType = click.ParamType
    _PathType = click.Path

T = TypeVar("T")


class Value(_ParamType, Generic[T]):
    """A value that `parse` makes of text; its ValueError is the message for the user."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: str | T, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Parse text; a default that is a value already stays."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DiskPath(_PathType):
    """A path on a disk."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Refuse addresses: a path would lose one of their slashes."""
        if "://" in str(value):
            self.fail(f"{value} is an address; only volumes have those, so give a path on a disk.", param, ctx)
        return Path(super().convert(value, param, ctx))


class NumberRange(click.FloatRange):
    """A finite number in a range; "nan", with which every comparison is false, is none."""

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse text as click does, and refuse what is no finite number."""
        found = float(super().convert(value, param, ctx))  # type: ignore[arg-type] # text, as click gives it
        if not math.isfinite(found):
            self.fail(f"{value} is not a number.", param, ctx)
        return found


N = TypeVar("N", int, float)


def parse_axes(text: str, number: type[N]) -> tuple[N, N, N]:
    """Return three positive numbers x,y,z, or one for all axes, as z, y, x. Raises ValueError for anything else."""
    kind = "whole numbers" if number is int else "numbers"
    try:
        numbers = [number(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} is not x,y,z: give three {kind} with commas between them, or one.") from None
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(0 < n < float("inf") for n in numbers):
        raise ValueError(f"{text!r} is not x,y,z: give three positive {kind} with commas between them.")
    x, y, z = numbers
    return z, y, x


def parse_ranges(text: str) -> tuple[Range, Range, Range]:
    """Return ranges of voxels along x,y,z as z, y, x. Raises ValueError unless three ranges of numbers are given."""
    parts = [re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part) for part in text.split(",")]
    found = [(_bound(part[1]), _bound(part[2])) for part in parts if part]
    if len(parts) != 3 or len(found) != 3:
        raise ValueError(f"{text!r} is not x,y,z ranges: give three, such as 100:200,0:50,: for all of z.")
    x, y, z = found
    return z, y, x


def parse_box(text: str) -> Box:
    """Return the low and the high corner (z, y, x) of x,y,z,x,y,z. Raises ValueError unless six numbers are given."""
    try:
        x, y, z, x2, y2, z2 = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not x,y,z,x,y,z: give the low and the high corner in µm.") from None
    return (z, y, x), (z2, y2, x2)


def _bound(digits: str) -> int | None:
    return int(digits) if digits else None


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names between commas, without spaces around them and without empty names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_mirrored(text: str) -> str:
    """Return the axes to mirror along, as one word."""
    axes = parse_names(text)
    if not set(axes) <= set("xyz"):
        raise ValueError(f"{text!r} names other axes than x, y and z; give for example x or x,y")
    return "".join(axes)


def parse_numbers(text: str, *, kind: str, minimum: int | None = None) -> tuple[int, ...]:
    """Return whole numbers between commas. Raises ValueError for anything else and for numbers below `minimum`."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} are no {kind}: give whole numbers with commas between them.") from None
    if minimum is not None and min(numbers) < minimum:
        raise ValueError(f"{text!r} are no {kind}: they count from {minimum}.")
    return numbers


def parse_slot(text: str) -> tuple[int, int]:
    """Return a timepoint and a channel. Raises ValueError for anything but two whole numbers from 0."""
    numbers = parse_numbers(text, kind="timepoint and channel", minimum=0)
    if len(numbers) != 2:
        raise ValueError(f"{text!r} is no slot: give a timepoint and a channel, such as 0,2.")
    return numbers[0], numbers[1]


def parse_ports(text: str) -> tuple[int, int]:
    """Return the first and the last port of a range. Raises ValueError for anything else."""
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) < int(last) < 65536):
        raise ValueError(f"{text!r} is no range of ports: give the first and the last, such as 9000:9100.")
    return int(first), int(last)


VOXELS = Value("x,y,z", partial(parse_axes, number=int))
MICROMETRES = Value("x,y,z", partial(parse_axes, number=float))
BOX = Value("x,y,z,x,y,z", parse_box)
RANGES = Value("a:b,c:d,e:f", parse_ranges)
NAMES = Value("a,b,c", parse_names)
MIRRORED = Value("AXES", parse_mirrored)
LABELS = Value("1,2,3", partial(parse_numbers, kind="labels"))
CHANNELS = Value("1,2,3", partial(parse_numbers, kind="channels", minimum=0))
SLOT = Value("t,c", parse_slot)
PORTS = Value("first:last", parse_ports)
PATH = DiskPath(path_type=Path)
