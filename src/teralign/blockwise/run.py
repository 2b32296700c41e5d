"""Run a function over blocks, on Dask or in this process; no failure of a single block ends the run.

A block is a transaction: a worker calls the function, which writes its results, and then writes the block's record.
A block with a record is finished, and a resumed run skips it. Failures are handled as follows:

- The function raises an error. The block is tried again, up to `retries` times; then its failure is recorded.
- The worker dies: killed, out of memory, or a crash in C. Dask tries the block on other workers until several have
  died. Other blocks in the queue of a dying worker then look as guilty as the block that kills, so all suspects are
  tried once more at the end, never two on one worker. A block that kills again has failed.
- All workers disappear. The run waits for others to join, and ends with ClusterError when none does.
- The scheduler disappears. Its state is lost, but the records remain: the run ends with ClusterError, and the same
  command resumes it.

Dask holds only a window of blocks at any time, no result passes through it, and nothing is kept for a finished block.
Memory therefore does not grow with the number of blocks. Short blocks share a task (`batch_size`): then a task that
runs past its time hands the blocks that it has not begun back, and the failures that it met.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import os
import socket
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

import cloudpickle

from teralign.blockwise.batch_size import BatchSize, task_seconds
from teralign.blockwise.deaths import reason_of
from teralign.blockwise.patience import Patience
from teralign.blockwise.records import BlockRecord, BlockState
from teralign.blockwise.workspace import Workspace
from teralign.cluster.own_workers import count_own_workers
from teralign.cluster.worker_wait import worker_wait
from teralign.errors import AlignmentError, ClusterError, DataError
from teralign.progress import Progress, counted, readable_time

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

_WINDOW_PER_WORKER = 3  # one block at work, and others waiting so that a worker is never idle
_CHECK_SECONDS = 2.0
_REPLY_SECONDS = 10.0
_HOPELESS = 20  # failures in a row after which the share of failed blocks is checked


class Named(Protocol):
    """A block to run: anything with a unique name within its stage."""

    @property
    def name(self) -> str:
        """The name in files and messages."""
        ...


B = TypeVar("B", bound=Named)


class BlockError(Exception):
    """The error of a function in a worker, as text, since exceptions cannot always be sent."""


class BatchError(Exception):
    """The outcome of blocks of which some have no result: failures by their place, and how many blocks were begun."""

    def __init__(self, failures: Mapping[int, BlockError], begun: int) -> None:
        super().__init__(failures, begun)
        self.failures, self.begun = failures, begun


@dataclass(frozen=True)
class RunSummary:
    """The outcome of the blocks of a stage."""

    stage: str
    total: int
    resumed: int
    failed: tuple[str, ...]
    seconds: float

    @property
    def done(self) -> int:
        """The number of blocks with a result, from this run or an earlier one."""
        return self.total - len(self.failed)


def run_blocks(
    function: Callable[[B], BlockRecord],
    blocks: Collection[B],
    *,
    client: Client | None,
    workspace: Workspace,
    stage: str,
    retries: int = 2,
    max_failed: float = 0.0,
    window: int | None = None,
    patience: float = 60.0,
    start_patience: float | None = None,
) -> RunSummary:
    """Call `function` for each block that `workspace` has no record of, on the workers of `client` or, without, here.

    The function returns the block's record, to which the block's name, `seconds`, `worker` and `attempts` are added.
    It must be importable on the workers, or a `functools.partial` of such a function, and writing the same block
    twice must do no harm.

    `window` is the most blocks that Dask holds at once (default: a few for each worker); `patience` is how many
    seconds a cluster may be without a worker once it had one, `start_patience` how many its workers may take to
    start (default: Dask's setting, which --worker-wait changes). A share of up to `max_failed` of the blocks may
    fail; the summary lists them. When more fail, raises DataError if files were the reason, else AlignmentError.
    Raises ClusterError when the cluster is lost.
    """
    ledger = _Ledger(stage, len(blocks), max_failed)
    shared = cast("Callable[[Named], BlockRecord]", function) if client is None else cloudpickle.dumps(function)
    job = _BlockCalls(shared, workspace, stage, retries + 1)
    todo = _unfinished(blocks, job, ledger)
    if client is None:
        _run_here(todo, job, ledger)
    else:
        waits = Patience(patience, worker_wait() if start_patience is None else start_patience)
        dispatcher: _Dispatcher[B] = _Dispatcher(client, job, ledger, window, waits)
        dispatcher.run(todo)
    return ledger.summary()


@dataclass(frozen=True)
class _BlockCalls:
    """The data that all calls of a run share; the function is pickled for other processes only."""

    function: bytes | Callable[[Named], BlockRecord]
    workspace: Workspace
    stage: str
    attempts: int


def _unfinished(blocks: Collection[B], job: _BlockCalls, ledger: _Ledger) -> Iterator[B]:
    """Yield the blocks without a result; blocks that failed before are tried again."""
    recorded = job.workspace.recorded(job.stage)
    for block in blocks:
        if block.name in recorded and _has_result(job, block.name):
            ledger.resumed()
        else:
            yield block


def _has_result(job: _BlockCalls, name: str) -> bool:
    record = job.workspace.load_record(job.stage, name)
    return record is not None and record.state is not BlockState.FAILED


def attempt(job: _BlockCalls, block: Named, number: int) -> None:
    """Run a block and write its record; raises BlockError, and records the failure of the last attempt."""
    if _has_result(job, block.name):
        return  # Dask runs a block again when it loses the worker that had finished it
    started = time.monotonic()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    try:
        function = _unpickle(job.function) if isinstance(job.function, bytes) else job.function
        found = function(block)
        seconds = round(time.monotonic() - started, 3)
        record = dataclasses.replace(found, block=block.name, seconds=seconds, worker=worker, attempts=number)
        job.workspace.record(job.stage, record)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any error concerns this block only
        text = f"{type(error).__name__}: {error}"
        if number == job.attempts:
            _record_failure(job, block.name, text, traceback.format_exc(), worker=worker)
        raise BlockError(text, isinstance(error, OSError | DataError)) from None


def attempt_all(job: _BlockCalls, blocks: Sequence[Named], number: int, seconds: float) -> None:
    """Run blocks one after the other, none of them after `seconds`; raises BatchError unless all succeed."""
    failures: dict[int, BlockError] = {}
    end = time.monotonic() + seconds
    for place, block in enumerate(blocks):
        if place and time.monotonic() > end:
            raise BatchError(failures, place)
        try:
            attempt(job, block, number)
        except BlockError as error:
            failures[place] = error
    if failures:
        raise BatchError(failures, len(blocks))


@functools.lru_cache(maxsize=2)
def _unpickle(pickled: bytes) -> Callable[[Named], BlockRecord]:
    """Return the function, loaded once a worker: files that it keeps open serve all blocks."""
    function: Callable[[Named], BlockRecord] = cloudpickle.loads(pickled)
    return function


def _record_failure(job: _BlockCalls, name: str, error: str, trace: str | None = None, *, worker: str = "") -> None:
    failure = BlockRecord(
        block=name, state=BlockState.FAILED, error=error, traceback=trace, worker=worker, attempts=job.attempts
    )
    try:
        job.workspace.record(job.stage, failure)
    except OSError as refused:  # the disk may be why the block failed; the run itself knows of the failure
        log.warning("The failure of block %s could not be recorded: %s", name, refused)


class _Ledger:
    """Counts the outcome of the blocks, reports progress, and decides when to give up."""

    def __init__(self, stage: str, total: int, max_failed: float) -> None:
        self._stage, self._total = stage, total
        self._allowed = max_failed * total
        self._failed: list[str] = []
        self._resumed = self._done = self._failed_in_a_row = 0
        self._last_error, self._data_error = "", False
        self._started = time.monotonic()
        self._progress = Progress(total, stage, log)

    def resumed(self) -> None:
        """Count a block that an earlier run had finished."""
        self._resumed += 1
        self._progress.skip(1)

    @property
    def left(self) -> int:
        """The number of blocks that have not ended, as far as is known."""
        return self._total - self._resumed - self._done - len(self._failed)

    def done(self, count: int = 1) -> None:
        """Count blocks that have their results."""
        self._failed_in_a_row = 0
        self._done += count
        self._progress.advance(count)

    def failed(self, name: str, error: str, *, data_error: bool = False) -> None:
        """Count a block that failed for good; raises when too many fail and many in a row."""
        log.warning("%s: block %s failed: %s", self._stage, name, error)
        self._failed.append(name)
        self._failed_in_a_row += 1
        self._last_error, self._data_error = error, data_error
        self._progress.advance(failed=1)
        if self._failed_in_a_row >= _HOPELESS:
            self._check()

    def warn(self, text: str) -> None:
        """Log a warning, also for those who follow the progress only."""
        log.warning("%s: %s", self._stage, text, extra={"progress": self._progress.counts(time.monotonic())})

    def summary(self) -> RunSummary:
        """Return the outcome of the run; raises when more blocks failed than allowed."""
        self._check()
        seconds = time.monotonic() - self._started
        if self._resumed or self._failed:
            before = counted(self._resumed, "block")
            log.info("%s: %s finished before, %d failed", self._stage, before, len(self._failed))
        return RunSummary(self._stage, self._total, self._resumed, tuple(sorted(self._failed)), seconds)

    def _check(self) -> None:
        if len(self._failed) <= self._allowed:
            return
        names = ", ".join(sorted(self._failed)[:5]) + (", …" if len(self._failed) > 5 else "")
        kind = DataError if self._data_error else AlignmentError
        raise kind(
            f"{self._stage}: {len(self._failed)} of {counted(self._total, 'block')} failed ({names}), the last with "
            f"{self._last_error}; a new run of the same command tries them again."
        )


def _run_here(blocks: Iterator[B], job: _BlockCalls, ledger: _Ledger) -> None:
    for block in blocks:
        for number in range(1, job.attempts + 1):
            try:
                attempt(job, block, number)
            except BlockError as error:
                if number == job.attempts:
                    ledger.failed(block.name, error.args[0], data_error=error.args[1])
            else:
                ledger.done()
                break


@dataclass
class _Trial(Generic[B]):
    """Blocks under way together: the number of their attempt, Dask's future, and why their workers died."""

    blocks: Sequence[B]
    number: int = 1
    death: str = ""
    future: Future[None] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name of the first block."""
        return self.blocks[0].name


class _Dispatcher(Generic[B]):
    """Keeps a window of blocks submitted to Dask, and handles their outcomes."""

    def __init__(
        self, client: Client, job: _BlockCalls, ledger: _Ledger, window: int | None, patience: Patience
    ) -> None:
        self._client, self._job, self._ledger = client, job, ledger
        self._window, self._patience = window, patience
        self._name = f"{job.stage}-{uuid.uuid4().hex[:8]}"
        self._submitted = 0
        self._in_flight: dict[object, _Trial[B]] = {}
        self._finished: SimpleQueue[object] = SimpleQueue()
        self._again: deque[_Trial[B]] = deque()
        self._suspects: list[_Trial[B]] = []
        self._batch = BatchSize(time.monotonic())
        self._workers = 0
        self._checked = -_CHECK_SECONDS

    def run(self, blocks: Iterator[B]) -> None:
        """Run all blocks, the suspects after all others."""
        self._patience.own_workers = count_own_workers(self._client)
        try:
            self._drain(self._trials(blocks), self._limit, self._suspects.append)
            if self._suspects:
                log.info("Trying %s whose workers died once more, one by one", counted(len(self._suspects), "block"))
                self._drain(iter(self._suspects), self._limit_of_suspects, self._killed_again)
        finally:
            for trial in self._in_flight.values():
                _release(trial)

    def _trials(self, blocks: Iterator[B]) -> Iterator[_Trial[B]]:
        """Yield blocks in batches, each as large as is right when it is taken."""
        while taken := tuple(itertools.islice(blocks, self._batch_size())):
            yield _Trial(taken)

    def _batch_size(self) -> int:
        return self._batch.of_next(self._ledger.left, self._workers, self._limit())

    def _limit(self) -> int:
        return self._window or max(2, _WINDOW_PER_WORKER * self._workers)

    def _limit_of_suspects(self) -> int:
        """The most suspects at once, so few that none waits behind another on a worker."""
        return max(1, self._workers // 2)

    def _drain(
        self, trials: Iterator[_Trial[B]], limit: Callable[[], int], killed: Callable[[_Trial[B]], None]
    ) -> None:
        while True:
            self._check_cluster()
            while len(self._in_flight) < limit():
                trial = self._again.popleft() if self._again else next(trials, None)
                if trial is None:
                    break
                self._submit(trial)
            if not self._in_flight:
                return
            for trial in self._wait():
                self._settle(trial, killed)

    def _submit(self, trial: _Trial[B]) -> None:
        self._submitted += 1
        key = (self._name, trial.name, self._submitted)
        self._in_flight[key] = trial
        seconds = 2 * task_seconds(self._workers)
        try:
            trial.future = self._client.submit(
                attempt_all, self._job, trial.blocks, trial.number, seconds, key=key, pure=False
            )
        except Exception:
            self._check_client()  # a client that lost its scheduler a moment ago takes no work
            raise
        trial.future.add_done_callback(lambda future: self._finished.put(future.key))

    def _wait(self) -> Iterator[_Trial[B]]:
        """Yield the trials that have ended; returns after a while without any, so that the cluster is checked."""
        try:
            key = self._finished.get(timeout=_CHECK_SECONDS)
            while True:
                if key in self._in_flight:
                    yield self._in_flight.pop(key)
                key = self._finished.get_nowait()
        except Empty:
            return

    def _settle(self, trial: _Trial[B], killed: Callable[[_Trial[B]], None]) -> None:
        from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

        assert trial.future is not None
        status = trial.future.status
        error = trial.future.exception(timeout=_REPLY_SECONDS) if status == "error" else None
        _release(trial)
        if status == "finished":
            self._done(len(trial.blocks))
        elif isinstance(error, BatchError):
            self._settle_each(trial, error)
        elif isinstance(error, KilledWorker):
            self._settle_killed(trial, killed, reason_of(self._client, error))
        elif error is None or isinstance(error, NoValidWorkerError | NoWorkerError):
            self._again.append(trial)  # Dask gave up for reasons of its own; this class watches the cluster
        elif trial.number < self._job.attempts:
            self._try_again(trial.blocks, trial.number, _text(error))
        else:  # the function was never called, so no worker has recorded the failure
            for block in trial.blocks:
                _record_failure(self._job, block.name, _text(error))
                self._ledger.failed(block.name, _text(error))

    def _settle_each(self, trial: _Trial[B], outcome: BatchError) -> None:
        """Handle the blocks of a task of which some failed, or were not begun."""
        if outcome.begun > len(outcome.failures):
            self._done(outcome.begun - len(outcome.failures))
        for place, error in outcome.failures.items():
            block = trial.blocks[place]
            if trial.number < self._job.attempts:
                self._try_again([block], trial.number, _text(error))
            else:
                self._ledger.failed(block.name, error.args[0], data_error=error.args[1])
        if rest := trial.blocks[outcome.begun :]:
            self._again.append(_Trial(rest, trial.number))

    def _settle_killed(self, trial: _Trial[B], killed: Callable[[_Trial[B]], None], death: str) -> None:
        """Handle the blocks of a task whose workers died: the first one without a result was at work then."""
        left = [block for block in trial.blocks if not _has_result(self._job, block.name)]
        if len(left) < len(trial.blocks):
            self._done(len(trial.blocks) - len(left))
        if left:
            killed(_Trial(left[:1], trial.number, death))
        if left[1:]:
            self._again.append(_Trial(left[1:], trial.number))

    def _done(self, count: int) -> None:
        self._ledger.done(count)
        self._batch.ended(count)
        self._patience.seen()

    def _try_again(self, blocks: Sequence[B], number: int, error: str) -> None:
        log.info("%s: block %s is tried again after %s", self._job.stage, blocks[0].name, error)
        self._again.append(_Trial(blocks, number + 1))

    def _killed_again(self, trial: _Trial[B]) -> None:
        _record_failure(self._job, trial.name, trial.death)
        self._ledger.failed(trial.name, trial.death)

    def _check_cluster(self) -> None:
        """Count the workers from time to time; raises ClusterError when the cluster is lost."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return
        self._workers = self._count_workers()
        self._checked = now = time.monotonic()
        self._batch.adapt(self._workers, now)
        without = self._patience.without(self._workers)
        if without is not None:
            raise ClusterError(
                f"{self._job.stage}: there has been no worker for {readable_time(without)} (--worker-wait); "
                "finished blocks are kept: start workers, and give the same command again."
            )
        if (warning := self._patience.warning()) is not None:
            self._ledger.warn(warning)
        self._resubmit_lost()

    def _check_client(self) -> None:
        """Raise ClusterError when the client has lost its scheduler for good."""
        if self._client.status not in ("running", "connecting"):
            raise ClusterError(
                f"{self._job.stage}: the Dask scheduler is gone; finished blocks are kept: "
                "give the same command again."
            )

    def _count_workers(self) -> int:
        self._check_client()
        try:
            return len(self._client.sync(self._client.scheduler.ncores, callback_timeout=_REPLY_SECONDS))  # type: ignore[union-attr]
        except (OSError, TimeoutError):
            return 0

    def _resubmit_lost(self) -> None:
        """Submit cancelled blocks again: a client that loses its scheduler for a moment cancels all of them."""
        lost = [key for key, trial in self._in_flight.items() if trial.future and trial.future.cancelled()]
        for key in lost:
            trial = self._in_flight.pop(key)
            _release(trial)
            self._again.append(trial)


def _release(trial: _Trial[B]) -> None:
    """Release the block's future, so that Dask forgets it."""
    if trial.future is not None:
        trial.future.release()
        trial.future = None


def _text(error: BaseException) -> str:
    return str(error.args[0]) if isinstance(error, BlockError) else f"{type(error).__name__}: {error}"
