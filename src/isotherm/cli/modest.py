"""Stepping back: a process that has time leaves processor and disk to those who answer somebody."""

import contextlib
import ctypes
import os
import platform
from typing import Final

NICENESS: Final = 19
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
"""Number of ioprio_set(2), for which the C library has no function."""
_PROCESS: Final = 1
_IDLE: Final = 3 << 13


def step_back() -> None:
    """Lowest priority for the processor, and for disks whose scheduler knows priorities: only what nobody else wants.

    Niceness alone is not enough: Linux lets a nice process finish its turn of some milliseconds before one that woke
    up, and an answer wakes up several. Before threads are started, which then inherit all of it. Where a system refuses
    or has no such thing, nothing happens.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    call = _IOPRIO_SET.get(platform.machine()) if platform.system() == "Linux" else None
    if call is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(ctypes.c_long(call), _PROCESS, 0, _IDLE)
