"""starving.py FOLDER: fills a segment of the log there, takes all file handles, and gives them back.

It says what became of appends and of a look at its health without handles, and after that.
"""

import os
import sys
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog import gate, writer
from isotherm.eventlog.lmdb import open_lmdb
from isotherm.eventlog.port import Record


def record(n: int) -> Record:
    return Record("shop|home", b"value", 1_770_000_000_000, n.to_bytes(16, "big"))


def tell(what: str, call) -> None:
    try:
        call()
        print(what)
    except Backpressure as refused:
        print("refused" if "ulimit" in str(refused) else refused)


def take_all() -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


writer.MAX_SEGMENT_RECORDS = 20
log = open_lmdb(f"lmdb://{sys.argv[1]}", Settings().model_copy(update={"disk_reserve_bytes": 0}), SystemClock())
# The segment is full: the next append has to make another one, which takes handles.
log.append([record(n) for n in range(20)])
setrlimit(RLIMIT_NOFILE, (256, getrlimit(RLIMIT_NOFILE)[1]))
taken = take_all()
gate.MEASURE_EVERY_S = 1e9
tell("acknowledged", lambda: log.append([record(20)]))
gate.MEASURE_EVERY_S = 0
tell("acknowledged", lambda: log.append([record(20)]))
tell("healthy", log.healthy)
for handle in taken:
    os.close(handle)
tell("acknowledged", lambda: log.append([record(20)]))
tell("healthy", log.healthy)
log.close()
