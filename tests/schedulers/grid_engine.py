"""A real Grid Engine of this machine alone, of Debian's packages gridengine-master, -exec and -client; as root.

There can be one on a machine: its folder is /var/lib/gridengine. It has a queue all.q of eight slots and the parallel
environment smp, and passes no environment to its jobs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .slurm import wait_until

_ROOT = Path("/var/lib/gridengine")
_COMMON = _ROOT / "default" / "common"
_PROGRAMS = ("sge_qmaster", "sge_execd", "qsub", "qstat", "qconf")
_ENVIRON = {"SGE_ROOT": str(_ROOT), "SGE_CELL": "default"}
_START_SECONDS = 120.0

_SMP = """\
pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""

_QUEUE = {
    "qname": "all.q", "hostlist": "@allhosts", "seq_no": "0", "load_thresholds": "NONE", "suspend_thresholds": "NONE",
    "nsuspend": "1", "suspend_interval": "00:05:00", "priority": "0", "min_cpu_interval": "00:05:00",
    "processors": "UNDEFINED", "qtype": "BATCH INTERACTIVE", "pe_list": "smp", "rerun": "FALSE", "slots": "8",
    "tmpdir": "/tmp", "shell": "/bin/bash", "shell_start_mode": "unix_behavior", "notify": "00:00:60",
    "initial_state": "default",
    **dict.fromkeys(("ckpt_list", "prolog", "epilog", "starter_method", "suspend_method", "resume_method",
                     "terminate_method", "owner_list", "user_lists", "xuser_lists", "subordinate_list",
                     "complex_values", "projects", "xprojects", "calendar"), "NONE"),
    **{f"{kind}_{name}": "INFINITY" for name in ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
       for kind in ("s", "h")},
}  # fmt: skip


def missing_for_grid_engine() -> str | None:
    """Return why no Grid Engine can be started here, or None."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return (
            f"no Grid Engine here: {', '.join(missing)} missing (gridengine-master gridengine-exec gridengine-client)"
        )
    if os.geteuid() != 0:
        return "Grid Engine is started as root only"
    return "a Grid Engine runs here already" if _answers() else None


@contextlib.contextmanager
def running_grid_engine() -> Iterator[dict[str, str]]:
    """Run Grid Engine until the block ends; yields what its commands need in their environment."""
    if (missing := missing_for_grid_engine()) is not None:
        raise RuntimeError(missing)
    host = socket.gethostname().split(".")[0]
    kept = {
        name: (_COMMON / name).read_text() for name in ("act_qmaster", "host_aliases") if (_COMMON / name).exists()
    }
    (_COMMON / "act_qmaster").write_text(f"{host}\n")
    (_COMMON / "host_aliases").write_text(
        f"{host} localhost\n"
    )  # the name resolves to 127.0.0.1, and that to localhost
    folder = Path(tempfile.mkdtemp(prefix="sge."))
    folder.chmod(0o755)
    try:
        _call("sge_qmaster")
        wait_until(_answers, _START_SECONDS)
        _configure(folder, host)
        _call("sge_execd")
        wait_until(lambda: " lx-amd64 " in _call("qhost"), _START_SECONDS)
        yield _ENVIRON
    finally:
        for command in (("qdel", "-f", "-u", "*"), ("qconf", "-ke", "all"), ("qconf", "-km")):
            _call(*command)
        wait_until(lambda: not _answers(), 60)
        for name, text in kept.items():
            (_COMMON / name).write_text(text)
        shutil.rmtree(folder)


def _configure(folder: Path, host: str) -> None:
    """Let root have jobs, look for jobs every two seconds, and make the queue, where it is not there yet."""
    for option in ("-am root", f"-ah {host}", f"-as {host}"):
        _as_admin(f"qconf {option}")
    (folder / "hosts").write_text(f"group_name @allhosts\nhostlist {host}\n")
    (folder / "smp").write_text(_SMP)
    _as_admin(f"qconf -Ahgrp {folder}/hosts")
    _as_admin(f"qconf -Ap {folder}/smp")
    _change(folder / "global", ["-sconf"], ["-Mconf"], {"min_uid": "0", "min_gid": "0"})
    often = {"schedule_interval": "0:0:2", "flush_submit_sec": "1", "flush_finish_sec": "1"}
    _change(folder / "schedule", ["-ssconf"], ["-Msconf"], often | {"job_load_adjustments": "NONE"})
    (folder / "all.q").write_text("".join(f"{name} {value}\n" for name, value in _QUEUE.items()))
    if "all.q" not in _call("qconf", "-sql").split():
        _call("qconf", "-Aq", str(folder / "all.q"))


def _change(path: Path, show: list[str], store: list[str], values: dict[str, str]) -> None:
    lines = []
    for line in _call("qconf", *show).splitlines():
        name = line.split(maxsplit=1)[0] if line.strip() else ""
        lines.append(f"{name} {values[name]}" if name in values else line)
    path.write_text("\n".join(line for line in lines if not line.startswith("#")) + "\n")
    _call("qconf", *store, str(path))


def _answers() -> bool:
    done = subprocess.run(
        [shutil.which("qconf", path=_path()) or "qconf", "-sh"], env=_environ(), capture_output=True
    )
    return done.returncode == 0


def _as_admin(command: str) -> None:
    setting = " ".join(f"{name}={value}" for name, value in _ENVIRON.items())
    subprocess.run(["su", "sgeadmin", "-s", "/bin/bash", "-c", f"{setting} {command}"], capture_output=True)


def _call(name: str, *arguments: str) -> str:
    with tempfile.TemporaryFile("w+") as output:  # no pipe, which a daemon would keep open
        program = shutil.which(name, path=_path()) or name
        subprocess.run([program, *arguments], env=_environ(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        output.seek(0)
        return output.read()


def _environ() -> dict[str, str]:
    return os.environ | _ENVIRON


def _path() -> str:
    return f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
