"""The JSON Schemas of pairs.json and refinement.json, made from the dataclasses that they hold.

    python -m teralign.stitching.schema FOLDER

writes them into a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from teralign.results import schema_of
from teralign.stitching.pairs import PairSet
from teralign.stitching.refinement import Refinement

STITCHING_SCHEMAS: dict[str, type] = {"pairs.schema.json": PairSet, "refinement.schema.json": Refinement}
"""The schemas by the names of their files in docs/schemas."""


def main(folder: Path) -> None:
    """Write all schemas into a folder."""
    for name, kind in STITCHING_SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
