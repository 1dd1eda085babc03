"""2. The append-only log between the collector and everything that reads events.

`port.py` says what a log is and picks an adapter by URL scheme: `memory.py` (tests), `lmdb.py` (the embedded
profile) or `kafka.py` (at scale; with `kafka_client.py`, `kafka_topic.py`, `kafka_writer.py`, `kafka_reader.py` and
`kafka_group.py`).
Around `lmdb.py` stand: `folder.py` (marker, locks, names), `segment.py` (one LMDB file), `frame.py` (one
group commit as bytes), `writer.py`, `reader.py`, `known.py` (ids of the last day), `gate.py` (back-pressure),
`keeper.py` (retention) and `salvage.py` (checks at start, and what becomes of a damaged file).
"""
