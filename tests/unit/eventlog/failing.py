"""failing.py FOLDER [full]: appends until writes fail (a file size limit), then lifts the limit and tries again.

With `full`, the disk says that it has no room until then.
"""

import resource
import signal
import sys
from random import Random

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.lmdb import open_lmdb
from isotherm.eventlog.port import Record

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = open_lmdb(f"lmdb://{sys.argv[1]}", Settings().model_copy(update={"disk_reserve_bytes": 0}), SystemClock())
record = Record("k", Random(1).randbytes(20_000), 1)
full = sys.argv[2:] == ["full"]
if full:
    log._writer.gate.no_room = lambda: True
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
for _ in range(101):
    try:
        print("acknowledged", log.append([record])[0].offset)
    except Backpressure as error:
        print(f"refused: {error}")
        if not full and soft == resource.getrlimit(resource.RLIMIT_FSIZE)[0]:
            break
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
try:
    log.healthy()
except Backpressure as error:
    print(f"unhealthy: {error}")
