"""expirer.py FOLDER NOW_MS SEGMENT_BYTES: expires the log, of which all is landed, and prints what went."""

import sys

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.lmdb import open_lmdb

settings = Settings().model_copy(update={"disk_reserve_bytes": 0, "log_segment_bytes": int(sys.argv[3])})
log = open_lmdb(f"lmdb://{sys.argv[1]}", settings, SystemClock())
print(*log.expire(int(sys.argv[2]), log.heads([0])))
log.close()
