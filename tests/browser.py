"""A headless Chromium for tests and pictures of pages."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

# WebGL without a graphics card, for Neuroglancer; other pages do without: it rounds their colours otherwise.
_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_PATIENCE = 90.0  # seconds; machines of tests are slow, and draw in software


@dataclass
class Visit:
    """A page that is open, with what its console said, the errors among it, and all that it asked the network for."""

    page: Any
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true. Raises TimeoutError of playwright after a while."""
        self.page.wait_for_function(expression, timeout=_PATIENCE * 1000)


@contextlib.contextmanager
def started(*, webgl: bool = False) -> Iterator[Any]:
    """Start the browser; there must be one, and playwright (extra `test`)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", *(_WEBGL if webgl else ())]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Any, address: str, *, size: tuple[int, int] = (1280, 900), script: bool = True, dark: bool = False
) -> Iterator[Visit]:
    """Open a page as a person does, in a window of `size` (width, height) pixels."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=script,
        color_scheme="dark" if dark else "light",
    )
    visit = Visit(page)

    def hear(message: Any) -> None:
        visit.console.append(message.text)
        if message.type == "error":
            visit.errors.append(message.text)

    def fail(error: Any) -> None:
        visit.console.append(str(error))
        visit.errors.append(str(error))

    page.on("console", hear)
    page.on("pageerror", fail)
    page.on("request", lambda request: visit.requests.append(request.url))
    try:
        page.goto(address)
        yield visit
    finally:
        page.close()
