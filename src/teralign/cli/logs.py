"""The log of a command on standard error: lines and live bars for people, or JSON for machines.

The last error of a command takes the same way (`say_error`), so that each line of a JSON log is an object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TextIO

import click

from teralign.files import write_atomically
from teralign.progress import Bars, close_bars, show_bars

JSON_LOG_VARIABLE = "TERALIGN_JSON_LOG"
"""The environment variable that turns --json-log on."""

PROGRESS_FILE_VARIABLE = "TERALIGN_PROGRESS_FILE"
"""The environment variable that names a file for the latest line of progress."""

_LINE = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger and message, and the numbers of progress."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        entry: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        counts = getattr(record, "progress", None)
        if counts is not None:
            entry |= dataclasses.asdict(counts)
        if record.exc_info:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry)


class _LinesAboveBars(logging.Handler):
    """Writes lines above the live bars of a terminal."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            self._bars.write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


class _LatestProgress(logging.Handler):
    """Keeps the latest line of progress in a file, which a workflow reads while the command runs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Replace the line; a file that cannot be written is no reason to stop."""
        if hasattr(record, "progress"):
            with contextlib.suppress(OSError):
                write_atomically(self._path, (record.getMessage() + "\n").encode())


def set_up_log(*, verbose: bool, as_json: bool) -> None:
    """Log to standard error: in detail if `verbose`, as JSON lines if `as_json`, else with bars on a terminal."""
    close_bars()
    log = logging.getLogger("teralign")
    log.handlers[:] = [_handler(sys.stderr, as_json=as_json)]
    if latest := os.environ.get(PROGRESS_FILE_VARIABLE):
        log.addHandler(_LatestProgress(Path(latest)))
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


def _handler(stream: TextIO, *, as_json: bool) -> logging.Handler:
    handler: logging.Handler
    if not as_json and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        handler = _LinesAboveBars(show_bars(stream))
    else:
        handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if as_json else _LINE)
    return handler


def say_error(message: str, error: Exception | None = None) -> None:
    """Write the last error of a command: as a line of the log where that is JSON, else as it is.

    The traceback of `error` is written too where the log is in detail.
    """
    close_bars()
    log = logging.getLogger("teralign")
    shown = error if log.isEnabledFor(logging.DEBUG) else None
    if any(isinstance(handler.formatter, JsonLines) for handler in log.handlers):
        log.error("%s", message.strip(), exc_info=shown)
        return
    if shown is not None:
        traceback.print_exception(shown)
    click.echo(message, err=True, nl=not message.endswith("\n"))
