"""Hooks of mkdocs: adds the pages that are made from the code, and mends links that leave the folder of the pages."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402 - beside this file

ELSEWHERE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "README.md": "index.md"}
"""Pages of the site for files of the repository outside docs/."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, the changelog and the guide for contributors."""
    for uri, text in reference.pages().items():
        files.append(File.generated(config, uri, content=text))
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, ELSEWHERE[name], content=_from_root(text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files outside docs/ at their page, or show the name of the file alone."""
    folder = posixpath.dirname(page.file.src_uri)

    def mend(match: re.Match[str]) -> str:
        mark, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if not path.startswith("../"):
            return match[0]
        known = ELSEWHERE.get(path.removeprefix("../"))
        if known is None:
            return text if text.startswith("`") else f"{text} (`{path.removeprefix('../')}`)"
        return f"{mark}[{text}]({posixpath.relpath(known, folder or '.')}{anchor})"

    return _LINK.sub(mend, markdown)


def _from_root(text: str) -> str:
    """Return a page of the repository's root with its links as from docs/."""

    def mend(match: re.Match[str]) -> str:
        mark, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target:
            return match[0]
        path = target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"
        path = f"{path}README.md" if path.endswith("decisions/") else path
        return f"{mark}[{words}]({path}{anchor})"

    return _LINK.sub(mend, text)
