"""First on PYTHONPATH, this turns the clock of the real program by the milliseconds in the file DRILL_CLOCK_FILE.

It is the clock that every rule of ours asks, and the time that the log writes into its frames; files keep the host's.
"""

import importlib
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FILE = Path(os.environ["DRILL_CLOCK_FILE"])


def turned_ns() -> int:
    return time.time_ns() + int(FILE.read_text()) * 1_000_000


def now_ms(_: Any) -> int:
    return turned_ns() // 1_000_000


clock: Any = importlib.import_module("isotherm.clock")
clock.SystemClock.now_ms = now_ms
writer: Any = importlib.import_module("isotherm.eventlog.writer")
writer.time = SimpleNamespace(time_ns=turned_ns)
