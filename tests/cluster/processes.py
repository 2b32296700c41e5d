"""Start our commands as a user would, and find whatever they leave running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

MARK = "TERALIGN_TEST_MARK"
BIN = Path(sys.executable).parent


class Processes:
    """Commands, and all processes that come of them, known by a variable in their environment."""

    def __init__(self, folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *command: object, **environment: str) -> subprocess.Popen[str]:
        """Start a command; its standard output can be read, its log is in `self.log`."""
        first, *rest = map(str, command)
        path = BIN / first
        modules = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        variables = {**os.environ, "PYTHONPATH": modules, MARK: self._mark, **environment}
        with (self._folder / "log").open("a") as log:
            process = subprocess.Popen(
                [str(path) if path.exists() else first, *rest],
                env=variables,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def alive(self) -> list[psutil.Process]:
        """All that runs, or has not been reaped, apart from multiprocessing's own resource tracker."""
        return [p for p in psutil.process_iter() if self._is_ours(p)]

    def workers(self) -> list[psutil.Process]:
        """Dask's worker processes."""
        return [p for p in self.alive() if "spawn_main" in " ".join(_command_line(p))]

    def clear(self) -> None:
        """End everything, after a test that failed too."""
        for process in self.alive():
            process.kill()
        for process in self._started:
            process.wait(10)
            process.stdout.close()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def _command_line(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return as soon as the condition holds; an error when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.05)
