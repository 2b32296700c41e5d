"""A real Slurm of virtual nodes on this machine, on loopback, with the memory of jobs limited by cgroups.

Debian's packages slurmctld, slurmd, slurm-client and munge have all that it takes. Each `running_slurm` has a folder,
ports and nodes of its own, so that any number run side by side, and is gone with all its jobs when the block ends:

    with running_slurm(nodes=3) as slurm:
        subprocess.run(["sbatch", ...], env=os.environ | slurm.environ)

Partition `normal` is the default. Jobs of partition `spot` are cancelled when a job of `normal` wants their place.
Nodes are virtual: they share the machine's memory, cores and files, and their cores may be more than the machine's.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol", "munged")
_CGROUPS = Path("/sys/fs/cgroup")
_START_SECONDS = 60.0
_END_SECONDS = 60.0

_SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{tasks}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait={kill_wait}
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
EnforcePartLimits=ALL
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd.%n
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs
DefMemPerCPU=500
SchedulerParameters=sched_interval=2,batch_sched_delay=1,sched_min_interval=200000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""

_MEMORY_LIMITS = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainCores=no
"""


def missing_for_slurm() -> str | None:
    """Return why no Slurm can be started here, or None."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    return f"no Slurm here: {', '.join(missing)} missing (slurmctld slurmd slurm-client munge)" if missing else None


def limits_memory() -> bool:
    """Return whether jobs are killed that take more memory than they asked for: as root, with cgroups v1."""
    return os.geteuid() == 0 and os.access(_CGROUPS / "memory" / "cgroup.procs", os.W_OK)


@dataclass(frozen=True)
class Job:
    """A job that waits or runs: its number, name, state (PENDING, RUNNING, …), partition and node."""

    number: int
    name: str
    state: str
    partition: str
    node: str


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs: its folder, the names of its nodes, and whether it limits the memory of jobs."""

    folder: Path
    nodes: tuple[str, ...]
    memory_is_limited: bool

    @property
    def environ(self) -> dict[str, str]:
        """What Slurm's commands, and so the head of a workflow, need in their environment."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(command, env=os.environ | self.environ, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def queue(self) -> list[Job]:
        """Return the jobs that wait or run."""
        lines = self.call("squeue", "--noheader", "--format", "%i|%j|%T|%P|%N").splitlines()
        rows = [line.split("|") for line in lines]
        return [Job(int(number), *rest) for number, *rest in rows]

    def ended(self) -> list[dict[str, str]]:
        """Return the jobs that have ended, as Slurm records them: JobId, Name, JobState, Partition, NodeList, …"""
        path = self.folder / "log" / "jobs"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]

    def processes(self) -> list[psutil.Process]:
        """Return the processes of jobs that run, and of commands that know of this Slurm, but not its daemons."""
        daemons = {self._pid(path) for path in self._pid_files()}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                here = process.environ().get("SLURM_CONF") == self.environ["SLURM_CONF"]
                if here and process.pid not in daemons and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stop_controller(self) -> None:
        """End slurmctld, as an administrator does who restarts it; jobs go on, and no command is answered."""
        _end(self._pid(self.folder / "slurmctld.pid"), signal.SIGTERM)

    def start_controller(self) -> None:
        """Start slurmctld, which knows of the jobs from before."""
        _daemon("slurmctld", "-f", self.environ["SLURM_CONF"])

    def kill_node(self, node: str) -> None:
        """Kill slurmd and all processes of jobs on a node at once, as power that fails does."""
        victims = [process for process in self.processes() if _is_on(process, node)]
        daemon = psutil.Process(self._pid(self.folder / f"slurmd.{node}.pid"))
        steps = [process for process in psutil.process_iter() if _is_step_on(process, self.folder, node)]
        for process in [daemon, *steps, *victims]:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def start_node(self, node: str) -> None:
        """Bring a node back."""
        _daemon("slurmd", "-f", self.environ["SLURM_CONF"], "-N", node)
        with contextlib.suppress(RuntimeError):  # it comes back by itself, where it was not yet taken for down
            self.call("scontrol", "update", f"nodename={node}", "state=resume")

    def wait_until_empty(self, seconds: float = _END_SECONDS) -> None:
        """Wait until no job waits or runs; an error where one does after so long."""
        wait_until(lambda: not self.queue(), seconds, lambda: f"jobs are left: {self.queue()}")

    def logs(self) -> str:
        """Return the ends of the logs of its daemons."""
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("log/*"))

    def _pid_files(self) -> list[Path]:
        return [*self.folder.glob("*.pid"), *self.folder.glob("munge/pid")]

    def _pid(self, path: Path) -> int:
        return int(path.read_text())

    def _end(self) -> None:
        """End all jobs, all that they started, and the daemons."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.call("scancel", "--user", getpass.getuser())
            self.wait_until_empty(20)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        steps = [p for p in psutil.process_iter() if any(_is_step_on(p, self.folder, node) for node in self.nodes)]
        for process in steps:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for path in self._pid_files():  # at once: nothing of this Slurm is needed any more
            _end(self._pid(path), signal.SIGKILL)
        _remove_cgroups(self.nodes)


