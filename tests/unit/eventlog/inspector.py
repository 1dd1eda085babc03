"""Opens the log in each folder named on standard input, reads it whole, appends one record, prints what it saw.

It runs as a child, so that a damaged file that killed the process would be seen to.
"""

import json
import sys
from typing import Any

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.lmdb import LmdbLog, open_lmdb
from isotherm.eventlog.port import Record


def look(log: LmdbLog) -> dict[str, Any]:
    found: list[list[Any]] = []
    while part := log.read(0, found[-1][0] + 1 if found else 0):
        found += [[stored.offset, stored.value.decode()] for stored in part]
    head = log.head(0)
    again = [record_of(text) for _, text in found]
    repeated = sum(position is not None for position in log.append(again))
    (new,) = log.append([Record("k", b"new", 1, b"new record's id!")])
    assert new is not None
    return {
        "records": found,
        "head": head,
        "repeated": repeated,
        "new": [new.offset, log.read(0, new.offset)[0].value.decode()],
        "set_aside": log.status().set_aside,
        "consumers": log.status().consumers,
    }


def record_of(text: str) -> Record:
    return Record("k", text.encode(), 1, int(text.split()[0]).to_bytes(16, "big"))


def main() -> None:
    settings = Settings().model_copy(update={"disk_reserve_bytes": 0, "log_segment_bytes": int(sys.argv[1])})
    for folder in sys.stdin.read().splitlines():
        try:
            log = open_lmdb(f"lmdb://{folder}", settings, SystemClock())
            seen = look(log)
            log.close()
        except IsothermError as error:
            seen = {"error": str(error)}
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
