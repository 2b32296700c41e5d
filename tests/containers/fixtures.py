"""The image as a fixture of the tests of every room; skipped with a reason where it cannot be built."""

from __future__ import annotations

import pytest

from .podman import Image, built_image, missing_for_image


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of the Dockerfile, built in this session as far as build/containers lacks it."""
    if (missing := missing_for_image()) is not None:
        pytest.skip(missing)
    return built_image()
