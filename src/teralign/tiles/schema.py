"""The JSON Schema of tiles.json, made from the dataclasses that it holds.

    python -m teralign.tiles.schema FOLDER

writes it into a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from teralign.results import schema_of
from teralign.tiles.model import TileSet

TILE_SCHEMAS = {"tiles.schema.json": TileSet}
"""The schemas by the names of their files in docs/schemas."""


def main(folder: Path) -> None:
    """Write all schemas into a folder."""
    for name, kind in TILE_SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
