"""The lake in a folder of this machine."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import Found, LocalPlace, checked
from isotherm.land.writeout import copy_steadily


class LocalLake:
    """See `isotherm.land.lake.Lake`. Objects are files, fsynced with their folders before `put` returns."""

    def __init__(self, url: str, root: Path, store: LocalStore) -> None:
        self.url = url
        self.root = root
        self._store = store
        self._synced: set[Path] = set()

    @classmethod
    def of_url(cls, url: str, _: Settings) -> "LocalLake":
        """The opener of this adapter; makes the folder if it is missing."""
        return cls.of_folder(Path(unquote(urlsplit(url).path)).absolute(), url)

    @classmethod
    def of_folder(cls, root: Path, url: str = "") -> Self:
        """The lake in this folder. Raises ConfigError when it cannot be used as one."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            root = root.resolve(strict=True)
            return cls(url or root.as_uri(), root, LocalStore(root))
        except (OSError, ValueError) as error:
            raise ConfigError(f"lake: {root} cannot be used as a folder ({error}); choose another or fix it") from None

    @property
    def place(self) -> LocalPlace:
        return LocalPlace(self.root)

    def local_path(self, path: str) -> Path:
        """Where the object lies on this machine; ValueError when the path would leave the root."""
        return self.root / checked(path)

    def where(self, path: str) -> str:
        return str(self.local_path(path) if path else self.root)

    def put(self, path: str, data: bytes | memoryview | BinaryIO) -> None:
        target = self._inside(path)
        try:
            if isinstance(data, (bytes, memoryview)):
                obstore.put(self._store, path, memoryview(data).cast("B"), mode="create", use_multipart=False)
            else:
                _create(target, data)
        except (AlreadyExistsError, FileExistsError):
            raise FileExistsError(f"{target}: the lake never overwrites") from None
        self.sync(path)

    def put_unsynced(self, path: str, data: BinaryIO) -> None:
        """`put`, but the object may be gone or spoilt after a power cut until it was given to `sync`: for many at once,
        by somebody who would find that out."""
        target = self._inside(path)
        try:
            _create(target, data, synced=False)
        except FileExistsError:
            raise FileExistsError(f"{target}: the lake never overwrites") from None

    def sync(self, *paths: str) -> None:
        """Make these objects durable, and their names: the files first, then each folder once."""
        targets = [self._inside(path) for path in paths]
        for target in targets:
            _fsync(target)
        self._sync_folders({target.parent for target in targets})

    def get(self, path: str) -> bytes:
        self._inside(path)
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such object") from None

    def open(self, path: str) -> BinaryIO:
        try:
            return self._inside(path).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(f"{path}: no such object") from None

    def delete(self, path: str) -> None:
        target = self._inside(path)
        target.unlink(missing_ok=True)
        if target.parent.is_dir():
            for staged in target.parent.glob(f"{_literal(target.name)}#*"):
                staged.unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        if prefix:
            self._inside(prefix.rstrip("/"))
        for chunk in obstore.list(self._store, prefix or None):
            for meta in chunk:
                yield meta["path"], meta["size"]

    def found(self) -> Iterator[Found]:
        """Every object with its mark, which the file's name, time and size make."""
        for chunk in obstore.list(self._store):
            for meta in chunk:
                yield Found(meta["path"], meta["size"], str(meta["e_tag"]))

    def _inside(self, path: str) -> Path:
        target = self.local_path(path)
        # A symbolic link in the lake must not lead out of it.
        if not target.parent.resolve().is_relative_to(self.root):
            raise ValueError(f"{path!r} leads out of the lake through a link")
        return target

    def _sync_folders(self, folders: Iterable[Path]) -> None:
        """fsync the folders, and their parents up to the root the first time they are seen."""
        for given in folders:
            folder = given
            _fsync(folder)
            while folder != self.root and folder not in self._synced:
                _fsync(folder.parent)
                self._synced.add(folder)
                folder = folder.parent


def _create(target: Path, data: BinaryIO, *, synced: bool = True) -> None:
    """Copy the file beside the target and link it there, which fails if the name is taken."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f"{target.name}#{uuid4().hex}")
    try:
        with staged.open("xb") as file:
            if synced:
                copy_steadily(data, file)
                os.fsync(file.fileno())
            else:
                shutil.copyfileobj(data, file, 1 << 20)
        os.link(staged, target)
    finally:
        staged.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """The name as a pattern that matches only itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
