"""The JSON Schema of pairs.json, made from the dataclasses that it holds.

    python -m teralign.stitching.schema FOLDER

writes it into a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from teralign.results import schema_of
from teralign.stitching.pairs import PairSet

SCHEMA_NAME = "pairs.schema.json"
"""The name of the file in docs/schemas."""


def main(folder: Path) -> None:
    """Write the schema into a folder."""
    (folder / SCHEMA_NAME).write_text(json.dumps(schema_of(PairSet), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
