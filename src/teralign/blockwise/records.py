"""Records: the outcome of each block, in one small JSON file per block."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter


class BlockState(enum.StrEnum):
    """The outcome of a block."""

    OK = "ok"
    """The block has its result."""
    KEPT = "kept"
    """The block keeps its start, since no result fits better."""
    MASKED = "masked"
    """A mask leaves no voxel of the block."""
    EMPTY = "empty"
    """All voxels of the block have the same value."""
    OUTSIDE = "outside"
    """The block lies outside the other volume."""
    OUTLIER = "outlier"
    """The result disagrees with the neighbours' results and is not used."""
    FAILED = "failed"
    """Each attempt raised an error, or ended with the death of its worker."""


@dataclass(frozen=True, kw_only=True)
class BlockRecord:
    """The outcome of one block; a function over blocks returns this class, or a subclass with further fields.

    The run sets the block's name, `seconds`, `worker` (host:process) and `attempts`, and `error` and `traceback` of a
    block that failed.
    """

    block: str = ""
    state: BlockState = BlockState.OK
    reason: str | None = None
    error: str | None = None
    traceback: str | None = None
    seconds: float = 0.0
    worker: str = ""
    attempts: int = 1


R = TypeVar("R", bound=BlockRecord)


def parse_record(kind: type[R], text: bytes) -> R:
    """Return the record in a JSON text. Raises ValueError when the text holds no record of this kind."""
    adapter: TypeAdapter[R] = _adapter(kind)  # type: ignore[arg-type]  # mypy: no class is hashable
    return adapter.validate_python(json.loads(text))


@cache
def _adapter(kind: type[BlockRecord]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
