"""JSON Schemas of report.json and index.json, made from the dataclasses that these files hold.

    python -m teralign.report.schema FOLDER

writes both into a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from teralign.report.contents import PairReport
from teralign.report.run_index import RunIndex
from teralign.results import FORMAT

SCHEMAS = {"report.schema.json": PairReport, "index.schema.json": RunIndex}
"""The schemas by the names of their files."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: type) -> dict[str, Any]:
    """Return the schema of documents with the content of the dataclass `kind`."""
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    head = {
        "format": {"const": FORMAT, "description": "Rises when a key changes its meaning or goes."},
        "teralign": {"type": "string", "description": "The version that wrote the file."},
    }
    schema["properties"] = head | schema["properties"]
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": _DRAFT, **schema}


def main(folder: Path) -> None:
    """Write all schemas into a folder."""
    for name, kind in SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
