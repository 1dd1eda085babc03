"""Appends five records, two to a segment, has the log looked after once, and dies without closing it."""

import os
import signal
import sys

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.eventlog import control, writer
from isotherm.eventlog.lmdb import open_lmdb
from isotherm.eventlog.port import Record

NOW = 1_770_000_000_000

writer.MAX_SEGMENT_FRAMES = 2
control.QUIET_NS = 1 << 60  # everything changed just now
log = open_lmdb(f"lmdb://{sys.argv[1]}", Settings().model_copy(update={"disk_reserve_bytes": 0}), ManualClock(NOW))
for n in range(5):
    log.append([Record("shop|home", b"%d" % n, NOW, n.to_bytes(16, "big"))])
control.QUIET_NS = 0
log.expire(NOW, {0: 0})
os.kill(os.getpid(), signal.SIGKILL)
