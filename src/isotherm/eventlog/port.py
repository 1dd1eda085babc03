"""What an event log is. Adapters stand beside this file; `open_log` picks one by URL scheme.

Words
-----
offset        the position of a record within its partition: 0, 1, 2, ... without gaps. A consumer's offset is
              the offset of the *next* record it wants.
head          the offset the next appended record of the partition will get.
acknowledged  `append` has returned: the record is on disk and survives `kill -9` and power loss.
committed     a consumer has told the log that it no longer needs records below an offset. The lander resumes
              from the lake's manifest, never from here; committed offsets show lag and permit deletion.
lag           head minus committed, in records.
identity      a name the log got when it was created and keeps for good: offsets of another log mean nothing here.
known id      a record id that was appended in the last 24 hours (or longer); appending it again stores nothing.
              A log that does not keep ids (`knows_ids` is False) stores it again: landing drops it then.
assigned      the partitions that this process should read for a consumer now; other processes read the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from isotherm.adapters import Adapters, adapter
from isotherm.clock import Clock
from isotherm.config import Settings

ID_BYTES: Final = 16
MAX_RECORD_BYTES: Final = 2 << 20
MAX_APPEND_RECORDS: Final = 1 << 16
MAX_APPEND_BYTES: Final = 256 << 20
CONSUMER_BYTES: Final = 256


class Record(Struct, frozen=True):
    """What a producer appends.

    `key` orders: records of one key keep their order. `value` is the envelope, at most `max_record_bytes`.
    `timestamp` is received_at in milliseconds since the epoch. `id` (16 bytes) makes the append idempotent;
    None for records that carry counts only.
    """

    key: str
    value: bytes
    timestamp: int
    id: bytes | None = None


class Stored(NamedTuple):
    """What a consumer reads."""

    partition: int
    offset: int
    timestamp: int
    value: bytes


class Position(NamedTuple):
    """Where an appended record stands."""

    partition: int
    offset: int


class Segment(Struct, frozen=True):
    """One file of the log; `last` is exclusive. Times are the records' timestamps in milliseconds."""

    name: str
    partition: int
    first: int
    last: int
    bytes: int
    first_timestamp: int | None
    last_timestamp: int | None
    sealed: bool


class LogStatus(Struct, frozen=True):
    """A picture of the log. `consumers` maps a consumer's name to its committed offset per partition.

    `bytes` and `max_bytes` are 0 where the log cannot say.
    """

    url: str
    head: dict[int, int]
    tail: dict[int, int]
    bytes: int
    max_bytes: int
    consumers: dict[str, dict[int, int]]
    segments: list[Segment]
    set_aside: list[str]

    def lag(self, consumer: str) -> int:
        """Records the consumer has not committed, over all partitions."""
        done = self.consumers.get(consumer, {})
        return sum(head - done.get(p, self.tail.get(p, 0)) for p, head in self.head.items())


def check_records(records: Sequence[Record]) -> None:
    """Raises ValueError for a call that no adapter takes."""
    sizes = [len(record.value) for record in records]
    if len(records) > MAX_APPEND_RECORDS or sum(sizes) > MAX_APPEND_BYTES:
        raise ValueError(f"one append takes {MAX_APPEND_RECORDS} records and {MAX_APPEND_BYTES} bytes; split it")
    if max(sizes, default=0) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {max(sizes)} bytes is longer than max_record_bytes ({MAX_RECORD_BYTES})")
    if not {len(record.id) for record in records if record.id is not None} <= {ID_BYTES}:
        raise ValueError(f"a record's id has {ID_BYTES} bytes")


def check_commit(consumer: str, offset: int) -> None:
    """Raises ValueError for a consumer's name or an offset that cannot be."""
    if not 0 < len(consumer.encode()) <= CONSUMER_BYTES:
        raise ValueError(f"a consumer's name has 1 to {CONSUMER_BYTES} bytes, not {len(consumer.encode())}")
    if offset < 0:
        raise ValueError(f"an offset is not negative: {offset}")


