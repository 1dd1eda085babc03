"""2. The append-only log between the collector and everything that reads events.

`port.py` says what a log is and picks an adapter by URL scheme: `memory.py` (tests) or `lmdb.py` (the embedded
profile). Around `lmdb.py` stand: `folder.py` (marker, locks, names), `segment.py` (one LMDB file), `frame.py` (one
group commit as bytes), `writer.py`, `reader.py`, `known.py` (ids of the last day), `gate.py` (back-pressure),
`keeper.py` (retention) and `salvage.py` (checks at start, and what becomes of a damaged file).
"""
