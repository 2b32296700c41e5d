"""The page of a pair in a headless Chromium: it is looked at as a person looks."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from browser import opened

XY = "#viewer canvas[data-plane=xy]"


@pytest.fixture(scope="module")
def visit(browser, reported):
    with opened(browser, reported.page.as_uri()) as visit:
        visit.page.wait_for_selector("#viewer[data-painted]")
        visit.page.wait_for_selector("#zoom[data-painted]")
        visit.page.wait_for_selector("#maps-viewer[data-painted]")
        yield visit
        assert visit.console == []
        assert visit.requests and all(url.startswith(("file://", "data:")) for url in visit.requests)
        assert sum(url.startswith("file://") for url in visit.requests) == 1, "one file, and nothing else"


def painted(visit, selector="#viewer"):
    """Wait until a change is on the screen: two frames."""
    visit.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    visit.page.wait_for_timeout(120)


def pixels(visit, selector=XY) -> np.ndarray:
    """What a canvas shows (rows, columns, 3)."""
    address = visit.page.locator(selector).evaluate("(canvas) => canvas.toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
        return np.asarray(picture.convert("RGB"), np.int32)


def select(visit, name, value, root="#viewer"):
    visit.page.select_option(f"{root} select[name={name}]", value)
    painted(visit)


def slide(visit, name, value, root="#viewer"):
    visit.page.locator(f"{root} input[name={name}]").fill(str(value))
    painted(visit)


@pytest.fixture(autouse=True)
def reset(request):
    yield
    if "visit" in request.fixturenames:
        visit = request.getfixturevalue("visit")
        select(visit, "mode", "overlay")
        select(visit, "state", "after")
        select(visit, "palette", "magenta-green")


def test_the_verdict_stands_first(visit, reported):
    first = visit.page.locator("header .verdict")
    assert first.locator(".word").inner_text().lower() == reported.result.verdict
    assert reported.result.assessment.sentence in first.inner_text()
    assert visit.page.title().lower().startswith(reported.result.verdict)


def test_a_small_pair_makes_a_small_file(reported):
    assert reported.page.stat().st_size < 5_000_000


def test_agreement_is_white_after_the_alignment_and_coloured_before(visit):
    def colour() -> float:
        shown = pixels(visit)
        return float(np.abs(shown[..., 0] - shown[..., 1]).mean() / shown.mean())

    after = colour()
    select(visit, "state", "before")
    assert colour() > 1.5 * after


def test_the_slider_goes_through_the_slices(visit):
    before, where = pixels(visit), visit.page.locator("#viewer .plane-xy output")
    text = where.inner_text()
    slide(visit, "slice-xy", 2)
    assert re.fullmatch(r"z \d+\.\d+ µm", where.inner_text()) and where.inner_text() != text
    assert (pixels(visit) != before).mean() > 0.2
    visit.page.focus(XY)
    visit.page.keyboard.press("ArrowUp")
    painted(visit)
    assert visit.page.locator("#viewer input[name=slice-xy]").input_value() == "3"


def test_a_click_moves_the_other_planes_there(visit):
    x, y = (visit.page.locator(f"#viewer .plane-{plane} output") for plane in ("zy", "xz"))
    plane = visit.page.locator(XY)
    plane.scroll_into_view_if_needed()  # a click outside the window meets nothing
    box = plane.bounding_box()
    plane.click(position={"x": 0.1 * box["width"], "y": 0.9 * box["height"]})
    painted(visit)
    left, low = (float(where.inner_text().split()[1]) for where in (x, y))
    plane.click(position={"x": 0.9 * box["width"], "y": 0.1 * box["height"]})
    painted(visit)
    right, high = (float(where.inner_text().split()[1]) for where in (x, y))
    assert left < right and high < low


def test_the_wipe_shows_fixed_left_and_moving_right_of_its_line(visit):
    visit.page.uncheck("#viewer input[name=lines]")
    select(visit, "mode", "single")
    fixed = pixels(visit)
    visit.page.click("#viewer button[name=swap]")
    painted(visit)
    moving = pixels(visit)
    select(visit, "mode", "wipe")
    slide(visit, "wipe", 0.25)
    shown, edge = pixels(visit), fixed.shape[1] // 4
    rows = slice(0, int(0.8 * len(shown)))  # above the scale bar
    assert (shown[rows, : edge - 16] == fixed[rows, : edge - 16]).all()
    assert (shown[rows, edge + 16 :] == moving[rows, edge + 16 :]).all()
    box = visit.page.locator(XY).bounding_box()
    visit.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 50)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 50, steps=4)
    visit.page.mouse.up()
    painted(visit)
    assert float(visit.page.locator("#viewer input[name=wipe]").input_value()) == pytest.approx(0.75, abs=0.02)
    assert (pixels(visit)[rows, : 3 * edge - 24] == fixed[rows, : 3 * edge - 24]).mean() > 0.99
    visit.page.check("#viewer input[name=lines]")


def test_the_checkerboard_has_squares_of_both(visit):
    visit.page.uncheck("#viewer input[name=lines]")
    select(visit, "mode", "checkerboard")
    shown = pixels(visit)
    above = shown[: int(0.8 * len(shown))]  # the scale bar
    assert (above[..., 0] == above[..., 1]).all(), "in grey, so that edges can be followed"
    slide(visit, "checks", 64)
    assert (pixels(visit) != shown).any()
    visit.page.check("#viewer input[name=lines]")


def test_blinking_shows_both_in_turn_until_it_is_stopped(visit):
    button = visit.page.locator("#viewer button[name=blink]")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    legend, seen = visit.page.locator("#viewer .legend"), set()
    for _ in range(40):
        seen.add(legend.inner_text())
        visit.page.wait_for_timeout(60)
    assert any(text.startswith("The fixed volume") for text in seen)
    assert any(text.startswith("The moving volume") for text in seen)
    button.click()
    painted(visit)
    still = pixels(visit)
    visit.page.wait_for_timeout(1300)
    assert (pixels(visit) == still).all()


def test_other_colours_and_the_frames_of_blocks(visit):
    shown = pixels(visit)
    select(visit, "palette", "orange-blue")
    assert (pixels(visit) != shown).any()
    before = pixels(visit)
    visit.page.check("#viewer input[name=blocks]")
    for slice_ in range(visit.page.evaluate("() => Number(document.querySelector('[name=slice-xy]').max)") + 1):
        slide(visit, "slice-xy", slice_)
        if (pixels(visit) != before).any():
            break
    visit.page.uncheck("#viewer input[name=blocks]")


def test_the_close_views_have_the_best_the_median_and_the_worst_block(visit):
    titles = visit.page.locator("#zoom select[name=place] option").all_inner_texts()
    assert [title.split(" ")[0] for title in titles] == ["Worst", "Median", "Best"]
    before = pixels(visit, "#zoom canvas[data-plane=xz]")
    visit.page.select_option("#zoom select[name=place]", "2")
    painted(visit)
    assert pixels(visit, "#zoom canvas[data-plane=xz]").shape[2] == 3
    assert before.std() > 0


def test_maps_show_values_with_their_units(visit):
    select_map = "#maps-viewer select[name=map]"
    titles = visit.page.locator(f"{select_map} option").all_inner_texts()
    assert {
        "Verdict",
        "Margin of the match",
        "Local correlation, before",
        "Local correlation, after all steps",
        "Local displacement",
        "Volume change (Jacobian)",
        "Outcome of the local alignment",
        "Gain of the metric",
        "Mean displacement of blocks",
        "Time of blocks",
    } <= set(titles)
    canvas = visit.page.locator("#maps-viewer canvas")
    for title, value in (
        ("Local displacement", r"\d+\.\d+ µm"),
        ("Outcome of the local alignment", "ok|kept|outlier"),
    ):
        visit.page.select_option(select_map, label=title)
        painted(visit)
        canvas.hover(position={"x": 150, "y": 150})
        assert re.match(rf"{title}: (≥ )?({value}) at x ", visit.page.locator("#maps-viewer output").inner_text())
    layer = visit.page.locator("#maps-viewer input[name=layer]")
    shown = pixels(visit, "#maps-viewer canvas")
    layer.fill("0")
    painted(visit)
    assert (pixels(visit, "#maps-viewer canvas") != shown).any()


def test_everything_is_named_for_people_who_do_not_see_it(visit):
    page = visit.page
    for picture in page.locator("img").all():
        assert len(picture.get_attribute("alt")) > 30
    for canvas in page.locator("canvas").all():
        assert "plane" in canvas.get_attribute("aria-label")
    for chart in page.locator("svg").all():
        assert chart.get_attribute("aria-label").startswith("Histogram of ")
    for control in page.locator("input, select").all():
        named = control.get_attribute("aria-label") or control.evaluate("(one) => one.labels[0]?.innerText")
        assert named, control.get_attribute("name")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_the_page_fits_a_phone_and_the_dark(browser, reported, width, dark):
    with opened(browser, reported.page.as_uri(), size=(width, 900), dark=dark) as visit:
        visit.page.wait_for_selector("#maps-viewer[data-painted]")
        assert visit.page.evaluate("() => document.scrollingElement.scrollWidth") <= width
        paper = visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is not dark


def test_the_page_says_the_most_without_its_script(browser, reported):
    with opened(browser, reported.page.as_uri(), script=False) as visit:
        text = visit.page.inner_text("body")
        assert reported.result.assessment.sentence in text
        assert "needs JavaScript" in text
        assert visit.page.locator("#states + figure img").bounding_box()["width"] > 300


def test_numbers_of_every_part_are_in_the_page(visit, reported):
    text = visit.page.inner_text("main")
    assert "1 h 2 min" in text and "1.6 GB" in text, "of the trace: time, and 1.5 GiB of memory"
    assert "other" not in text.split("Time and memory")[-1].split("Origin")[0], "tasks of another pair are not here"
    assert visit.page.locator("#commands").count() == 0, "it was aligned from Python, and no command repeats that"
    assert "Landmarks" in text and "Median" in text
    assert visit.page.locator("#origin ~ details").count() == 3
