"""S3: the bucket is there, we may list, create, read and delete, and a second create of one name is refused."""

import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from isotherm.cli.doctor.findings import Finding, clock
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError

if TYPE_CHECKING:
    from isotherm.land.lake_s3 import S3Lake

PATIENCE_S: Final = 5.0
_BODY: Final = b"isotherm doctor"


def check(settings: Settings) -> Iterator[Finding]:
    """Write, read and delete one small object. Raises ConfigError for a wrong setting."""
    from isotherm.land.lake_s3 import S3Lake, place_of

    url = settings.url("lake")
    place = place_of(url, settings, os.environ)
    lake = S3Lake(url, place, min(settings.s3_timeout_seconds, PATIENCE_S))
    path = f"doctor/{secrets.token_hex(8)}"
    try:
        next(iter(lake.list("doctor")), None)
        lake.put(path, _BODY)
    except IsothermError as error:
        yield Finding("lake", "error", "cannot be written", str(error))
        return
    try:
        yield from _object(lake, path)
    finally:
        yield from _delete(lake, path)
    yield from _clock(place.endpoint)


def _object(lake: "S3Lake", path: str) -> Iterator[Finding]:
    try:
        whole = lake.get(path) == _BODY
        listed = path in {name for name, _ in lake.list("doctor")}
    except (IsothermError, FileNotFoundError) as error:
        yield Finding("lake", "error", "an object that was written cannot be read", str(error))
        return
    if not whole or not listed:
        yield Finding(
            "lake", "error", "an object that was written is not there whole, or is not listed",
            "use a store that shows a write at once to all readers",
        )  # fmt: skip
    else:
        yield Finding("lake", "ok", f"{lake.where('')} can be listed, written and read")
    try:
        lake.put(path, b"another")
    except FileExistsError:
        yield Finding("lake", "ok", "a name that is taken is refused (conditional create)")
    except IsothermError as error:
        yield Finding("lake", "error", "a second create of one name failed in another way", str(error))
    else:
        yield Finding(
            "lake", "error", "it overwrites an object that we asked it to create only where there is none",
            "use a store that knows If-None-Match: AWS, MinIO, versitygw and Ceph do",
        )  # fmt: skip


def _delete(lake: "S3Lake", path: str) -> Iterator[Finding]:
    try:
        lake.delete(path)
    except IsothermError as error:
        yield Finding("lake", "error", f"an object cannot be deleted: {lake.where(path)} is left", str(error))


def _clock(endpoint: str) -> Iterator[Finding]:
    """The Date of any answer, a refusal too; it counts whole seconds."""
    ours = SystemClock()
    before = ours.now_ms()
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PATIENCE_S) as answer:  # noqa: S310 - an address that was checked
            date = answer.headers.get("date")
    except urllib.error.HTTPError as error:
        with error:
            date = error.headers.get("date")
    except OSError:
        return
    after = ours.now_ms()
    if date:
        theirs = parsedate_to_datetime(date).timestamp() * 1000
        yield clock("lake", theirs, before - 1000, after)
