"""JSON Schemas of report.json, of pairs and of tiles, and index.json, made from the dataclasses that they hold.

    python -m teralign.report.schema FOLDER

writes all into a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from teralign.report.contents import PairReport
from teralign.report.run_index import RunIndex
from teralign.report.tile_contents import TilesReport
from teralign.results import schema_of

SCHEMAS = {
    "report.schema.json": PairReport,
    "index.schema.json": RunIndex,
    "tiles_report.schema.json": TilesReport,
}
"""The schemas by the names of their files."""


def main(folder: Path) -> None:
    """Write all schemas into a folder."""
    for name, kind in SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
