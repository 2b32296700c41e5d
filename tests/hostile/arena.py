"""A process of its own in which commands meet hostile input: its memory is bounded, its time is watched.

    python tests/hostile/arena.py

It reads one request a line (JSON: the command, its arguments and the folder to work in) and answers with one line. A
command that hangs or kills the process costs this process alone: `Arena` starts another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SECONDS = 30.0
"""Of computing for one command; nearly all take less than 0.1 s."""

_PATIENCE = 500.0  # for an answer: a machine may be busy with other things

MEGABYTES = 400
"""What a command may need beyond what the process has already; the good volumes are below 1 MB."""

_HARD_LIMIT = 8 << 30  # so that a bomb ends this process rather than the machine
_LARGEST_FILE = 256 << 20


@dataclass(frozen=True)
class Outcome:
    """What came of a command, the seconds that it computed, and the memory that it took beyond the process's.

    `code` is None where the process was lost, or gave no answer.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    megabytes: float

    @property
    def sentence(self) -> str:
        """The error that the command ended with, "" for none."""
        return next((line for line in self.stderr.splitlines() if line.startswith("Error: ")), "")

    def fault(self, *, codes: Sequence[int] = (0, 2)) -> str:
        """What is wrong with the way in which the command ended, "" if nothing is."""
        if self.code is None:
            return f"the process was lost: {self.stderr[-300:]}"
        if "Traceback" in self.stderr + self.stdout:
            return f"a traceback: {self.stderr[-500:]}"
        if self.code not in codes:
            return f"exit {self.code}: {self.stderr[-500:]}"
        if self.code and not (self.sentence.endswith((".", "?")) and len(self.sentence) < 2000):
            return f"no clear sentence: {self.stderr[-500:]!r}"
        if self.seconds > SECONDS:
            return f"it took {self.seconds:.1f} s"
        if self.megabytes > MEGABYTES:
            return f"it took {self.megabytes:.0f} MB"
        return ""


class Arena:
    """The process, started when it is first needed and again after each loss."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread()

    def run(self, command: str, arguments: Sequence[str], folder: Path) -> Outcome:
        """Run a command in a folder."""
        request = {"command": command, "arguments": list(arguments), "folder": str(folder)}
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        try:
            answer = self._answers.get(timeout=_PATIENCE)
        except queue.Empty:
            answer = ""
        if not answer:
            self.close()
            return Outcome(None, "", self._log.read_text(errors="replace")[-2000:], 0.0, 0.0)
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # waits, and closes the pipes
                self._reader.join()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            with self._log.open("w") as log:
                self._process = subprocess.Popen(
                    [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
                )
            self._answers = queue.Queue()
            assert self._process.stdout is not None
            self._reader = threading.Thread(target=_pass_on, args=(self._process.stdout, self._answers), daemon=True)
            self._reader.start()
        return self._process


@contextlib.contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """An arena whose log lies in a folder."""
    made = Arena(folder / "arena.log")
    try:
        yield made
    finally:
        made.close()


def seen(folder: Path, *, without: Path | None = None) -> Mapping[str, bytes]:
    """All that lies in a folder by its path, links as what they point to, but for what lies in `without`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if without is not None and path.is_relative_to(without):
            continue
        state = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b"/"
        found[os.fsdecode(path.relative_to(folder))] = state
    return found


def _pass_on(answers: IO[str], to: queue.Queue[str]) -> None:
    for line in answers:
        to.put(line)
    to.put("")


def _resident() -> tuple[float, float]:
    """Memory of this process now and at its peak, MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
    return now, peak


def _answered(command: str, arguments: Sequence[str], folder: str) -> Outcome:
    from teralign.cli.main import load_command, run

    os.chdir(folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins now
    before, _ = _resident()
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(load_command(command), arguments, name=command)
    seconds = time.process_time() - started
    _, peak = _resident()
    return Outcome(code, out.getvalue()[-20_000:], err.getvalue()[-20_000:], seconds, peak - before)


def _serve() -> None:
    """Answer requests, on what was standard output; libraries that print there print into the log."""
    resource.setrlimit(resource.RLIMIT_DATA, (_HARD_LIMIT, _HARD_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(dataclasses.asdict(_answered(**json.loads(line)))), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
