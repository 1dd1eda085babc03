"""The lake in a bucket of S3 or of a store that speaks its protocol."""

import io
import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO, Final, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from isotherm.config import Settings, without_password
from isotherm.errors import ConfigError
from isotherm.land.lake import Found, LakeUnavailable, S3Place, checked

SINGLE_BYTES: Final = 16 << 20
"""Objects up to this size are sent in one conditional request; larger ones in parts of this size."""
_PARTS_AT_ONCE: Final = 4
_BLOCK: Final = 1 << 20
_RETRIES: Final = 5

_log = structlog.get_logger("isotherm.land")


class S3Lake:
    """See `isotherm.land.lake.Lake`.

    A conditional request creates an object only where none is. An upload in parts cannot be conditional in
    object_store, so there the name is looked up first; no two writers share a name, since each draws a random one and
    inserts it in the manifest, whose key it is.
    """

    def __init__(self, url: str, place: S3Place, timeout_s: float) -> None:
        self.url = url
        self.place = place
        self._store = _client(place, timeout_s)

    @classmethod
    def of_url(cls, url: str, settings: Settings) -> "S3Lake":
        """The opener of this adapter. Asks the bucket for its list: ConfigError when it is missing or refuses."""
        lake = cls(url, place_of(url, settings, os.environ), settings.s3_timeout_seconds)
        try:
            next(iter(obstore.list(lake._store, chunk_size=1)), None)
        except (BaseError, OSError) as error:
            if trouble(error) != "unknown":
                raise ConfigError(lake._says(error)) from None
            _log.warning("the lake does not answer yet", problem=lake._says(error))
        return lake

    def where(self, path: str) -> str:
        parts = ["s3:/", self.place.bucket, self.place.prefix, checked(path) if path else ""]
        return "/".join(part for part in parts if part)

    def put(self, path: str, data: bytes | memoryview | BinaryIO) -> None:
        target = self.where(checked(path))
        source = io.BytesIO(data) if isinstance(data, (bytes, memoryview)) else data
        size = _size(source)
        if size > SINGLE_BYTES and self._head(path) is not None:
            raise FileExistsError(f"{target}: the lake never overwrites")
        try:
            with self._errors():
                done = self._send(path, source, size)
        except AlreadyExistsError:
            # 409 also stands for "a folder of this name" and "another request is under way": then nothing is there.
            if self._head(path) is None:
                raise LakeUnavailable(f"{target}: the store answered with a conflict; trying again may help") from None
            raise FileExistsError(f"{target}: the lake never overwrites") from None
        found = self._head(path)
        if found is None or (found["size"], found["e_tag"]) != (size, done["e_tag"]):
            raise LakeUnavailable(f"{target}: the object that was written is not there whole; it will be written again")

    def get(self, path: str) -> bytes:
        checked(path)
        with self._errors(path):
            found = obstore.get(self._store, path)
            size = found.meta["size"]
            if size <= SINGLE_BYTES:
                return bytes(found.bytes())
            # In pieces, so that a slow line has the time-out for each of them.
            starts = range(0, size, SINGLE_BYTES)
            return b"".join(self.read_range(path, start, min(start + SINGLE_BYTES, size)) for start in starts)

    def open(self, path: str) -> BinaryIO:
        found = self._head(checked(path))
        if found is None:
            raise FileNotFoundError(f"{path}: no such object")
        return cast("BinaryIO", io.BufferedReader(_Ranges(self, path, found["size"]), _BLOCK))

    def delete(self, path: str) -> None:
        checked(path)
        with self._errors():
            obstore.delete(self._store, path)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        if prefix:
            checked(prefix.rstrip("/"))
        with self._errors():
            for chunk in obstore.list(self._store, prefix or None, chunk_size=1000):
                for meta in chunk:
                    yield meta["path"], meta["size"]

    def found(self) -> Iterator[Found]:
        """Every object with its mark: the entity tag that the store gives it, else its time."""
        with self._errors():
            for chunk in obstore.list(self._store, chunk_size=1000):
                for meta in chunk:
                    yield Found(meta["path"], meta["size"], str(meta["e_tag"] or meta["last_modified"]))

    def read_range(self, path: str, start: int, end: int) -> memoryview:
        """The bytes [start, end) of an object that is that long; FileNotFoundError when it is missing."""
        with self._errors(path):
            return memoryview(obstore.get_range(self._store, path, start=start, end=end))

    def _send(self, path: str, source: BinaryIO, size: int) -> Any:
        if size <= SINGLE_BYTES:
            return obstore.put(self._store, path, source.read(), mode="create", use_multipart=False)
        return obstore.put(
            self._store, path, source, use_multipart=True, chunk_size=SINGLE_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def _head(self, path: str) -> Any:
        """What the store says of the object, None when it is missing."""
        try:
            with self._errors(path):
                return obstore.head(self._store, path)
        except FileNotFoundError:
            return None

    @contextmanager
    def _errors(self, path: str = "") -> Generator[None]:
        """Names our errors for the store's; FileNotFoundError only where a `path` is asked for."""
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if path and trouble(error) == "unknown":
                raise FileNotFoundError(f"{path}: no such object") from None
            raise LakeUnavailable(self._says(error)) from None
        except (BaseError, OSError) as error:
            raise LakeUnavailable(self._says(error)) from None

    def _says(self, error: Exception) -> str:
        """What happened where, and what to look at."""
        place, text = self.place, _shortened(error)
        head = f"lake: bucket {place.bucket!r} at {place.endpoint}"
        match trouble(error):
            case "no bucket":
                return f"{head} does not exist; create it with the tools of that store, or correct the setting lake"
            case "refused":
                return (
                    f"{head} refuses our requests ({text}); check s3_access_key_id and s3_secret_access_key (or the "
                    "AWS_* variables, or the machine's role), the clock, and the right to list, read, write and delete"
                )
            case "no keys":
                return (
                    f"{head}: no credentials were found ({text}); set s3_access_key_id and s3_secret_access_key, or "
                    "the AWS_* variables, or give this machine a role"
                )
            case _:
                return (
                    f"{head} cannot be used ({text}); check that the address is right, and that the store runs, has "
                    "space and answers within s3_timeout_seconds"
                )


class _Ranges(io.RawIOBase):
    """Reads an object by ranges."""

    def __init__(self, lake: S3Lake, path: str, size: int) -> None:
        self._lake = lake
        self._path = path
        self._end = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._path}: cannot seek before the start")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readall(self) -> bytes:
        data = self._lake.read_range(self._path, self._at, self._end) if self._at < self._end else b""
        self._at += len(data)
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._end)
        if end <= self._at:
            return 0
        data = self._lake.read_range(self._path, self._at, end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def place_of(url: str, settings: Settings, environment: Mapping[str, str]) -> S3Place:
    """Where an s3:// URL leads: its query first, then the settings, then AWS's variables. ConfigError if nowhere."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := given.keys() - {"endpoint", "region"}:
        raise ConfigError(f"lake: s3:// takes endpoint and region, not {min(unknown)!r}")
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ConfigError(
            f"lake: {without_password(url)!r} is not s3://bucket/prefix?endpoint=URL&region=NAME; keys belong into "
            "s3_access_key_id and s3_secret_access_key"
        )
    prefix = unquote(parts.path).strip("/")
    try:
        checked(prefix or "x")
    except ValueError as error:
        raise ConfigError(f"lake: the prefix of {url!r} cannot be used ({error})") from None
    region = given.get("region") or _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = given.get("endpoint") or _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = (endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise ConfigError(f"lake: the endpoint {without_password(endpoint)!r} is not an http:// or https:// address")
    return S3Place(endpoint, parts.netloc, prefix, region, *_keys(settings, environment))


def _keys(settings: Settings, environment: Mapping[str, str]) -> tuple[str, str, str]:
    """Key, secret and session token from one source; empty ones leave it to the machine's role."""
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    if bool(key) != bool(secret):
        raise ConfigError("lake: s3_access_key_id and s3_secret_access_key belong together; one of them is missing")
    if key:
        return key, secret, settings.s3_session_token
    key, secret = _first(environment, "AWS_ACCESS_KEY_ID"), _first(environment, "AWS_SECRET_ACCESS_KEY")
    return (key, secret, _first(environment, "AWS_SESSION_TOKEN")) if key and secret else ("", "", "")


def _first(environment: Mapping[str, str], *names: str) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _client(place: S3Place, timeout_s: float) -> S3Store:
    timeout = timedelta(seconds=timeout_s)
    options: dict[str, Any] = {}
    if place.access_key_id:
        keys = {"access_key_id": place.access_key_id, "secret_access_key": place.secret_access_key, "expires_at": None}
        # A provider, so that a session token in the environment is not mixed with keys from the settings.
        options["credential_provider"] = lambda: keys | {"token": place.session_token or None}
    if urlsplit(place.endpoint).netloc.endswith(".amazonaws.com"):
        # A dot in a bucket's name does not match the certificate of a virtual host.
        options["virtual_hosted_style_request"] = "." not in place.bucket
    else:
        options |= {"aws_endpoint_url_s3": place.endpoint, "virtual_hosted_style_request": False}
    return S3Store(
        place.bucket,
        prefix=place.prefix or None,
        region=place.region,
        # One request a file: not every store knows the deletion of many, and a sweep has few.
        disable_bulk_delete=True,
        client_options={"allow_http": place.allow_http, "timeout": timeout, "connect_timeout": min(timeout, _CONNECT)},
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timeout,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
        },
        **options,
    )


_CONNECT: Final = timedelta(seconds=5)


def _size(file: BinaryIO) -> int:
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size - at


def trouble(error: Exception) -> Literal["no bucket", "refused", "no keys", "unknown"]:
    """What a person has to put right, as far as the store's answer tells; object_store has one class for most."""
    text = str(error)
    if any(place in text for place in _ROLES):
        return "no keys"
    code = _CODE.search(text)
    if code and code[1] == "NoSuchBucket":
        return "no bucket"
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or (code and code[1] in _REFUSALS)
    return "refused" if refused or _STATUS.search(text) else "unknown"


_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]*)</Message>")
_STATUS: Final = re.compile(r"status code: 40[13]\b")
_REFUSALS: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound"})
_ROLES: Final = ("http://169.254.", "/latest/api/token", "/latest/meta-data/")
"""Where object_store asks for the machine's role when it was given no keys."""
_LONGEST: Final = 300


def _shortened(error: Exception) -> str:
    """The error without the debugging text that object_store appends, of an XML answer only code and message."""
    text = str(error).partition("\n\nDebug source")[0]
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(text.split())[:_LONGEST]
