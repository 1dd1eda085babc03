"""holder.py SEGMENT FOLDER: begins a write transaction on the segment and never ends it."""

import sys
from pathlib import Path

import lmdb

path = Path(sys.argv[2], sys.argv[1])
with lmdb.open(str(path), subdir=False, create=False, map_size=1 << 30).begin(write=True):
    print("holding", flush=True)
    sys.stdin.read()
