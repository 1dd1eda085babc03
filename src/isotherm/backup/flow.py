"""Bytes on their way: hashed while they are read, and no faster than allowed."""

import hashlib
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, Final, TypeVar

from isotherm.backup.inventory import Damaged

PIECE: Final = 1 << 20
A = TypeVar("A")
B = TypeVar("B")


class Rate:
    """At most so many bytes a second, all threads together; None: no limit. Waiting is done by whoever spends."""

    def __init__(
        self,
        bytes_per_s: float | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if bytes_per_s is not None and bytes_per_s <= 0:
            raise ValueError(f"a rate is above 0 bytes a second, not {bytes_per_s}")
        self._bytes_per_s = bytes_per_s
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = now()

    def spend(self, count: int) -> None:
        """Return when `count` more bytes may have been moved."""
        if self._bytes_per_s is None or not count:
            return
        with self._lock:
            self._free_at = max(self._free_at, self._now()) + count / self._bytes_per_s
            wait = self._free_at - self._now()
        if wait > 0:
            self._sleep(wait)


class Checked(io.RawIOBase):
    """A file that is read once from start to end, and must have this length and SHA-256.

    The last byte is not handed out before the hash is right: whoever copies such a file to a place that takes whole
    objects only leaves nothing there when it is damaged. Raises Damaged, naming `where`.
    """

    def __init__(self, file: BinaryIO, size: int, sha256: str, where: str, rate: Rate | None = None) -> None:
        self._file = file
        self._size = size
        self._sha256 = sha256
        self._where = where
        self._rate = rate or Rate()
        self._digest = hashlib.sha256()
        self._read = 0
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Only to ask for the size: reading goes on where it was, or fails."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """As all files do; without a size, or a negative one, to the end."""
        return self._next(size) if size is not None and size >= 0 else self.readall()

    def _next(self, size: int) -> bytes:
        """At most so many bytes more, hashed, without another copy of them."""
        if self._at != self._read:
            raise io.UnsupportedOperation("a checked file is read from start to end")
        data = self._file.read(min(size, PIECE, self._size - self._read + 1)) if size else b""
        self._read += len(data)
        self._at = self._read
        self._digest.update(data)
        if self._read > self._size or (not data and self._read < self._size and size):
            raise Damaged(f"{self._where} should have {self._size:,} bytes and has {self._has()}")
        if self._read == self._size and data and self._digest.hexdigest() != self._sha256:
            raise Damaged(f"{self._where} holds other bytes than were written: their SHA-256 is another one")
        self._rate.spend(len(data))
        return data

    def _has(self) -> str:
        return "more" if self._read > self._size else f"{self._read:,}"


def measure(file: BinaryIO, rate: Rate) -> tuple[str, int]:
    """SHA-256 and length of what is in the file from its start."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while data := file.read(PIECE):
        digest.update(data)
        size += len(data)
        rate.spend(len(data))
    return digest.hexdigest(), size


def at_once(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """`map` by some threads, in order. The first error ends it: what was not begun is not begun any more."""
    with ThreadPoolExecutor(threads, thread_name_prefix="backup") as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
