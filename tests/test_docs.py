"""The documentation holds together: links resolve, commands and Python calls in it exist, decisions have one form."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from teralign.cli.main import COMMANDS, load_command

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
REFERENCE = (ROOT / "docs" / "tools" / "reference.py").read_text()
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")
MADE = ROOT / "docs" / "reference"  # pages that are made when the site is built, from docs/tools/reference.py
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of `page`."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    broken = []
    for match in LINK.finditer(page.read_text()):
        path, anchor = match.groups()
        if path and "://" in path:
            continue
        target = page.parent / path if path else page
        if target.resolve().parent == MADE and f'"reference/{target.name}"' in REFERENCE:
            continue
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(match[0])
    assert broken == []


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each of our commands in the code of `page`, indented or fenced, with continuation lines."""
    text = re.sub(r"\\\n\s+", " ", page.read_text())
    fenced = "\n".join(re.findall(r"^```(?:sh|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for line in [
        *re.findall(r"^    (\S.*)$", text, re.MULTILINE),
        *filter(None, map(str.strip, fenced.splitlines())),
    ]:
        for part in re.split(r" && | -- |   +", line):
            words = part.split()
            words = words[1:] if words[0] == "teralign" else words
            if words and words[0] in COMMANDS:
                yield words


@pytest.mark.parametrize("page", [page for page in PAGES if page not in DECISIONS], ids=page_id)
def test_commands_are_used_with_options_that_they_have(page: Path) -> None:
    unknown = []
    for name, *words in command_lines(page):
        known = {option for parameter in load_command(name).params for option in parameter.opts} | {"--help"}
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        unknown += [f"{name} {option}" for option in given - known]
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in PAGES if PYTHON.search(page.read_text())], ids=page_id)
def test_python_in_the_documentation_imports_and_calls_what_exists(page: Path) -> None:
    for code in PYTHON.findall(page.read_text()):
        names: dict[str, object] = {}
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                names.update({alias.name: getattr(module, alias.name) for alias in node.names})
        for node in ast.walk(tree):
            called = (
                names.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            )
            if isinstance(node, ast.Call) and callable(called):
                keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                inspect.signature(called).bind(*node.args, **keywords)


def test_files_named_in_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().split("## Where to make a change")[1]
    names = re.findall(r"`([\w/.]+\.(?:py|nf|md|yml|json|toml|config)|[\w/]+/)`", text)
    roots = (ROOT, ROOT / "src" / "teralign")
    assert len(names) > 30
    assert [name for name in names if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decisions_have_date_title_and_sections_and_fit_on_a_page(page: Path) -> None:
    text = page.read_text()
    assert re.match(rf"# {page.name[:10]} · \S", text)
    assert len(text.splitlines()) <= 60
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"Context", "Decision"} <= set(sections) <= {"Context", "Decision", "Numbers", "Rejected"}


def test_index_of_decisions_names_each_once() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    links = [match[1] for match in LINK.finditer(index)]
    assert sorted(links) == [page.name for page in DECISIONS]
