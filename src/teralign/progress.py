"""Progress of long work: a live bar on a terminal, lines in a log; numbers as people write them.

`show_bars` turns the bars on, which a command does where its standard error is a terminal. Without it each count of
work is a line in the log every so often, with its numbers beside the text for logs that machines read
(`ProgressCounts`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

_FIRST_INTERVAL = 5.0  # seconds between lines; work of a minute has about ten
_LAST_INTERVAL = 60.0  # work of hours has one a minute
_SHARE_OF_ELAPSED = 0.05
_REDRAWS_PER_SECOND = 4


@dataclass(frozen=True)
class ProgressCounts:
    """The numbers of a line of progress; the log record of the line has them as `progress`.

    `seconds_left` is None where nothing is finished yet that an estimate could start from.
    """

    done: int
    total: int
    failed: int
    seconds_left: float | None


class Progress:
    """A count of finished items: a live bar where `show_bars` has turned them on, else lines in `log`.

    Lines come at most every `interval` seconds, less often in long work, and once at the end.
    """

    def __init__(self, total: int, what: str, log: logging.Logger, *, interval: float = _FIRST_INTERVAL) -> None:
        self._total, self._what, self._log, self._interval = total, what, log, interval
        self._done = self._skipped = self._failed = 0
        self._started = self._last = self._counted = time.monotonic()
        self._bars = _bars
        if self._bars is not None and total:
            self._bars.add(self)

    def skip(self, count: int) -> None:
        """Count items that an earlier run finished, which the estimate of the remaining time leaves out."""
        self._done += count
        self._skipped += count
        self._draw()

    def advance(self, count: int = 1, *, failed: int = 0) -> None:
        """Count `count` more finished items, of which `failed` have no result."""
        self._done += count
        self._failed += failed
        self._counted = now = time.monotonic()
        finished = self._done == self._total
        self._draw()
        if finished or (self._bars is None and now - self._last >= self._pause(now)):
            self._last = now
            self._log.info("%s", self._line(now), extra={"progress": self.counts(now)})

    def counts(self, now: float) -> ProgressCounts:
        """Return the numbers at the time `now` of the monotonic clock."""
        worked = self._done - self._skipped
        left = None
        if self._done >= self._total:
            left = 0.0
        elif worked:
            pace = (self._counted - self._started) / worked
            left = max(0.0, pace * (self._total - self._done) - (now - self._counted))
        return ProgressCounts(self._done, self._total, self._failed, left)

    def status(self, now: float) -> str:
        """Return rate, remaining time and failures in words, as a bar shows them."""
        worked, elapsed = self._done - self._skipped, self._counted - self._started
        counts = self.counts(now)
        parts = []
        if worked and elapsed:
            parts.append(_pace(worked / elapsed))
        if counts.seconds_left is not None:
            parts.append(f"{readable_time(counts.seconds_left)} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts) or f"{readable_time(now - self._started)} so far"

    @property
    def what(self) -> str:
        """The name of the work."""
        return self._what

    def _pause(self, now: float) -> float:
        return min(
            max(self._interval, _SHARE_OF_ELAPSED * (now - self._started)), max(self._interval, _LAST_INTERVAL)
        )

    def _draw(self) -> None:
        if self._bars is not None:
            self._bars.update(self, self._done, finished=self._done >= self._total)

    def _line(self, now: float) -> str:
        left = self.counts(now).seconds_left
        line = f"{self._what}: {self._done} of {self._total} ({100 * self._done // max(1, self._total)} %)"
        failed = f", {self._failed} failed" if self._failed else ""
        if self._done < self._total and left is not None:
            return f"{line}{failed}, {readable_time(left)} left"
        return f"{line}{failed} in {readable_time(now - self._started)}"


class Bars:
    """The live bars of a terminal, drawn below the lines that `write` adds; gone when no work is under way.

    The bars are rich's, since it redraws them by the clock: with blocks of minutes one sees that the program lives.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
        from rich.text import Text

        class Status(ProgressColumn):
            """The words of a `Progress` at the time of the drawing."""

            def render(self, task: Task) -> Text:
                """Return them."""
                return Text(task.fields["progress"].status(time.monotonic()))

        self._console = Console(file=stream, highlight=False)
        self._drawing = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Status(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=_REDRAWS_PER_SECOND,
        )
        self._tasks = {}  # type: ignore[var-annotated] # ids of rich's tasks by progress; the import is late

    def add(self, progress: Progress) -> None:
        """Draw a bar for `progress` until it is finished."""
        total = progress.counts(time.monotonic()).total
        self._tasks[progress] = self._drawing.add_task(progress.what, total=total, progress=progress)
        self._drawing.start()

    def update(self, progress: Progress, done: int, *, finished: bool) -> None:
        """Show that `done` items are finished; takes the bar away when all are."""
        task = self._tasks.get(progress)
        if task is None:
            return
        self._drawing.update(task, completed=done)
        if finished:
            del self._tasks[progress]
            self._drawing.remove_task(task)
            if not self._tasks:
                self._drawing.stop()

    def write(self, line: str) -> None:
        """Write a line above the bars."""
        self._console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take all bars away and show the cursor."""
        self._tasks.clear()
        self._drawing.stop()


_bars: Bars | None = None


def show_bars(stream: TextIO) -> Bars:
    """Show the progress of this process as bars on `stream`, a terminal, from now on; returns them."""
    global _bars
    close_bars()
    _bars = Bars(stream)
    return _bars


def close_bars() -> None:
    """Take the bars away, and log progress in lines from now on."""
    global _bars
    if _bars is not None:
        with contextlib.suppress(OSError):  # the terminal has gone
            _bars.close()
    _bars = None


def _pace(rate: float) -> str:
    """Return items a second, or the time of one: 3.1/s, 4.2 s each."""
    if rate >= 1:
        return f"{rate:.3g}/s"
    return f"{1 / rate:.1f} s each" if rate > 0.1 else f"{readable_time(1 / rate)} each"


def readable_time(seconds: float) -> str:
    """Return a duration as people write it: 8 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as 1 block or 8 blocks."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
