"""All errors for users, each with its exit code.

A message is one sentence: what is wrong, where (URI, block, option) and what to do next.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator

_DETAIL = 200  # characters of the text of another error
_LONGEST = 1500  # characters of a message
_NO_TEXT = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of characters that break a line, or that a terminal obeys


class TeralignError(Exception):
    """The root of all errors that Teralign raises on purpose; a command exits with `exit_code`."""

    exit_code = 1


class InputError(TeralignError, ValueError):
    """A request that cannot be fulfilled: an option, a path or a configuration key is wrong."""

    exit_code = 2


class DataError(TeralignError):
    """A failure to read or write stored data: corrupt chunks, a full disk, no permission."""

    exit_code = 3


class AlignmentError(TeralignError):
    """A failed alignment: no usable start, or too many failed blocks."""

    exit_code = 4


class ClusterError(TeralignError):
    """A Dask cluster that cannot be reached, or was lost."""

    exit_code = 5


class GateError(TeralignError):
    """A result that is written, but misses a limit that the caller set, such as --fail-on or --max-error-um."""

    exit_code = 6


def as_line(message: str) -> str:
    """Return a message as one line that any terminal shows, without the middle of what is very long.

    It may hold texts of users and of files, with anything in them.
    """
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in _NO_TEXT else c for c in message)


@contextlib.contextmanager
def understanding(place: object, what: str = "metadata") -> Iterator[None]:
    """Turn the errors of a reader that meets malformed content into an InputError: files may hold anything.

    `place` names the file in the message, `what` the content. Errors of Teralign and of the system pass.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        detail = " ".join(str(error).split())[:_DETAIL] or type(error).__name__
        raise InputError(f"{place} has malformed {what} ({detail}); repair or replace it.") from error
