"""Make the pictures of the documentation: run the tutorial, photograph its report and the site in Chromium.

    python docs/tools/screenshots.py [--work FOLDER]

Pictures go to docs/images. Needs Chromium (or Chrome) on PATH, and for the site the extra `docs`. With --work the
tutorial's files are kept there, and those that are there already are used again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from teralign.provenance import INPUT_NAMES_VARIABLE

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests")]

import blocks  # noqa: E402 - beside this file

import browser  # noqa: E402 - that of the tests

MAX_BYTES = 300_000
_DRAWING_SECONDS = 5.0  # pages draw their pictures after they are loaded


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="a folder to keep the tutorial's files in")
    work = parser.parse_args().work
    if browser.CHROMIUM is None:
        sys.exit("screenshots: no Chromium on PATH; install it (apt install chromium).")
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_all(folder.absolute())


def make_all(folder: Path) -> None:
    """Run the tutorial in `folder` unless its report is there, then make each picture."""
    # the report names the volumes by these names, and not by the folder of this machine
    os.environ[INPUT_NAMES_VARIABLE] = json.dumps({str(folder): "~/data"})
    report = folder / "report" / "index.html"
    if not report.exists():
        blocks.run(ROOT / "docs" / "tutorial.md", folder)
    IMAGES.mkdir(exist_ok=True)
    photograph(report.as_uri(), IMAGES / "report.png", (1280, 1200), "document.readyState == 'complete'")
    keep(folder / "report" / "overlay.png", IMAGES / "tutorial-overlay.png", width=1200)
    with viewed(folder) as link:
        photograph(link, IMAGES / "viewer.png", (1280, 900), "window.viewer && window.viewer.isReady()")
    site = folder / "site"
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--no-strict", "--site-dir", str(site)]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    with served(site) as address:
        photograph(f"{address}/index.html", IMAGES / "site.png", (1280, 960), "document.readyState == 'complete'")


@contextlib.contextmanager
def viewed(folder: Path) -> Iterator[str]:
    """Serve the tutorial's alignment to Neuroglancer within the context; yields the link."""
    volumes = ["--fixed", "day1.tif", "--moving", "day2.tif", "--transform", "transform.zarr"]
    command = [sys.executable, "-m", "teralign", "view-alignment", *volumes, "--no-browser"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["link"]
        process.terminate()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone within the context; the site has its search only then."""
    handler = functools.partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def photograph(address: str, output: Path, size: tuple[int, int], ready: str) -> None:
    """Write what a browser window of `size` shows of a page once the expression `ready` is true."""
    with (
        tempfile.TemporaryDirectory() as folder,
        browser.started(webgl=True) as chromium,
        browser.opened(chromium, address, size=size) as visit,
    ):
        visit.wait_for(ready)
        time.sleep(_DRAWING_SECONDS)
        shot = Path(folder) / "shot.png"
        visit.page.screenshot(path=shot)
        keep(shot, output)


def keep(source: Path, output: Path, *, width: int | None = None) -> None:
    """Store a picture with as many colours as its size in bytes allows, at most `width` pixels wide."""
    picture = Image.open(source).convert("RGB")
    if width and picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    for colours in (None, 256, 128, 64, 32):
        made = picture if colours is None else picture.quantize(colours)
        made.save(output, optimize=True)
        if output.stat().st_size <= MAX_BYTES:
            break
    print(f"{output.relative_to(ROOT)}: {picture.width} × {picture.height}, {output.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
