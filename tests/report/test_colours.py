"""Colours of the page are told apart by people with each kind of colour blindness, and texts are dark enough."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

TEMPLATES = Path(__file__).parents[2] / "src" / "teralign" / "report" / "templates"

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(rgb) -> np.ndarray:
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb, blindness: str) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(np.array(BLINDNESS[blindness]) @ linear(rgb), 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def hexed(text: str) -> list[int]:
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


PALETTES = re.findall(r'"([\w-]+)": \{ first: \[(.*?)\], second: \[(.*?)\]', (TEMPLATES / "viewer.js").read_text())


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("palette", PALETTES, ids=[name for name, *_ in PALETTES])
def test_fixed_moving_and_both_differ_for_everyone(palette, blindness):
    first, second = ([int(v) for v in part.split(",")] for part in palette[1:])
    assert (np.array(first) + second == 255).all(), "equal brightness is white"
    for a, b in combinations((first, second, (255, 255, 255)), 2):
        assert np.linalg.norm(lab(a, blindness) - lab(b, blindness)) > 25


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_have_contrast(scheme):
    """At least 4.5 to 1, as WCAG asks."""
    style = (TEMPLATES / "style.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media (prefers-color-scheme: dark)")[scheme]))

    def luminance(name: str) -> float:
        return float(TO_XYZ[1] @ linear(hexed(colours[name])))

    papers = dict.fromkeys(("ink", "quiet", "link", "good", "doubtful", "bad", "unknown"), "paper")
    pairs = [*papers.items(), ("quiet", "panel"), ("ink", "panel")]
    pairs += [(name, f"{name}-paper") for name in ("good", "doubtful", "bad", "unknown")]
    for text, paper in pairs:
        dark, light = sorted((luminance(text), luminance(paper)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, paper)
