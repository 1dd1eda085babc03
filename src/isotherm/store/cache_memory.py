"""The cache of one process: a dictionary with a limit in bytes; what was not used for longest goes first."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from isotherm.clock import Clock
from isotherm.errors import ConfigError

MAX_BYTES: Final = 64 << 20
_ENTRY_BYTES: Final = 200
"""What an entry costs besides its name and value, about."""

Kind = Literal["value", "counter"]
Content = bytes | int
_KINDS: Final[tuple[Kind, ...]] = ("value", "counter")


@dataclass(slots=True)
class _Entry:
    content: Content
    ends_at: int
    size: int


def open_cache(url: str, clock: Clock) -> "MemoryCache":
    """`memory://` or `memory://?max_bytes=N`. Raises ConfigError for anything else."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    size = options.pop("max_bytes", str(MAX_BYTES))
    if options or parts.netloc or parts.path.strip("/") or not size.isdecimal():
        raise ConfigError(f"cache: {url!r} is not usable; write memory:// or memory://?max_bytes=BYTES")
    return MemoryCache(clock, int(size))


class MemoryCache:
    """See `isotherm.store.cache.Cache`. An entry larger than an eighth of the limit is not kept."""

    def __init__(self, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[Kind, str], _Entry] = OrderedDict()
        self._bytes = 0

    def add(self, names: Sequence[str], ttl_ms: int) -> list[bool]:
        with self._lock:
            absent: list[bool] = []
            for name in names:
                absent.append(self._find("value", name) is None)
                if absent[-1]:
                    self._set("value", name, b"", self._ends_at(ttl_ms))
            return absent

    def known(self, names: Sequence[str]) -> list[bool]:
        with self._lock:
            return [self._find("value", name) is not None for name in names]

    def get(self, names: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            found = [self._find("value", name) for name in names]
        return [entry.content if entry is not None and isinstance(entry.content, bytes) else None for entry in found]

    def put(self, values: Mapping[str, bytes], ttl_ms: int) -> bool:
        with self._lock:
            for name, value in values.items():
                self._set("value", name, bytes(value), self._ends_at(ttl_ms))
        return True

    def increase(self, name: str, by: int, ttl_ms: int) -> int | None:
        with self._lock:
            entry = self._find("counter", name)
            before = entry.content if entry is not None and isinstance(entry.content, int) else 0
            self._set("counter", name, before + by, entry.ends_at if entry else self._ends_at(ttl_ms))
            return before + by

    def delete(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                for kind in _KINDS:
                    self._drop((kind, name))

    def problem(self) -> str | None:
        return None

    def close(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return self._bytes

    def _ends_at(self, ttl_ms: int) -> int:
        return self._clock.now_ms() + ttl_ms

    def _find(self, kind: Kind, name: str) -> _Entry | None:
        key = (kind, name)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.ends_at <= self._clock.now_ms():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _set(self, kind: Kind, name: str, content: bytes | int, ends_at: int) -> None:
        size = len(name) + _ENTRY_BYTES + (len(content) if isinstance(content, bytes) else 0)
        self._store((kind, name), _Entry(content, ends_at, size))

    def _store(self, key: tuple[Kind, str], entry: _Entry) -> None:
        self._drop(key)
        if entry.size > self._max_bytes // 8:
            return
        self._entries[key] = entry
        self._bytes += entry.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[Kind, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