@contextlib.contextmanager
def running_slurm(
    *, nodes: int = 3, cpus: int = 2, memory_mb: int = 6000, kill_wait: int = 30, settings: str = ""
) -> Iterator[Slurm]:
    """Run a Slurm until the block ends.

    Each of its nodes has `cpus` cores and `memory_mb` of memory. `kill_wait` is how many seconds a cancelled job has
    between SIGTERM and SIGKILL. Lines of `settings` go into slurm.conf before its nodes.

    Raises RuntimeError where a program is missing (see `missing_for_slurm`) or does not start.
    """
    if (missing := missing_for_slurm()) is not None:
        raise RuntimeError(missing)
    folder = Path(tempfile.mkdtemp(prefix="slurm."))  # a short path: a socket's name has 107 letters at most
    folder.chmod(0o755)
    ports = _free_ports(nodes + 1)
    names = tuple(f"s{ports[0]}n{number}" for number in range(1, nodes + 1))  # cgroups are named after nodes
    slurm = Slurm(folder, names, limits_memory())
    try:
        _start_munge(folder)
        _configure(slurm, ports, cpus=cpus, memory_mb=memory_mb, kill_wait=kill_wait, settings=settings)
        slurm.start_controller()
        for name in names:
            _daemon("slurmd", "-f", slurm.environ["SLURM_CONF"], "-N", name)
        wait_until(lambda: _idle(slurm) == nodes, _START_SECONDS, lambda: f"Slurm does not start\n{slurm.logs()}")
        yield slurm
    finally:
        slurm._end()
        shutil.rmtree(folder, ignore_errors=True)


def _start_munge(folder: Path) -> None:
    """Start a munged of this Slurm alone, which signs its messages."""
    place = folder / "munge"
    place.mkdir(mode=0o700)
    (place / "key").write_bytes(os.urandom(1024))
    (place / "key").chmod(0o400)
    files = [f"--{name}={place}/{file}" for name, file in _MUNGE_FILES.items()]
    _daemon("munged", "--force", "--num-threads=2", *files)
    place.chmod(0o755)  # the socket is for all


_MUNGE_FILES = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _configure(
    slurm: Slurm, ports: Sequence[int], *, cpus: int, memory_mb: int, kill_wait: int, settings: str
) -> None:
    host = socket.gethostname().split(".")[0]
    limited = slurm.memory_is_limited
    text = _SETTINGS.format(
        host=host,
        user=getpass.getuser(),
        folder=slurm.folder,
        controller_port=ports[0],
        kill_wait=kill_wait,
        tracking="cgroup" if limited else "linuxproc",
        tasks="cgroup" if limited else "none",
    )
    lines = [text, settings]
    for name, port in zip(slurm.nodes, ports[1:], strict=True):
        size = f"CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN"
        lines.append(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {size}")
    everywhere = f"Nodes={','.join(slurm.nodes)} MaxTime=INFINITE State=UP"
    lines.append(f"PartitionName=normal {everywhere} Default=YES PriorityTier=1 PreemptMode=off")
    lines.append(f"PartitionName=spot {everywhere} PriorityTier=0 PreemptMode=cancel GraceTime=0")
    for name in ("state", "log"):
        (slurm.folder / name).mkdir()
    (slurm.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    if limited:
        (slurm.folder / "cgroup.conf").write_text(_MEMORY_LIMITS)


def _idle(slurm: Slurm) -> int:
    """How many nodes can take a job."""
    try:
        lines = slurm.call("sinfo", "--noheader", "--states", "idle", "--partition", "normal", "--format", "%D")
    except RuntimeError:  # the controller is starting
        return 0
    return sum(int(line) for line in lines.split())


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


def _daemon(name: str, *arguments: str) -> None:
    """Start a program that goes on in the background."""
    program = _program(name) or name
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    with tempfile.TemporaryFile("w+") as log:  # no pipe, which the daemon might keep open
        done = subprocess.run([program, *arguments], env=quiet, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.seek(0)
        if done.returncode:
            raise RuntimeError(f"{name} does not start: {log.read()}")


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _end(pid: int, by: signal.Signals) -> None:
    """End a daemon, and wait until it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(by)
        process.wait(60)


def _is_on(process: psutil.Process, node: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.environ().get("SLURMD_NODENAME") == node
    return False


def _is_step_on(process: psutil.Process, folder: Path, node: str) -> bool:
    """Is it what watches over a job on this node?"""
    with contextlib.suppress(psutil.Error):
        return process.name() == "slurmstepd" and Path(process.cwd()) == folder / f"spool.{node}"
    return False


def _remove_cgroups(nodes: Sequence[str]) -> None:
    """Remove what Slurm leaves of a node, innermost first."""
    for node in nodes:
        for top in _CGROUPS.glob(f"*/slurm_{node}"):
            for group in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    group.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()


def wait_until(condition: Callable[[], object], seconds: float, otherwise: Callable[[], str] = str) -> None:
    """Return as soon as the condition holds; an error that says what is so otherwise, after so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"still not so after {seconds} s; {otherwise()}")
        time.sleep(0.1)
