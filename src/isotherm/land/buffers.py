"""What the lander holds between reading and landing, per partition, and how it tells how far it is."""

from collections.abc import Sequence

from msgspec import Struct

from isotherm.eventlog.port import Stored
from isotherm.land.columns import Decoded, decode_records


class Gap(Struct, frozen=True):
    """Records [first, last] that the log no longer had when the lander came for them."""

    partition: int
    first: int
    last: int
    noticed_at: int


class PartitionStatus(Struct, frozen=True):
    """`next_offset` is the first that is not landed; `lag` counts records up to the head."""

    partition: int
    next_offset: int
    head: int
    lag: int


class LanderStatus(Struct, frozen=True):
    """A picture of the lander. Times are in ms; `oldest_unlanded_ms` is an age, 0 when all is landed.

    All partitions are told of, `assigned` are those that this lander reads. `retention_ms` says after which time the
    log deletes records whether they are landed or not; None: never.
    """

    partitions: list[PartitionStatus]
    assigned: list[int]
    lag: int
    oldest_unlanded_ms: int
    retention_ms: int | None
    last_landing_at: int | None
    last_error: str | None
    last_error_at: int | None
    gaps: list[Gap]


class Buffer(Struct):
    """Records of one partition that are decoded and not yet landed: [first, next). Times are in ms.

    `since` says when reading began, `oldest` and `newest` when the records were received.
    """

    first: int
    next: int
    decoded: list[Decoded]
    bytes: int = 0
    since: int = 0
    oldest: int | None = None
    newest: int | None = None

    def take(self, records: Sequence[Stored], now_ms: int) -> Decoded:
        """Decode records that follow what is here."""
        if not self.decoded:
            self.since = now_ms
        decoded = decode_records(records)
        times = [tally.received_at for tally in decoded.tallies]
        self.oldest = min(times if self.oldest is None else [self.oldest, *times])
        self.newest = max(times if self.newest is None else [self.newest, *times])
        self.decoded.append(decoded)
        self.bytes += sum(len(record.value) for record in records)
        self.next = records[-1].offset + 1
        return decoded


def by_partition(records: Sequence[Stored]) -> dict[int, list[Stored]]:
    """The records of each partition, in their order."""
    found: dict[int, list[Stored]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return found
