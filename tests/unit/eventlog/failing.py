"""failing.py FOLDER: appends until writes fail (a file size limit), then lifts the limit and tries again."""

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
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
for _ in range(101):
    try:
        print("acknowledged", log.append([record])[0].offset)
    except Backpressure as error:
        print(f"refused: {error}")
        if soft == resource.getrlimit(resource.RLIMIT_FSIZE)[0]:
            break
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
try:
    log.healthy()
except Backpressure as error:
    print(f"unhealthy: {error}")
