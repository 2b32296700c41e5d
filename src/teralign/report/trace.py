"""Time, cores, memory and bytes of the tasks of a workflow run, from the table of Nextflow's -with-trace."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50}
_NAME = re.compile(r"(?:.*:)?(?P<process>\w+)(?: \((?P<tag>.*)\))?$")


@dataclass(frozen=True)
class TaskCost:
    """A task: its process, the pair that it worked for and what of it, its state, and what it took.

    `cores` is the mean number of cores in use, `peak_bytes` the largest memory, `read_bytes` and `written_bytes` what
    it read and wrote, also within memory. A value is None where Nextflow did not measure it.
    """

    process: str
    pair: str
    part: str
    status: str
    seconds: float | None
    cores: float | None
    peak_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None


def read_trace(path: Path) -> list[TaskCost]:
    """Return the tasks of a trace, in its order. Raises InputError for any other file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [_task(row) for row in rows]
    except OSError as error:
        raise InputError(f"--trace {path} cannot be read: {error.strerror or error}.") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"--trace {path} is not the table that Nextflow writes with -with-trace.") from error


def _task(row: dict[str, str]) -> TaskCost:
    match = _NAME.match(row["name"])
    if match is None:
        raise ValueError(row["name"])
    pair, _, part = (match["tag"] or "").partition(": ")
    cpu = _number(row.get("%cpu", "-").rstrip("%"))
    return TaskCost(
        process=match["process"],
        pair=pair,
        part=part,
        status=row["status"],
        seconds=_seconds(row.get("realtime", "-")),
        cores=None if cpu is None else round(cpu / 100, 3),
        peak_bytes=_bytes(row.get("peak_rss", "-")),
        read_bytes=_bytes(row.get("rchar", "-")),
        written_bytes=_bytes(row.get("wchar", "-")),
    )


def _number(text: str) -> float | None:
    return None if text in ("", "-") else float(text)


def _seconds(text: str) -> float | None:
    """Return a duration such as `1h 2m 3s` or `420ms`; a bare number is milliseconds, as in a raw trace."""
    if text in ("", "-"):
        return None
    if text.isdigit():
        return int(text) / 1000
    return round(sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smhd])", text)), 3)


def _bytes(text: str) -> int | None:
    """Return a size such as `1.2 GB`, or bytes of a raw trace."""
    if text in ("", "-"):
        return None
    if text.isdigit():
        return int(text)
    number, unit = text.split()
    return round(float(number) * _BYTES[unit])
