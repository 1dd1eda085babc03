"""The lake's files of a backup on their way back: several at once, each checked by its hash, made durable in groups.

A sync of every file by itself would make the disk wait between any two. A file that was not synced when the machine
died may be there and spoilt: nothing uses a deployment whose restore is not done, and the same restore, run again,
reads what it finds and puts in place anew what is not right.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Final, Protocol, runtime_checkable

from isotherm.backup.flow import Rate, at_once, measure
from isotherm.backup.inventory import Damaged, Entry
from isotherm.backup.target import Target
from isotherm.land.lake import Lake, checked
from isotherm.land.tiers import root_of

FILES_AT_ONCE: Final = 4
GROUP_BYTES: Final = 256 << 20
GROUP_FILES: Final = 1_000


@runtime_checkable
class Syncs(Protocol):
    """A lake that can put objects in place first and make many of them durable later."""

    def put_unsynced(self, path: str, data: BinaryIO) -> None: ...

    def sync(self, *paths: str) -> None: ...


def put_files(lake: Lake, target: Target, entries: Sequence[Entry]) -> Generator[Entry]:
    """Put these files into the lake, unless they are there whole; yields each when it is there.

    All are durable when the generator ends. One group is synced while the next is copied. Raises Damaged, before any is
    put, for a name that leads out of the lake.
    """
    for entry in entries:
        try:
            checked(entry.name)
        except ValueError as error:
            raise Damaged(
                f"the backup names a lake file that can be none ({error}); take another backup (--at)"
            ) from None
    there = dict(lake.list())

    def put(entry: Entry) -> Entry:
        _put(lake, target, entry, there.get(entry.name))
        return entry

    with ThreadPoolExecutor(1, thread_name_prefix="restore sync") as pool:
        syncing: Future[None] | None = None
        for group in groups(entries):
            yield from at_once(put, group, FILES_AT_ONCE)
            if syncing is not None:
                syncing.result()
            syncing = pool.submit(_sync, lake, group)
        if syncing is not None:
            syncing.result()


def groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries in order, in groups of `GROUP_BYTES` or `GROUP_FILES`, or of one file that is larger."""
    held: list[Entry] = []
    size = 0
    for entry in entries:
        held.append(entry)
        size += entry.bytes
        if size >= GROUP_BYTES or len(held) >= GROUP_FILES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _put(lake: Lake, target: Target, entry: Entry, there: int | None) -> None:
    """`there` are the bytes of what lies in its place; None: nothing."""
    if there == entry.bytes:
        with lake.open(entry.name) as file:
            if measure(file, Rate()) == (entry.sha256, entry.bytes):
                return
    if there is not None:
        lake.delete(entry.name)
    root = root_of(lake, entry.name)
    with target.opened(entry) as file:
        if isinstance(root, Syncs):
            root.put_unsynced(entry.name, file)
        else:
            root.put(entry.name, file)


def _sync(lake: Lake, group: Sequence[Entry]) -> None:
    """Those that were there already, too: whoever put them may have been killed before this."""
    by_root: dict[int, tuple[Lake, list[str]]] = {}
    for entry in group:
        root = root_of(lake, entry.name)
        by_root.setdefault(id(root), (root, []))[1].append(entry.name)
    for root, paths in by_root.values():
        if isinstance(root, Syncs):
            root.sync(*paths)
