"""Records as the collector wrote them, kept in a file, so that a floor handles the very same bytes."""

from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import open_log
from isotherm.events import record_id, record_key


class Sample(NamedTuple):
    """One record: its key, its value, the batch id that stands in the value, and its events."""

    key: str
    value: bytes
    client_id: str
    batch_id: str
    events: int

    def renamed(self, number: int) -> "Sample":
        """The same record as another batch; ids have one length, so all else stays."""
        name = f"{number:0{len(self.batch_id)}d}"
        return self._replace(value=self.value.replace(self.batch_id.encode(), name.encode()), batch_id=name)

    @property
    def id(self) -> bytes:
        """What the collector puts in the record's header."""
        return record_id(self.client_id, self.batch_id)


def keep(settings: Settings, count: int, file: Path) -> None:
    """Write up to `count` records of the log to the file, in no order. Raises IsothermError when there are none."""
    log = open_log(settings, SystemClock())
    try:
        found: list[Sample] = []
        partitions = log.partitions()
        for partition in partitions:
            # As many of each: all partitions have work then, as they have with the load.
            records = log.read(partition, 0, max_records=count // len(partitions))
            found += [_sample(stored.value) for stored in records]
    finally:
        log.close()
    if not found:
        raise IsothermError("bench: the collector wrote no records")
    Random(1).shuffle(found)
    file.write_bytes(msgspec.msgpack.encode(found))


def load(file: Path) -> list[Sample]:
    """What `keep` wrote."""
    return msgspec.msgpack.decode(file.read_bytes(), type=list[Sample])


def _sample(value: bytes) -> Sample:
    envelope = msgspec.json.decode(value)
    client_id, batch_id = envelope["client_id"], envelope["batch_id"]
    key = record_key(client_id, envelope["screen_id"])
    return Sample(key, value, client_id, batch_id, len(envelope["batch"]["events"]))
