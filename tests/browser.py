"""A headless Chromium for tests of pages, which are skipped where there is none."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Visit:
    """A page that is open, with all that its console said and all that it asked the network for."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def started() -> Iterator[Any]:
    """Start a browser; the test is skipped without playwright or Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright (extra `test`) drives the browser")
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium on PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Any, path: Path, *, width: int = 1280, script: bool = True, dark: bool = False
) -> Iterator[Visit]:
    """Open a file as a person does, from disk."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        java_script_enabled=script,
        color_scheme="dark" if dark else "light",
    )
    visit = Visit(page)
    page.on("console", lambda message: visit.console.append(message.text))
    page.on("pageerror", lambda error: visit.console.append(str(error)))
    page.on("request", lambda request: visit.requests.append(request.url))
    try:
        page.goto(path.absolute().as_uri())
        yield visit
    finally:
        page.close()
