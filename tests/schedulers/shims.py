"""The commands of LSF and PBS by shims (`commands/shim`), not by themselves, and what they were asked."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

COMMANDS = {"lsf": ("bsub", "bjobs", "bkill"), "pbs": ("qsub", "qstat", "qdel"), "pbspro": ("qsub", "qstat", "qdel")}


@dataclass(frozen=True)
class Shims:
    """The commands of a scheduler, what they need in their environment, and what they were asked."""

    kind: str
    folder: Path

    @classmethod
    def made(cls, kind: str, folder: Path) -> Shims:
        (folder / "shims").mkdir()
        for name in COMMANDS[kind]:
            (folder / "shims" / name).symlink_to(Path(__file__).parent / "commands" / "shim")
        (folder / "lsf.conf").write_text("LSF_UNIT_FOR_LIMITS=MB\n")
        return cls(kind, folder)

    def environ(self, path: str) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'shims'}{os.pathsep}{path}",
            "SHIM_KIND": self.kind,
            "SHIM_RECORD": str(self.folder / "record"),
            "LSF_ENVDIR": str(self.folder),
        }

    def calls(self, command: str) -> list[dict]:
        """The calls of a command."""
        path = self.folder / "record"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row for row in rows if row["command"] == command]

    def jobs(self, process: str) -> list[dict]:
        """The jobs of a process, in the order of their submission."""
        found = [row["job"] for row in self.calls(COMMANDS[self.kind][0]) if "job" in row]
        return [job for job in found if process in Path(job["output"]).with_name(".command.run").read_text()]
