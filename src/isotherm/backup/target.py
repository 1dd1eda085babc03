"""Where backups are kept: a folder or a bucket with objects by their hash, inventories, and signs of who is at work."""

import hashlib
import io
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError

from isotherm.backup.flow import Checked, Rate, measure
from isotherm.backup.inventory import (
    INVENTORIES,
    OBJECTS,
    SHA256,
    Damaged,
    Entry,
    Inventory,
    Named,
    decode_inventory,
    decode_list,
    encode_inventory,
    encode_list,
    inventory_path,
    named,
    object_path,
)
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.land.lake import Lake, LakeUnavailable, LocalPlace, Place, open_lake

IN_MEMORY: Final = 16 << 20
"""Up to this size an object that is needed as a whole is kept in memory, above it in a file without a name."""


class Known:
    """The objects that are at a place, and how much of them this process added. Any thread may use it."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes
        self._lock = threading.Lock()
        self.added_objects = 0
        self.added_bytes = 0

    def has(self, sha256: str, size: int) -> bool:
        """Whether the object is there, in its length."""
        return self._sizes.get(sha256) == size

    def add(self, sha256: str, size: int) -> None:
        with self._lock:
            if self._sizes.get(sha256) != size:
                self._sizes[sha256] = size
                self.added_objects += 1
                self.added_bytes += size


class Target:
    """Objects by their SHA-256, and the inventories that name them. Any thread may use it.

    Every method raises IsothermError when the place does not answer, refuses or is full; what was written stays there,
    and the next backup goes on from it.
    """

    def __init__(self, store: Lake, rate: Rate | None = None, scratch: Path | None = None) -> None:
        self._store = store
        self._rate = rate or Rate()
        self._scratch = scratch

    @property
    def where(self) -> str:
        """How a person finds it."""
        return self._store.where("")

    @property
    def place(self) -> Place:
        return self._store.place

    def known(self) -> Known:
        """The objects that are there now."""
        return Known(self.sizes())

    def sizes(self) -> dict[str, int]:
        """The objects that are there: SHA-256 -> bytes."""
        with self._plain():
            found = ((path.rpartition("/")[2], size) for path, size in self._store.list(f"{OBJECTS}/"))
            return {name: size for name, size in found if SHA256.fullmatch(name)}

    def keep(self, file: BinaryIO, known: Known, kind: str, name: str, *, rows: int = 0, mark: str = "") -> Entry:
        """Store the file's content unless `known` has it already, and add it there. Reads the file twice."""
        sha256, size = measure(file, self._rate)
        entry = Entry(kind, name, sha256, size, rows, mark)
        if not known.has(sha256, size):
            file.seek(0)
            self._put(object_path(sha256), Checked(file, size, sha256, f"{kind} {name}", self._rate), size)
            known.add(sha256, size)
        return entry

    def keep_bytes(self, data: bytes, known: Known, kind: str, name: str, *, rows: int = 0) -> Entry:
        """`keep` for what is in memory."""
        return self.keep(io.BytesIO(data), known, kind, name, rows=rows)

    def _put(self, path: str, file: io.RawIOBase, size: int) -> None:
        with self._plain():
            try:
                self._store.put(path, cast("BinaryIO", file))
            except FileExistsError:
                # Another backup was first; or what is there has another length, and nobody may go on with it.
                if dict(self._store.list(path.rpartition("/")[0] + "/")).get(path) != size:
                    raise Damaged(
                        f"{self._store.where(path)} is damaged; see `isotherm backup --verify`, and remove it so that "
                        "the next backup can write it again"
                    ) from None

    @contextmanager
    def opened(self, entry: Entry) -> Generator[BinaryIO]:
        """The object as a file that is read once, from start to end; Damaged when it is not what was written."""
        path = object_path(entry.sha256)
        where = f"{self._store.where(path)} ({entry.kind} {entry.name})"
        with self._plain():
            try:
                file = self._store.open(path)
            except FileNotFoundError:
                raise Damaged(f"{where} is missing") from None
        with file:
            guarded = cast("BinaryIO", _Guarded(file, self._plain))
            yield cast("BinaryIO", Checked(guarded, entry.bytes, entry.sha256, where, self._rate))

    @contextmanager
    def fetched(self, entry: Entry) -> Generator[BinaryIO]:
        """The object as a seekable file of our own, which was read and checked as a whole."""
        with spooled(self._scratch) as copy:
            with self.opened(entry) as file:
                shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            yield copy

    def check(self, entry: Entry) -> None:
        """Read the object to its end. Raises Damaged."""
        with self.opened(entry) as file:
            while file.read(1 << 20):
                pass

    def inventories(self) -> list[Named]:
        """The complete backups, newest first."""
        with self._plain():
            found = [name for path, _ in self._store.list(f"{INVENTORIES}/") if (name := named(path)) is not None]
        return sorted(found, reverse=True)

    def inventory(self, of: Named) -> Inventory:
        """Raises Damaged."""
        with self._plain():
            try:
                raw = self._store.get(of.path)
            except FileNotFoundError:
                raise Damaged(f"{self._store.where(of.path)} is gone: it was pruned meanwhile") from None
        return decode_inventory(raw, self._store.where(of.path))

    def finish(self, inventory: Inventory) -> str:
        """Write the inventory, which completes the backup. Returns where it is."""
        path = inventory_path(inventory.started_at, inventory.id)
        with self._plain():
            self._store.put(path, encode_inventory(inventory))
        return self._store.where(path)

    def write_list(self, entries: Sequence[Entry], known: Known, name: str) -> Entry:
        """Store a list of objects as an object."""
        return self.keep_bytes(encode_list(entries), known, "list", name, rows=len(entries))

    def entries(self, inventory: Inventory) -> Generator[Entry]:
        """All objects of a backup but its lists."""
        for one in inventory.lists:
            with self.fetched(one) as file:
                yield from decode_list(file.read(), f"{self._store.where(object_path(one.sha256))} (list {one.name})")

    def put_sign(self, path: str) -> None:
        with self._plain():
            self._store.put(path, b"\n")

    def signs(self, folder: str) -> list[str]:
        with self._plain():
            return [path for path, _ in self._store.list(f"{folder}/")]

    def remove(self, paths: Iterable[str]) -> int:
        """Remove objects by their path; returns how many."""
        count = 0
        with self._plain():
            for path in paths:
                self._store.delete(path)
                count += 1
        return count

    @contextmanager
    def _plain(self) -> Generator[None]:
        """Says for a backup what a lake says for itself."""
        try:
            yield
        except LakeUnavailable as error:
            text = str(error).removeprefix("lake: ").replace("the setting lake", "--to or --from")
            raise IsothermError(f"the backup's place cannot be used: {text}") from None
        except (OSError, BaseError) as error:
            raise IsothermError(
                f"the backup's place {self.where} cannot be used: {_why(error)}. What was copied stays, and the next "
                "backup goes on from it; see that the disk is there, writable and has room."
            ) from None


