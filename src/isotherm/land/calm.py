"""Decoding without the interpreter's search for reference cycles."""

import gc
from contextlib import AbstractContextManager
from threading import Lock


class _NoCycles(AbstractContextManager[None]):
    """Off while somebody is inside; threads and calls may overlap."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_on:
                gc.enable()


no_cycles = _NoCycles()
"""Inside, no cycles are searched for, in any thread: for short work that makes very many objects and no cycle.

Each search goes through all that was made so far, which takes as long again as decoding. Objects are freed by their
counts meanwhile, as ever.
"""
