"""Real runs on a made-up pair: both kinds of cluster, few slots, many pairs, and what is killed on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .runs import MARK, Run, command, demo_pair, environment, nextflow, processes, read_trace

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

SMALL = ["--aff_scale", "s1", "--def_scale", "s0", "--bigstream_global_steps", "ransac,affine"]
BLOCKS = ["--bigstream_local_steps", "affine", "--bigstream_block_size", "16"]  # 108 blocks: time to strike
WORKERS = ["--use_bigstream", "--bigstream_workers", "2", "--bigstream_worker_mem_gb", "1.5", "-profile", "demo"]
PORTS = range(20100, 20200)
NETWORK = ["--dask_interface", "lo", "--dask_ports", f"{PORTS[0]}:{PORTS[-1]}"]
AS_TASKS = [*WORKERS, "--bigstream_cluster", "nextflow", *NETWORK]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small pair with a known map between its volumes."""
    data = demo_pair(tmp_path_factory.mktemp("pair"), "96,96,48", seed=3)
    return ["--fixed", str(data / "fixed.n5"), "--moving", str(data / "moving.n5")]


@pytest.fixture
def mark() -> Iterator[dict[str, str]]:
    """An environment variable by which a test finds the processes of its run; at its end none may be there."""
    value = uuid.uuid4().hex
    yield {MARK: value}
    left = processes(value)
    for process in left:
        process.kill()
    assert left == []


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def finished_blocks(folder: Path) -> int:
    return len(list(folder.glob("work/dask/*/local-*/blocks/records/align/**/*.json")))


def task_files(folder: Path, name: str) -> str:
    """What is in the files of this name of all tasks."""
    return "".join(path.read_text() for path in folder.glob(f"work/*/*/{name}"))


def contents(folder: Path) -> dict[str, str]:
    """The digest of each file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def reference(pair: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One undisturbed run, with two workers that are tasks."""
    run = nextflow(tmp_path_factory.mktemp("reference"), *pair, *SMALL, *BLOCKS, *AS_TASKS)
    assert run.returncode == 0, run.output
    return run


def results(run: Run, name: str = "moving-to-fixed") -> dict[str, str]:
    folder = run.folder / "results" / name
    return {
        f"{part}/{name}": digest
        for part in ("transform.zarr", "warped.zarr")
        for name, digest in contents(folder / part).items()
    }


