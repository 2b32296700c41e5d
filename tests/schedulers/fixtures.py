"""Schedulers as fixtures of the tests of every room; skipped with a reason where their programs are missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fake import Fake, fake_commands
from .grid_engine import missing_for_grid_engine, running_grid_engine
from .slurm import Slurm, missing_for_slurm, running_slurm


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A Slurm of three nodes with 2 cores and 6000 MB each, for the tests of a module."""
    if (missing := missing_for_slurm()) is not None:
        pytest.skip(missing)
    with running_slurm() as running:
        yield running


@pytest.fixture(scope="module")
def grid_engine() -> Iterator[dict[str, str]]:
    """A Grid Engine, as what its commands need in their environment, for the tests of a module."""
    if (missing := missing_for_grid_engine()) is not None:
        pytest.skip(missing)
    with running_grid_engine() as environ:
        yield environ


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """Commands in place of Teralign's, and a pair to call them with."""
    return fake_commands(tmp_path_factory.mktemp("fake"))
