"""The time that a run waits for its first worker, in Dask's own setting, for which --worker-wait stands.

The scheduler and the clients of a run have it in common: a scheduler gives work up that has waited longer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_SETTING = "distributed.scheduler.no-workers-timeout"
_VARIABLE = "DASK_" + _SETTING.replace(".", "__").replace("-", "_").upper()


def worker_wait() -> float:
    """Return the seconds that a run waits for a worker; infinite where Dask's setting is none."""
    import dask
    from dask.utils import parse_timedelta

    from teralign.cluster import settings  # noqa: F401 - its import sets our default

    seconds = parse_timedelta(dask.config.get(_SETTING))
    return float("inf") if seconds is None else float(seconds)


def wait_variables(seconds: float | None) -> dict[str, str]:
    """Return the environment of a process that waits so many seconds; None leaves the setting as it is."""
    return {} if seconds is None else {_VARIABLE: f"{seconds:g}s"}


@contextlib.contextmanager
def waiting(seconds: float | None) -> Iterator[None]:
    """Wait so many seconds within the context; None leaves the setting as it is."""
    import dask

    with contextlib.nullcontext() if seconds is None else dask.config.set({_SETTING: f"{seconds:g}s"}):
        yield