class EventLog(Protocol):
    """An append-only log. All methods block and may be called from any thread; several processes may append."""

    @property
    def max_record_bytes(self) -> int: ...

    @property
    def identity(self) -> str:
        """A UUID; whoever remembers offsets elsewhere remembers it with them."""
        ...

    @property
    def knows_ids(self) -> bool:
        """True: a known id is refused at append. False: everything is stored, duplicates are decided at landing."""
        ...

    @property
    def retention_ms(self) -> int | None:
        """Records are deleted after this time whether they are landed or not; None: what is not landed stays."""
        ...

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        """Make all records durable with one fsync; return their positions in order.

        None stands for a record whose id is known, also from an earlier record of the same call: it is not
        stored again. Either all new records become durable or none.
        Raises Backpressure when the log is full, its disk nearly so, or a commit cannot be made now; nothing
        was appended then. A failed commit makes every later append of this process raise it.
        Raises ValueError for an id that has not 16 bytes, a record above `max_record_bytes`, and a call with more
        than 65,536 records or 256 MiB.
        """
        ...

    def partitions(self) -> Sequence[int]: ...

    def assigned(self, consumer: str) -> Sequence[int]:
        """The partitions this process should read for `consumer` now: all, unless several processes share the work.

        Advice that saves work, never a lock: two processes may believe for a while to have the same partition.
        """
        ...

    def read(
        self, partition: int, offset: int, *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        """Records from `offset` on, in order; empty at the head. At least one record is returned if there is one.

        If records from `offset` on were deleted or lost with a damaged segment, reading goes on at the first
        record that is there: the caller sees the jump in `Stored.offset`.
        """
        ...

    def read_some(
        self, consumer: str, positions: Mapping[int, int], *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        """`read` of several partitions at once, for a consumer that follows the log: `positions` has its offsets.

        Records of whichever of these partitions have some, in order within a partition. Empty when all are at their
        heads; otherwise at least one record. What a consumer asks for next is fetched ahead, so consumers with
        different positions use different names.
        """
        ...

    def head(self, partition: int) -> int: ...

    def heads(self, partitions: Sequence[int]) -> dict[int, int]:
        """The heads of these partitions at one moment, with one question to the log."""
        ...

    def commit(self, consumer: str, partition: int, offset: int) -> None:
        """Remember that `consumer` needs nothing below `offset`; moving backwards is allowed."""
        ...

    def healthy(self) -> None:
        """Return when the log can take a write now; raise Backpressure with the reason otherwise."""
        ...

    def expire(self, now_ms: int, landed: Mapping[int, int]) -> list[str]:
        """Delete what retention allows: never a record that some consumer has not committed, never before every
        id in it is 24 h old. A log without consumers deletes nothing. Returns the names of what was deleted. At its
        size limit a log deletes what is 24 h old before its days are over; the log of dead letters never does.

        The log does not know of a consumer that has not committed yet, or whose offsets were lost. So nothing goes
        either that stands at `landed` or above, by partition; a partition that is not there keeps everything.
        """
        ...

    def ids_since(self, since_ms: int) -> Iterator[tuple[int, bytes]]:
        """Ids of what was appended since then or a little earlier: (a timestamp among theirs, joined ids), in groups.

        Nothing where the log keeps no ids.
        """
        ...

    def status(self) -> LogStatus: ...

    def close(self) -> None: ...


Opener = Callable[[str, Settings, Clock], EventLog]

ADAPTERS: Final[Adapters] = {
    "memory": ("isotherm.eventlog.memory:open_memory", ""),
    "lmdb": ("isotherm.eventlog.lmdb:open_lmdb", ""),
    "kafka": ("isotherm.eventlog.kafka:open_kafka", "kafka"),
}


def open_dead_log(settings: Settings, clock: Clock) -> EventLog:
    """Open the log of dead letters that belongs to the event log of these settings; raises as `open_log`."""
    return open_log(settings.for_dead_letters(), clock)


def open_log(settings: Settings, clock: Clock) -> EventLog:
    """Open the log that `settings.log` names.

    Raises ConfigError for an unknown scheme or a folder that cannot be used; the message says what to do.
    """
    url = settings.url("log")
    opener: Opener = adapter("log", url, ADAPTERS)
    return opener(url, settings, clock)
