import json
from pathlib import Path

import pytest

from teralign.report.schema import SCHEMAS
from teralign.results import schema_of
from teralign.tasks.index_reports import RunInputs, index_reports

DOCS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_of_the_documentation_are_those_of_the_code(name):
    """If not: python -m teralign.report.schema docs/schemas."""
    assert json.loads((DOCS / name).read_text()) == json.loads(json.dumps(schema_of(SCHEMAS[name])))


def test_files_follow_their_schemas(reported, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    index = index_reports(
        reported.folder / "results", output=tmp_path, inputs=RunInputs(reported.folder / "trace.txt")
    )
    for path, name in ((reported.result.json, "report.schema.json"), (index.json, "index.schema.json")):
        checker = jsonschema.Draft202012Validator(json.loads((DOCS / name).read_text()))
        content = json.loads(path.read_text())
        checker.validate(content)
        assert list(checker.iter_errors({**content, "format": 2}))
        assert list(checker.iter_errors({key: value for key, value in content.items() if key != "run"}))
