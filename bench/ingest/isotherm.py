"""The collector: validation, duplicates, and an fsync before each 202, on a log that already knows many batch ids."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.ingest.target import Target
from bench.processes import free_port, listening, running, wait_for
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import Record, open_log
from isotherm.events import Counts, encode_envelope, record_id, record_key

CLIENT: Final = "bench-0"
SCREEN: Final = "/remembered"
GROUP: Final = 20_000
"""Records that share one commit while ids are written beforehand."""


def remember(settings: Settings, ids: int) -> float:
    """Append that many tiny records, each with an id of its own; returns the seconds it took."""
    start = time.perf_counter()
    log = open_log(settings, SystemClock())
    try:
        for first in range(0, ids, GROUP):
            now = SystemClock().now_ms()
            numbers = range(first, min(first + GROUP, ids))
            if None in log.append([_tiny(number, now) for number in numbers]):
                raise IsothermError("bench: an id was known before it was written; the data folder is not fresh")
    finally:
        log.close()
    return time.perf_counter() - start


def _tiny(number: int, now: int) -> Record:
    batch_id = f"remembered-{number}"
    value = encode_envelope(
        client_id=CLIENT,
        screen_id=SCREEN,
        batch_id=batch_id,
        received_at=now,
        skew_ms=0,
        flags=[],
        counts=Counts(),
    )
    return Record(record_key(CLIENT, SCREEN), value, now, record_id(CLIENT, batch_id))


def records(settings: Settings) -> int:
    """Records the log holds: the sum of its heads."""
    log = open_log(settings, SystemClock())
    try:
        return sum(log.head(partition) for partition in log.partitions())
    finally:
        log.close()


@contextmanager
def serve(folder: Path) -> Iterator[Target]:
    """`isotherm collect` on the data folder, with the settings a fresh installation has."""
    port = free_port()
    command = [sys.executable, "-m", "isotherm", "collect", "--data", str(folder), "--collect-port", str(port)]
    with running(command, folder / "bench-output.log", env=environment()) as process:
        wait_for("isotherm collect", lambda: listening(port), 120, process)
        yield Target("Isotherm collector", "fsync", folder, process.pid, url=f"http://127.0.0.1:{port}")


def environment() -> dict[str, str]:
    """The environment without settings of Isotherm: what is measured are the defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
