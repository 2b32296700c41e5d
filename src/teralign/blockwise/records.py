"""Records: what became of each block, as one small JSON file a block."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter


class BlockState(enum.StrEnum):
    """What became of a block."""

    OK = "ok"
    """It has its result."""
    KEPT = "kept"
    """It keeps its start: nothing that was found fits better."""
    MASKED = "masked"
    """A mask leaves nothing in it."""
    EMPTY = "empty"
    """Its voxels are all alike."""
    OUTSIDE = "outside"
    """It lies outside the other volume."""
    OUTLIER = "outlier"
    """Its result disagrees with its neighbours' and is not used."""
    FAILED = "failed"
    """It raised an error, or its worker died, as often as it was tried."""


@dataclass(frozen=True, kw_only=True)
class BlockRecord:
    """What became of one block; a function over blocks returns one, or a subclass with its own findings.

    The run fills in the block's name, `seconds`, `worker` (host:process) and `attempts`; `error` and `traceback` are
    those of a block that failed.
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
