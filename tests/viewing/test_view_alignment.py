"""The command, as a person runs it: one link, which a real browser opens, until it is told to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from columns import write_columns
from PIL import Image

from browser import Visit, opened

WEBGL = True  # Neuroglancer draws with it
HEADER = 50  # pixels at the top of the page, which hold names of layers in their colours
READY = "window.viewer?.layerManager?.managedLayers.length == 5 && window.viewer.isReady()"


@contextmanager
def running(*arguments: object) -> Iterator[dict[str, Any]]:
    """The command while it serves, by what it printed; Ctrl-C ends it well."""
    command = [sys.executable, "-m", "teralign", "view-alignment", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGINT)
        rest, log = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, ""), log


@pytest.fixture
def columns(tmp_path):
    return write_columns(tmp_path)


def colours(visit: Visit, path: Any, wanted: Callable[..., bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a picture below the header is red, green and blue, as soon as they are as `wanted`, or after a while.

    The viewer calls itself ready before what it has is drawn.
    """
    end = time.monotonic() + 60
    while True:
        visit.page.screenshot(path=path)
        red, green, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB")).astype(int), 2, 0)[:, HEADER:]
        found = red > 150, green > 150, blue > 150
        if wanted(*found) or time.monotonic() > end:
            return found
        time.sleep(0.5)


def drawn_alike(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> bool:
    lit, white = red | green | blue, red & green & blue
    points = (green & blue & ~red) | (red & green & ~blue)  # on the first column
    return bool(lit.sum() > 5000 and white.sum() > 0.9 * lit.sum() and points.sum() > 10)


def drawn_apart(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> bool:
    lit = (red | green | blue).sum()
    return bool(lit > 5000 and (red & green & blue).sum() < 0.5 * lit)


def test_a_browser_draws_the_aligned_volume_on_the_fixed_one(columns, tmp_path, browser):
    with (
        running(
            *("--fixed", columns / "fixed.zarr", "--moving", columns / "moving.zarr"),
            *("--transform", columns / "affine.mat"),
            *("--points", columns / "points.csv", "--moving-points", columns / "moved.csv"),
        ) as printed,
        opened(browser, printed["link"], size=(1200, 800)) as visit,
    ):
        assert printed["layers"] == ["fixed", "aligned", "moving", "points", "moved (aligned)"]
        visit.wait_for(READY)
        visit.page.evaluate("window.viewer.layout.restoreState('xy')")
        visit.page.evaluate("() => {window.viewer.showDefaultAnnotations.value = false}")
        visit.wait_for("window.viewer.isReady()")
        assert drawn_alike(*colours(visit, tmp_path / "aligned.png", drawn_alike))
        for layer, visible in (("aligned", "false"), ("moving", "true")):
            visit.page.evaluate(f"window.viewer.layerManager.getLayerByName('{layer}').setVisible({visible})")
        visit.wait_for("window.viewer.isReady()")
        assert drawn_apart(*colours(visit, tmp_path / "moving.png", drawn_apart))
        own = printed["link"].partition("/v/")[0]
        outside = [url for url in visit.requests if not url.startswith((own, "data:", "blob:"))]
        assert [url for url in outside if not url.endswith("/favicon.ico")] == []
        assert [text for text in visit.errors if "favicon" not in text and "404" not in text] == []


def test_the_command_serves_until_it_is_told_to_end(case):
    with running("--fixed", case.fixed, "--moving", case.moving, "--transform", case.transform) as printed:
        assert printed["link"].startswith("http://127.0.0.1:")
        assert printed["layers"][-1] == "error (µm)"  # that lies beside the map
        with urlopen(printed["link"]) as page:
            assert b"neuroglancer" in page.read()


def test_bad_input_is_one_sentence(case):
    command = [sys.executable, "-m", "teralign", "view-alignment", "--fixed", str(case.fixed)]
    for options, sentence in (
        (["--moving", "missing.zarr", "--transform", str(case.transform)], "missing.zarr"),
        (["--moving", str(case.moving), "--transform", "missing.mat"], "there is no transform"),
        (["--moving", str(case.moving), "--transform", str(case.transform), "--moving-channel", "2"], "channel"),
    ):
        done = subprocess.run([*command, *options, "--no-browser"], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)
        assert sentence in done.stderr
