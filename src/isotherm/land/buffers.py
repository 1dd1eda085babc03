"""What the lander holds between reading and landing, per partition, and how it tells how far it is."""

from collections.abc import Sequence

from msgspec import Struct

from isotherm.eventlog.port import Stored
from isotherm.land import poison
from isotherm.land.columns import Decoded
from isotherm.land.landing import Gap


class PartitionStatus(Struct, frozen=True):
    """`next_offset` is the first that is not landed; `lag` counts records up to the head."""

    partition: int
    next_offset: int
    head: int
    lag: int


class LanderStatus(Struct, frozen=True):
    """A picture of the lander. Times are in ms; `oldest_unlanded_ms` is an age, 0 when all is landed.

    All partitions are told of, `assigned` are those that this lander reads. `retention_ms` says after which time the
    log deletes records whether they are landed or not; None: never. `gaps` are the newest of all times, of any lander.
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

    `since` says when reading began, `oldest` and `newest` when the records were received, `gaps` what was passed, and
    `failed` what landing said of records that it failed at, by offset.
    """

    first: int
    next: int
    decoded: list[Decoded]
    bytes: int = 0
    since: int = 0
    oldest: int | None = None
    newest: int | None = None
    gaps: list[Gap] = []
    failed: dict[int, str] = {}

    def take(self, records: Sequence[Stored], now_ms: int) -> Decoded:
        """Decode records that follow what is here; where offsets are left out, the log has lost records."""
        if self.next == self.first:
            self.since = now_ms
        for record in records:
            self.lose(record.partition, record.offset, now_ms)
            self.next = record.offset + 1
        decoded = poison.decode(records)
        times = [tally.received_at for tally in decoded.tallies]
        self.oldest = min(times if self.oldest is None else [self.oldest, *times])
        self.newest = max(times if self.newest is None else [self.newest, *times])
        self.decoded.append(decoded)
        self.bytes += sum(len(record.value) for record in records)
        return decoded

    def lose(self, partition: int, until: int, now_ms: int) -> None:
        """Pass what the log has lost before the offset `until`, if that is anything."""
        if until <= self.next:
            return
        if self.next == self.first:
            self.since = now_ms
        self.gaps.append(Gap(partition, self.next, until - 1, now_ms))
        self.next = until


def by_partition(records: Sequence[Stored]) -> dict[int, list[Stored]]:
    """The records of each partition, in their order."""
    found: dict[int, list[Stored]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return found
