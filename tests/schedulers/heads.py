"""The head of a run as a job, by the scripts of configs/batch."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from nextflow.runs import ROOT, Run, environment, read_trace

from .fake import Fake
from .test_scenarios import QUICK, SIZES, SMALL

_PARTS = ("assets", "bin", "configs", "modules", "subworkflows", "main.nf", "nextflow.config", "nextflow_schema.json")


class Head:
    """A checkout whose scripts are submitted there, and the options of their runs."""

    def __init__(self, folder: Path, fake: Fake, profile: str, environ: dict[str, str], blocks: int = 8) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in _PARTS:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.folder / name)
        if (ROOT / ".nextflow-dist").exists():
            (self.folder / ".nextflow-dist").symlink_to(ROOT / ".nextflow-dist")
        settings = ["-profile", profile, "-c", str(QUICK), "-with-trace", "trace.txt"]
        self.options = [*settings, *fake.pair, *SIZES, *SMALL]
        self.environ = environment() | fake.environ(blocks=blocks) | environ

    def call(self, *command: str, **environ: str) -> str:
        """Run a command of the scheduler in the checkout."""
        environ = self.environ | environ
        with (self.folder / environ.pop("INPUT", os.devnull)).open() as text:
            done = subprocess.run(command, cwd=self.folder, env=environ, stdin=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log(self) -> str:
        """What the jobs of the head have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("teralign[-.]*")))

    def run(self) -> Run:
        """What the last run left, after its end."""
        return Run(self.folder, 0, self.log(), read_trace(self.folder / "trace.txt"))
