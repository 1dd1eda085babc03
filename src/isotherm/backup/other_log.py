"""Putting a backup's records on a log that is not the one they came from, whatever that log holds already.

A deployment that is replaced keeps its log. What it had landed of it goes with its lake, so its positions stay; what
waits above them is landed into what is restored. Some of that may be in the restored lake already: records that an
earlier restore put there, and that the backup's own deployment has landed since. They are told by their ids.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from hashlib import blake2b

from msgspec.structs import replace

from isotherm.backup import records
from isotherm.config import Settings
from isotherm.eventlog.port import ID_BYTES, EventLog, Record

_PIECE_BYTES = 32 << 20


class OtherLog:
    """One log that is restored into. A restore that was killed does all of this again: everything lands once."""

    def __init__(self, log: EventLog, settings: Settings, positions: Mapping[int, int]) -> None:
        """`positions`: up to where the replaced deployment had landed the log, by partition."""
        self._log = log
        self._settings = settings
        self._positions = positions
        self._before = self._heads()
        self._known: dict[bytes, bytes] = {}

    def put(self, found: Sequence[Record]) -> int:
        """Append records; returns how many are new. Those that the log knows already are kept in mind."""
        known = records.refused(self._log, found)
        self._known |= {content(one.timestamp, one.value): one.id or b"" for one in known}
        return len(found) - len(known)

    def missing(self) -> Container[bytes]:
        """Of what the log knew already, the contents that do not wait there: they were landed into the lake that is
        replaced, or the log was only told their ids."""
        if not self._known:
            return ()
        ids, wanted = set[bytes](), set(self._known.values())
        missing = dict(self._known)
        for one in self._waiting(self._heads()):
            missing.pop(content(one.stored.timestamp, one.stored.value), None)
            if one.id in wanted:
                ids.add(one.id)
        return {mine for mine, one in missing.items() if one not in ids}

    def put_again(self, found: Sequence[Record], missing: Container[bytes]) -> int:
        """Append those of the records that are missing, without their ids, which the log would refuse."""
        chosen = [replace(one, id=None) for one in found if content(one.timestamp, one.value) in missing]
        return records.append(self._log, chosen)

    def without(self, landed: Container[bytes]) -> Mapping[int, int]:
        """The positions to land from, so that nothing is landed that has one of these ids.

        Where something with such an id waits, all else that waits is appended once more, and landing begins there.
        Landing itself does so for a log that keeps no ids.
        """
        if not self._log.knows_ids or not any(one.id in landed for one in self._waiting(self._before)):
            return self._positions
        heads = self._heads()
        done: set[bytes] = set()
        held: list[Record] = []
        size = 0
        for one in self._waiting(heads):
            mine = content(one.stored.timestamp, one.stored.value)
            if one.id in landed or mine in done:
                # The second is of an attempt that was killed after this.
                continue
            done.add(mine)
            held.append(Record(one.key, one.stored.value, one.stored.timestamp, None))
            size += len(one.stored.value)
            if size >= _PIECE_BYTES:
                records.append(self._log, held)
                held, size = [], 0
        records.append(self._log, held)
        return heads

    def _heads(self) -> Mapping[int, int]:
        return self._log.heads(list(self._log.partitions()))

    def _waiting(self, heads: Mapping[int, int]) -> Iterator[records.Named]:
        """The records above the positions, below these heads, but those that only make an id known."""
        identity = self._log.identity
        for partition, head in heads.items():
            for stored in records.unlanded(self._log, partition, self._positions.get(partition, 0), head):
                if stored.value != records.mark_value(stored.timestamp):
                    yield records.name_record(stored, identity, self._settings)


def content(timestamp: int, value: bytes) -> bytes:
    """A record by what is in it, which is the same on every log."""
    return blake2b(value, digest_size=ID_BYTES, key=timestamp.to_bytes(8, "big", signed=True)).digest()
