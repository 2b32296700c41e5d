"""Checks of the machine: programs, libraries, resources and folders, each with what to do where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from teralign.doctor.folders import folder_checks
from teralign.doctor.libraries import library_checks
from teralign.doctor.machine import machine_checks
from teralign.doctor.observation import Observation, Standing
from teralign.doctor.programs import program_checks

__all__ = ["Observation", "Standing", "all_observations"]


def all_observations(folder: Path) -> Iterator[Observation]:
    """Yield every check, those that all commands need first; `folder` is where results would go."""
    yield from library_checks()
    yield from machine_checks()
    yield from folder_checks(folder)
    yield from program_checks()
