"""Whole runs whose processes are killed at random moments: the short form of `make torture ARGS=runs`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from schedulers.slurm import missing_for_slurm
from torture import runs
from torture.sites import site_of

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, runs.Peace]:
    """A folder with a pair, and its run in peace, with commands that only take time."""
    folder = tmp_path_factory.mktemp("torture")
    arguments = runs.pair_in(folder)
    with site_of("tasks") as site:
        return folder, runs.in_peace(folder, runs.lightened(site, folder, arguments), arguments)


@pytest.mark.parametrize(("name", "kills"), [("tasks", 3), ("slurm", 2)])
def test_runs_end_with_the_same_bytes_or_an_error_and_leave_nothing(
    name: str, kills: int, peace: tuple[Path, runs.Peace]
) -> None:
    if name == "slurm" and (missing := missing_for_slurm()) is not None:
        pytest.skip(missing)
    folder, undisturbed = peace
    with site_of(name) as site:
        lightened = runs.lightened(site, folder, undisturbed.arguments)
        rounds = list(runs.campaign(folder, lightened, undisturbed, kills=kills, seed=12, each=kills))
    assert [str(done) for done in rounds if done.faults] == []
    assert sum(len(done.kills) for done in rounds) == kills


def is_always_there(sign: Path, seconds: float) -> bool:
    """Whether a file is there each time, of millions, while it is replaced every two seconds."""
    end = time.monotonic() + seconds
    while sign.exists():
        if time.monotonic() > end:
            return True
    return False


def test_tasks_end_when_their_head_is_killed_and_a_rerun_goes_on(peace: tuple[Path, runs.Peace]) -> None:
    folder, undisturbed = peace
    with site_of("tasks") as site:
        lightened = runs.lightened(site, folder, undisturbed.arguments)
        live = runs.Live(lightened, folder / "headless", undisturbed.arguments)
        try:
            while live.blocks() < 3:
                assert live.runs(), (live.folder / "output.txt").read_text()
                time.sleep(0.2)
            assert is_always_there(min(live.folder.glob("work/dask/.head-*")), seconds=7)
            live.head.kill()
            assert live.left(runs.END_SECONDS) == []
        finally:
            live.clear()
        again = runs.Live(lightened, live.folder, (*undisturbed.arguments, "-resume"))
        try:
            assert again.end() == 0, (live.folder / "output.txt").read_text()
            assert again.left(runs.END_SECONDS) == []
        finally:
            again.clear()
    assert runs.results(live.folder) == undisturbed.digests
    assert again.locks() == []
