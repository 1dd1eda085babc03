"""A log in memory, `memory://`, for tests: the rules of the others, and nothing survives the process."""

from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from uuid import uuid4

from isotherm.clock import DAY_MS, Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.gate import limit_of
from isotherm.eventlog.port import (
    MAX_RECORD_BYTES,
    LogStatus,
    Position,
    Record,
    Segment,
    Stored,
    check_commit,
    check_records,
)

_OVERHEAD_BYTES = 64


class MemoryLog:
    """An EventLog as a list. Records expire one by one, each when its age and all consumers allow."""

    def __init__(self, url: str, settings: Settings, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._max_bytes = settings.log_max_bytes
        self._retention_ms = max(settings.log_retention_days * DAY_MS, DAY_MS)
        self._full_ms = self._retention_ms if settings.of_dead_letters else DAY_MS
        self._limit = limit_of(dead=settings.of_dead_letters)
        self._identity = str(uuid4())
        self._lock = Lock()
        self._records: list[Record] = []
        self._tail = 0
        self._bytes = 0
        self._ids: dict[bytes, int] = {}
        self._consumers: dict[str, int] = {}
        self._closed = False

    @property
    def max_record_bytes(self) -> int:
        return MAX_RECORD_BYTES

    @property
    def knows_ids(self) -> bool:
        return True

    @property
    def retention_ms(self) -> int | None:
        return None

    @property
    def identity(self) -> str:
        return self._identity

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        check_records(records)
        with self._lock:
            self._check_open()
            if records:
                self._check_limit()
            return [self._append_one(record) for record in records]

    def _append_one(self, record: Record) -> Position | None:
        if record.id is not None and record.id in self._ids:
            return None
        if record.id is not None:
            self._ids[record.id] = record.timestamp
        self._records.append(record)
        self._bytes += _size(record)
        return Position(0, self._head - 1)

    @property
    def _head(self) -> int:
        return self._tail + len(self._records)

    def partitions(self) -> Sequence[int]:
        return (0,)

    def assigned(self, consumer: str) -> Sequence[int]:
        return self.partitions()

    def read(
        self, partition: int, offset: int, *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        self._check_open(partition)
        found = list[Stored]()
        with self._lock:
            start = max(offset - self._tail, 0)
            for at, record in enumerate(self._records[start : start + max_records], self._tail + start):
                max_bytes -= len(record.value)
                if max_bytes < 0 and found:
                    break
                found.append(Stored(0, at, record.timestamp, record.value))
        return found

    def head(self, partition: int) -> int:
        self._check_open(partition)
        with self._lock:
            return self._head

    def read_some(
        self, consumer: str, positions: Mapping[int, int], *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        limits = {"max_records": max_records, "max_bytes": max_bytes}
        return [stored for partition, offset in positions.items() for stored in self.read(partition, offset, **limits)]

    def heads(self, partitions: Sequence[int]) -> dict[int, int]:
        return {partition: self.head(partition) for partition in partitions}

    def commit(self, consumer: str, partition: int, offset: int) -> None:
        self._check_open(partition)
        check_commit(consumer, offset)
        with self._lock:
            self._consumers[consumer] = offset

    def healthy(self) -> None:
        self._check_open()
        self._check_limit()

    def expire(self, now_ms: int, landed: Mapping[int, int]) -> list[str]:
        self._check_open()
        with self._lock:
            floor = min(landed.get(0, 0), min(self._consumers.values(), default=0))
            return self._expire(now_ms, floor)

    def _expire(self, now_ms: int, floor: int) -> list[str]:
        first = self._tail
        while self._records and self._tail < floor:
            age_ms = self._full_ms if self._bytes >= self._max_bytes else self._retention_ms
            if self._records[0].timestamp >= now_ms - age_ms:
                break
            record = self._records.pop(0)
            self._bytes -= _size(record)
            self._tail += 1
            if record.id is not None:
                del self._ids[record.id]
        return [f"memory-{first}-{self._tail}"] if self._tail > first else []

    def ids_since(self, since_ms: int) -> Iterator[tuple[int, bytes]]:
        self._check_open()
        with self._lock:
            found = [(timestamp, one) for one, timestamp in self._ids.items() if timestamp >= since_ms]
        return iter(found)

    def status(self) -> LogStatus:
        self._check_open()
        with self._lock:
            times = [record.timestamp for record in self._records]
            span = min(times, default=None), max(times, default=None)
            segment = Segment("memory", 0, self._tail, self._head, self._bytes, *span, sealed=False)
            consumers = {name: {0: offset} for name, offset in self._consumers.items()}
            return LogStatus(
                self._url, {0: self._head}, {0: self._tail}, self._bytes, self._max_bytes, consumers, [segment], []
            )

    def close(self) -> None:
        self._closed = True

    def _check_open(self, partition: int = 0) -> None:
        if self._closed:
            raise ValueError("the event log is closed")
        if partition != 0:
            raise ValueError(f"this log has one partition, 0, not {partition}")

    def _check_limit(self) -> None:
        if self._bytes >= self._max_bytes:
            raise Backpressure(
                f"the event log holds {self._bytes} bytes, its limit ({self._limit}) is {self._max_bytes}"
            )


def _size(record: Record) -> int:
    return len(record.value) + _OVERHEAD_BYTES


def open_memory(url: str, settings: Settings, clock: Clock) -> MemoryLog:
    """A new, empty log."""
    return MemoryLog(url, settings, clock)
