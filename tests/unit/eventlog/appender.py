"""Appends groups of records to the log in a folder and prints a line when each append has returned.

appender.py FOLDER PREFIX START COUNT GROUP SEGMENT_BYTES; the ids are PREFIX/n for n in START .. START + COUNT.
"""

import sys
from hashlib import blake2b
from random import Random

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.lmdb import open_lmdb
from isotherm.eventlog.port import Record


def record(name: str) -> Record:
    filler = Random(name).randbytes(1000)
    value = name.encode() + b" " + filler
    return Record("shop|home", value, 1_770_000_000_000, blake2b(name.encode(), digest_size=16).digest())


def main(folder: str, prefix: str, start: int, count: int, group: int, segment_bytes: int) -> None:
    settings = Settings().model_copy(update={"disk_reserve_bytes": 0, "log_segment_bytes": segment_bytes})
    log = open_lmdb(f"lmdb://{folder}", settings, SystemClock())
    print("ready", flush=True)
    for n in range(start, start + count, group):
        done = log.append([record(f"{prefix}/{i}") for i in range(n, n + group)])
        print(n, sum(position is not None for position in done), flush=True)
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
