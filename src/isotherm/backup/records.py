"""What the event log holds beyond the lake: records that are not landed yet, and the ids that must not count twice."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import BinaryIO, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from isotherm.backup.inventory import Damaged
from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.config import Settings
from isotherm.eventlog.port import ID_BYTES, EventLog, Record, Stored
from isotherm.events import FLAG_IMPORT, Counts, encode_envelope, hour_of, record_id, record_key, slice_id

PIECE_BYTES: Final = 32 << 20
KNOWN_MS: Final = DAY_MS + HOUR_MS
"""Ids are kept so long: a sender comes again for a day at most."""
MARK_CLIENT: Final = "restored"
"""Client of the records without events that make ids known to a log again."""
_AT_ONCE: Final = 4_096
_APPEND_BYTES: Final = 32 << 20
_SCHEMA: Final = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.int64()),
        ("key", pa.string()),
        ("id", pa.binary(ID_BYTES)),
        ("value", pa.large_binary()),
    ]
)


class Named(NamedTuple):
    """A record as it was on the log, with the key and the id that it was appended with, as far as its bytes say."""

    stored: Stored
    key: str
    id: bytes


class _Facts(msgspec.Struct):
    client_id: str
    screen_id: str
    batch_id: str
    counts: Counts
    flags: list[str] = []
    batch: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Facts)


def name_record(stored: Stored, identity: str, settings: Settings) -> Named:
    """The record's key and id, as the collector made them.

    A record without events has no id of its own; it gets one from its place, so that it too is put back only once. So
    do records of imports and replays: several of them may belong to one batch, and landing compares their rows.
    """
    place = place_id(identity, stored)
    try:
        facts = _decoder.decode(stored.value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Named(stored, "", place)
    by_client = settings.log_key == "client"
    key = facts.client_id if by_client else record_key(facts.client_id, facts.screen_id)
    if bytes(facts.batch) in (b"", b"null") or FLAG_IMPORT in facts.flags:
        return Named(stored, key, place)
    hours = list(facts.counts.accepted)
    if settings.log_timestamp == "event" and len(hours) == 1 and hours[0].isdecimal():
        return Named(stored, key, slice_id(facts.client_id, facts.batch_id, int(hours[0])))
    return Named(stored, key, record_id(facts.client_id, facts.batch_id))


def place_id(identity: str, stored: Stored) -> bytes:
    """An id for a record by where it stands."""
    own = f"{identity}\0{stored.partition}\0{stored.offset}".encode()
    return blake2b(own, digest_size=ID_BYTES, person=b"place").digest()


def unlanded(log: EventLog, partition: int, position: int, head: int) -> Iterator[Stored]:
    """The records [position, head) of a partition that the log still has."""
    at = position
    while at < head:
        found = log.read(partition, at, max_records=10_000, max_bytes=16 << 20)
        if not found:
            return
        for stored in found:
            if stored.offset >= head:
                return
            yield stored
        at = found[-1].offset + 1


def pieces(records: Iterator[Named], open_file: Callable[[], BinaryIO]) -> Iterator[tuple[BinaryIO, int]]:
    """Files with these records, each with how many it has."""
    held: list[Named] = []
    size = 0
    for one in records:
        held.append(one)
        size += len(one.stored.value)
        if size >= PIECE_BYTES:
            yield _write(held, open_file()), len(held)
            held, size = [], 0
    if held:
        yield _write(held, open_file()), len(held)


def _write(held: Sequence[Named], file: BinaryIO) -> BinaryIO:
    columns = [
        [one.stored.partition for one in held],
        [one.stored.offset for one in held],
        [one.stored.timestamp for one in held],
        [one.key for one in held],
        [one.id for one in held],
        [one.stored.value for one in held],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=_SCHEMA), file, compression="zstd", use_dictionary=False)
    return file


def read_records(file: BinaryIO, where: str) -> list[tuple[int, int, Record]]:
    """(Partition, offset, record to be appended) of a file. Raises Damaged."""
    try:
        table = pq.read_table(file, schema=_SCHEMA)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise Damaged(f"{where} is no file of records ({error})") from None
    names = ("partition", "offset", "key", "value", "timestamp", "id")
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return [(partition, offset, Record(*row)) for partition, offset, *row in rows]


def append(log: EventLog, records: Sequence[Record]) -> int:
    """Append records; returns how many are new on the log. Raises Backpressure when the log is full."""
    return len(records) - len(refused(log, records))


def refused(log: EventLog, records: Sequence[Record]) -> list[Record]:
    """Append records; returns those whose ids the log knew already. Raises Backpressure when the log is full."""
    known: list[Record] = []
    at = 0
    while at < len(records):
        until, size = at, 0
        while until < len(records) and until - at < _AT_ONCE and size < _APPEND_BYTES:
            size += len(records[until].value)
            until += 1
        some = records[at:until]
        known += [record for record, place in zip(some, log.append(some), strict=True) if place is None]
        at = until
    return known


def ids_by_hour(log: EventLog, since_ms: int) -> Iterator[tuple[str, bytes]]:
    """Ids that the log knows, by hour of receipt: (hour, sorted joined ids). The same as long as the hour is."""
    hours: dict[int, list[bytes]] = {}
    for timestamp, ids in log.ids_since(since_ms):
        hours.setdefault(hour_of(timestamp), []).append(ids)
    for hour, found in sorted(hours.items()):
        yield iso(hour), b"".join(sorted(cut(b"".join(found))))


def cut(ids: bytes) -> list[bytes]:
    """Joined ids, one by one. Raises Damaged when the last is cut off."""
    if len(ids) % ID_BYTES:
        raise Damaged(f"{len(ids)} bytes are no whole number of ids")
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def marks(ids: Sequence[bytes], received_at: int) -> list[Record]:
    """Records without events that make the ids known to a log."""
    value = mark_value(received_at)
    return [Record(MARK_CLIENT, value, received_at, one) for one in ids]


def mark_value(received_at: int) -> bytes:
    """What stands in such a record."""
    return encode_envelope(
        client_id=MARK_CLIENT,
        screen_id=MARK_CLIENT,
        batch_id="",
        received_at=received_at,
        skew_ms=0,
        flags=(),
        counts=Counts(),
    )
