"""The documentation holds together: links resolve, and each decision has the usual form and a line in the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_resolve(page: Path) -> None:
    targets = [match[1] for match in LINK.finditer(page.read_text()) if "://" not in match[1]]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decisions_have_date_title_and_sections_and_fit_on_a_page(page: Path) -> None:
    text = page.read_text()
    assert re.match(rf"# {page.name[:10]} · \S", text)
    assert len(text.splitlines()) <= 60
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"Context", "Decision"} <= set(sections) <= {"Context", "Decision", "Numbers", "Rejected"}


def test_index_of_decisions_names_each_once() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert sorted(match[1] for match in LINK.finditer(index)) == [page.name for page in DECISIONS]
