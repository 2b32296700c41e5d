"""Docstrings, comments, help and messages are plain technical English that is read once."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# A docstring begins with an imperative or a noun.
OPENING = re.compile(r"(What|Whose|That of|Those of|How|Where|Who|As|Likewise)\b")
# Forms that must be read twice; the plain ones are "lacks", "not given", "not stored", "predicted", "cannot".
FORBIDDEN = re.compile(
    r"\b(ha(s|ve) not (a|an|the|its|enough|what)\b|(is|are) none that|nobody|anybody|of which nothing"
    r"|foretold|foretells|unsaid|whoever)\b",
    re.IGNORECASE,
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_id(path: Path) -> str:
    return str(path.relative_to(ROOT / "src" / "teralign"))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, and of each string that documents a constant or a field."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED):
            for item in node.body:
                if (
                    isinstance(item, ast.Expr)
                    and isinstance(item.value, ast.Constant)
                    and isinstance(item.value.value, str)
                ):
                    yield item.lineno, item.value.value


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string and comment, so docstrings, help and messages too."""
    source = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", SOURCES, ids=source_id)
def test_docstrings_begin_with_an_imperative_or_a_noun(path: Path) -> None:
    begin = [(line, text) for line, text in docstrings(ast.parse(path.read_text())) if OPENING.match(text.strip())]
    assert begin == []


@pytest.mark.parametrize("path", SOURCES, ids=source_id)
def test_texts_have_no_form_that_must_be_read_twice(path: Path) -> None:
    found = [(line, match[0], text.strip()) for line, text in texts(path) if (match := FORBIDDEN.search(text))]
    assert found == []
