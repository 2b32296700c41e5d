"""A cache of values within a number of bytes, for several threads: each value is made once while it is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Keeps the values used last; `size` gives the bytes of a value. Threads that want the same value wait for it."""

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit = limit
        self._size = size
        self._values: OrderedDict[Hashable, Future[V]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key, made if it is not kept. What `make` raises is raised, and nothing is kept."""
        with self._lock:
            found = self._values.get(key)
            future = found or Future()
            self._values[key] = future
            self._values.move_to_end(key)
        if found is not None:
            return future.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._values[key]
            future.set_exception(error)
            raise
        future.set_result(value)
        self._keep_within_limit(value)
        return value

    def _keep_within_limit(self, added: V) -> None:
        """Count a value, and drop those used longest ago until all fit; values that are being made stay."""
        with self._lock:
            self._bytes += self._size(added)
            for key in list(self._values):
                if self._bytes <= self.limit:
                    break
                if self._values[key].done():
                    self._bytes -= self._size(self._values.pop(key).result())
