"""Large files are written out piece by piece, so that the disk never owes much at once.

Otherwise the kernel collects what is written, and whoever asks for durability next, such as the log before an answer,
waits for all of it: a file system that keeps data in order writes it before it commits.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any, BinaryIO, Final

PIECE: Final = 4 << 20
COPY: Final = 1 << 20
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Of sync_file_range(2)."""
_CANNOT: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ESPIPE, errno.EPERM, errno.EOPNOTSUPP})

WriteOut = Callable[[int, int, int, int], None]
"""(descriptor, offset, bytes, flags)"""


def _found() -> WriteOut | None:
    """sync_file_range of the C library; None where there is none."""
    try:
        call: Any = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def write_out(fd: int, offset: int, count: int, flags: int) -> None:
        """Raises OSError when the disk refuses; a file system that has no such thing is no error."""
        if call(fd, offset, count, flags) != 0 and (why := ctypes.get_errno()) not in _CANNOT:
            raise OSError(why, os.strerror(why))

    return write_out


_write_out: Final = _found()


def copy_steadily(source: BinaryIO, file: BinaryIO, write_out: WriteOut | None = _write_out) -> None:
    """Copy what is left of `source` into a new file: at most two pieces of it are on their way to the disk.

    Not durable without an fsync. Raises OSError.
    """
    written = piece = 0
    while data := source.read(COPY):
        file.write(data)
        written += len(data)
        if write_out is None or written - piece < PIECE:
            continue
        file.flush()
        write_out(file.fileno(), piece, written - piece, _WRITE)
        if piece:
            write_out(file.fileno(), 0, piece, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
        piece = written
    file.flush()