class _Guarded:
    """Reads a file of the place; its errors say so, unlike those of what is done with the bytes."""

    def __init__(self, file: BinaryIO, plain: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._plain = plain

    def read(self, size: int) -> bytes:
        with self._plain():
            return self._file.read(size)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).partition("\n\nDebug source")[0].split())


@contextmanager
def spooled(folder: Path | None) -> Generator[BinaryIO]:
    """A file without a name, in memory as long as it is small."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=None if folder is None else str(folder)) as file:
        yield cast("BinaryIO", file)


def open_target(
    url: str, settings: Settings, *, make: bool, rate: Rate | None = None, scratch: Path | None = None
) -> Target:
    """The place at `url`: file:///absolute/folder, or s3://bucket/prefix?endpoint=URL&region=NAME with the credentials
    of the settings.

    A missing folder is made when `make` says so. Raises ConfigError when the place cannot be used.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("file", "s3"):
        raise ConfigError(
            f"{url!r} is no place for backups; write file:///absolute/folder, or "
            "s3://bucket/prefix?endpoint=URL&region=NAME"
        )
    folder = Path(unquote(urlsplit(url).path))
    if scheme == "file" and not make and not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder, so there are no backups; name the one that `--to` named")
    try:
        store = open_lake(url, settings)
    except ConfigError as error:
        raise ConfigError(str(error).replace("lake: ", "backup: ", 1).replace("setting lake", "address")) from None
    if _inside(store.place, settings):
        raise ConfigError(
            f"{url} lies inside the lake; a backup belongs elsewhere, on another disk or in another bucket"
        )
    return Target(store, rate, scratch)


def _inside(place: Place, settings: Settings) -> bool:
    """Whether a folder for backups would be part of what is backed up."""
    lake = urlsplit(settings.url("lake"))
    if not isinstance(place, LocalPlace) or lake.scheme != "file":
        return False
    return place.root.is_relative_to(Path(unquote(lake.path)).resolve())


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines, each with a line feed."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