def test_workers_join_as_tasks_and_the_pair_is_aligned(reference: Run, pair: list[str]) -> None:
    assert {row["status"] for row in reference.trace} == {"COMPLETED"}
    assert reference.tasks("DASK_WORKER") in range(2, 5), "two for each driver that lasts long enough"
    useful = {
        path.parent.name.split("-")[0]: int(path.read_text()) for path in reference.folder.rglob("useful_workers")
    }
    assert useful["local"] > 2
    warping = [row["name"] for row in reference.trace if "DASK_WORKER" in row["name"] and "warped" in row["name"]]
    assert len(warping) < useful["apply"], "a worker for each block that the driver's own has no time for"
    score = subprocess.run(
        ["teralign", "demo-score", str(Path(pair[1]).parent), str(reference.folder / "results" / "moving-to-fixed")],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"--worker-mem-gb 1.5 {' '.join(NETWORK).replace('dask_', '')}\n" in task_files(
        reference.folder, ".command.sh"
    )
    assert "Workers of its own: 1 × (1 cpu, 1.5 GB)" in task_files(reference.folder, ".command.err")
    listening = re.findall(r"listens at tls://127\.0\.0\.1:(\d+)", task_files(reference.folder, ".command.err"))
    assert len(listening) == 2
    assert {int(port) for port in listening} <= set(PORTS)
    assert {folder.stat().st_mode & 0o777 for folder in reference.folder.glob("work/dask/*/*/")} == {0o700}
    errors = json.loads(score.stdout.splitlines()[-1])
    assert errors["tre_um_after"]["median"] < 0.2 * errors["tre_um_before"]["median"]
    report = reference.folder / "results" / "moving-to-fixed" / "report"
    assert (report / "overlay.png").stat().st_size > 0


def test_resume_only_lists_the_reports_when_all_is_done(reference: Run, pair: list[str]) -> None:
    again = nextflow(reference.folder, *pair, *SMALL, *BLOCKS, *AS_TASKS, "-resume")
    assert again.returncode == 0, again.output
    assert {row["process"] for row in again.trace if row["status"] != "CACHED"} == {"REGISTER:INDEX_REPORTS"}
    assert again.tasks("DASK_WORKER", "CACHED") == 0


def test_workers_inside_the_driver_give_the_same_bytes(
    reference: Run, pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    """Without a size of workers; with one, in a driver, tests of schedulers compare them with jobs."""
    run = nextflow(tmp_path, *pair, *SMALL, *BLOCKS, "-profile", "demo", **mark)
    assert run.returncode == 0, run.output
    assert run.tasks("DASK_WORKER") == 0
    assert task_files(run.folder, ".command.err").count("listens at tls://127.0.0.1:") == 2
    assert results(run) == results(reference)


@pytest.mark.parametrize(("slots", "pairs", "workers"), [(1, 2, 2), (2, 4, 3)])
def test_many_pairs_and_workers_on_few_slots_all_finish(
    slots: int, pairs: int, workers: int, pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    _, fixed, _, moving = pair
    rows = [f"p{n},{fixed},{moving}" for n in range(pairs)]
    (tmp_path / "sheet.csv").write_text("\n".join(["id,fixed,moving", *rows]))
    (tmp_path / "slots.config").write_text(f"executor {{ queueSize = {slots}; cpus = {slots} }}\npoolSize = 2\n")
    scales = ["--aff_scale", "s1", "--def_scale", "s1", "--bigstream_global_steps", "ransac"]
    steps = ["--bigstream_local_steps", "affine", "--bigstream_block_size", "48"]
    options = ["--use_bigstream", "--bigstream_cluster", "nextflow", "--bigstream_workers", str(workers)]
    sizes = ["--bigstream_worker_mem_gb", "2", "--bigstream_global_align_cpus", "1"]
    run = nextflow(tmp_path, "--input", "sheet.csv", *scales, *steps, *options, *sizes, "-c", "slots.config", **mark)
    assert run.returncode == 0, run.output
    assert run.tasks("APPLY_TRANSFORM") == run.tasks("REPORT") == pairs
    assert results(run, "p0") == results(run, f"p{pairs - 1}")


class Live:
    """A run of Nextflow that goes on while the test looks at it."""

    def __init__(self, folder: Path, mark: dict[str, str], *arguments: str) -> None:
        self.folder = folder
        self.mark = mark[MARK]
        with (folder / "output.txt").open("w") as output:
            self.head = subprocess.Popen(
                [*command(*arguments), "-with-trace", str(folder / "trace.txt")],
                cwd=folder,
                env=environment() | mark,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what must come while Nextflow runs."""

        def met() -> bool:
            running = self.head.poll() is None
            there = bool(condition())
            assert there or running, f"the run ended before {what}:\n{self.output()}"
            return there

        wait_for(met, what)

    def output(self) -> str:
        """What Nextflow has printed so far."""
        return (self.folder / "output.txt").read_text()

    def end(self) -> Run:
        """Wait for the end."""
        returncode = self.head.wait(timeout=500)
        return Run(self.folder, returncode, self.output(), read_trace(self.folder / "trace.txt"))

    def kill_task(self, part: str) -> None:
        """Kill a process with all its children, as a node that fails would."""
        victim = processes(self.mark, part)[0]
        for process in [*victim.children(recursive=True), victim]:
            if process.is_running():
                process.kill()


def test_a_run_survives_a_dead_worker_and_a_dead_driver(
    reference: Run, pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    live = Live(tmp_path, mark, *pair, *SMALL, *BLOCKS, *AS_TASKS)
    live.until(lambda: processes(live.mark, "start-dask-worker"), "a worker")
    live.until(lambda: finished_blocks(tmp_path) >= 1, "a block")
    live.kill_task("start-dask-worker")
    live.until(lambda: finished_blocks(tmp_path) >= 3, "three blocks")
    live.kill_task("start-dask-scheduler")
    run = live.end()

    assert run.returncode == 0, run.output
    assert run.tasks("LOCAL_ALIGN") == 1
    assert run.tasks("LOCAL_ALIGN", "FAILED") == 1
    assert results(run) == results(reference)


def test_a_run_that_is_ended_in_any_way_leaves_nothing_running_and_resume_goes_on(
    reference: Run, pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    options = [*pair, *SMALL, *BLOCKS, *AS_TASKS]
    live = Live(tmp_path, mark, *options)
    live.until(lambda: processes(live.mark, "start-dask-worker"), "a worker")
    live.until(lambda: finished_blocks(tmp_path) >= 3, "three blocks")
    os.killpg(live.head.pid, signal.SIGINT)  # as Ctrl-C does
    assert live.end().returncode != 0
    wait_for(lambda: not processes(live.mark), "the end of all processes", seconds=20)

    done = finished_blocks(tmp_path)
    live = Live(tmp_path, mark, *options, "-resume")
    live.until(lambda: "unfinished work of this run" in task_files(tmp_path, ".command.err"), "the driver to go on")
    live.head.terminate()  # as a scheduler does with a job
    run = live.end()
    assert run.returncode != 0
    assert run.tasks("GLOBAL_ALIGN", "CACHED") == 1
    wait_for(lambda: not processes(live.mark), "the end of all processes", seconds=20)

    live = Live(tmp_path, mark, *options, "-resume")
    live.until(lambda: processes(live.mark, "start-dask-scheduler"), "a driver")
    live.head.kill()
    live.end()
    run = nextflow(tmp_path, *options, "-resume", **mark)  # at once: what was left of the last run ends meanwhile
    assert run.returncode == 0, run.output
    before = re.findall(r"align: (\d+) blocks? finished before", task_files(tmp_path, ".command.err"))
    assert int(before[-1]) >= done
    assert results(run) == results(reference)


def test_ctrl_c_before_any_driver_leaves_nothing_running(
    pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    """What brings workers to drivers waits for the first one at that time."""
    live = Live(tmp_path, mark, *pair, *SMALL, *BLOCKS, *AS_TASKS)
    live.until(lambda: processes(live.mark, "global-align"), "the global alignment")
    os.killpg(live.head.pid, signal.SIGINT)
    run = live.end()
    assert run.returncode != 0
    assert run.tasks("LOCAL_ALIGN") == 0
    wait_for(lambda: not processes(live.mark), "the end of all processes", seconds=20)


def test_a_driver_that_fails_ends_the_run_with_its_sentence(
    pair: list[str], tmp_path: Path, mark: dict[str, str]
) -> None:
    """The pair that fails says why; the other one goes on."""
    _, fixed, _, moving = pair
    shutil.copytree(moving, tmp_path / "broken.n5")
    chunks = [path for path in (tmp_path / "broken.n5" / "s0").rglob("*") if path.name.isdigit() and path.is_file()]
    for chunk in chunks:
        chunk.write_bytes(b"no chunk of N5")
    (tmp_path / "sheet.csv").write_text(f"id,fixed,moving\ngood,{fixed},{moving}\nbroken,{fixed},broken.n5\n")
    run = nextflow(tmp_path, "--input", "sheet.csv", *SMALL, *BLOCKS, *AS_TASKS, **mark)
    assert run.returncode != 0
    assert re.search(r"broken: no report; .*broken\.n5", run.output), run.output
    assert run.tasks("LOCAL_ALIGN", "FAILED") == 1
    assert "ABORTED" not in {row["status"] for row in run.trace}
