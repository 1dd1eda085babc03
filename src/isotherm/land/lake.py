"""The raw lake's objects: create-only writes that are durable when they return, under one root."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from isotherm.errors import ConfigError

_FORBIDDEN: Final = ("", ".", "..")


def open_lake(url: str) -> "Lake":
    """Open the lake at `url` (file:///absolute/path), making the folder if it is missing.

    Raises ConfigError for an unknown scheme or a folder that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise ConfigError(f"lake: unknown scheme {parts.scheme!r} in {url!r}; known: file")
    root = Path(unquote(parts.path)).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        root = root.resolve(strict=True)
        return Lake(url, root, LocalStore(root))
    except (OSError, ValueError) as error:
        raise ConfigError(f"lake: {root} cannot be used as a folder ({error}); choose another or fix it") from None


def checked(path: str) -> str:
    """The path, if it is relative, plain and stays below the lake's root; ValueError otherwise.

    Plain means: segments without control characters, backslash or `#` (object_store keeps `name#1` for itself),
    none of them empty, `.` or `..`.
    """
    if any(part in _FORBIDDEN for part in path.split("/")):
        raise ValueError(f"not a path inside the lake: {path!r}")
    if any(c < " " or c in "\\#\x7f" for c in path):
        raise ValueError(f"a path in the lake has no control characters, backslash or '#': {path!r}")
    return path


class Lake:
    """Objects by relative path. Every method may be called from any thread.

    `root` is the local folder under it, for engines that open files themselves.
    """

    def __init__(self, url: str, root: Path, store: LocalStore) -> None:
        self.url = url
        self.root = root
        self._store = store
        self._synced: set[Path] = set()

    def local_path(self, path: str) -> Path:
        """Where the object lies on this machine; ValueError when the path would leave the root."""
        return self.root / checked(path)

    def put(self, path: str, data: bytes | memoryview) -> None:
        """Create the object; it and its folders are on disk when this returns.

        Raises FileExistsError when the path is taken, ValueError when it is not a path of this lake.
        """
        target = self._inside(path)
        try:
            obstore.put(self._store, path, memoryview(data).cast("B"), mode="create", use_multipart=False)
        except AlreadyExistsError:
            raise FileExistsError(f"{target}: the lake never overwrites") from None
        _fsync(target)
        self._sync_folders(target.parent)

    def get(self, path: str) -> bytes:
        """The object's bytes; FileNotFoundError when it is missing."""
        self._inside(path)
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such object") from None

    def delete(self, path: str) -> None:
        """Remove the object and what an interrupted `put` left of it; a missing one is fine."""
        target = self._inside(path)
        target.unlink(missing_ok=True)
        if target.parent.is_dir():
            for staged in target.parent.glob(f"{target.name}#*"):
                staged.unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(path, bytes) of every object below the folder `prefix`, in no order."""
        if prefix:
            self._inside(prefix.rstrip("/"))
        for chunk in obstore.list(self._store, prefix or None):
            for meta in chunk:
                yield meta["path"], meta["size"]

    def _inside(self, path: str) -> Path:
        target = self.local_path(path)
        # A symbolic link in the lake must not lead out of it.
        if not target.parent.resolve().is_relative_to(self.root):
            raise ValueError(f"{path!r} leads out of the lake through a link")
        return target

    def _sync_folders(self, folder: Path) -> None:
        """fsync the folder, and its parents up to the root the first time they are seen."""
        _fsync(folder)
        while folder != self.root and folder not in self._synced:
            _fsync(folder.parent)
            self._synced.add(folder)
            folder = folder.parent


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
