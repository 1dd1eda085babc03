"""What one backup consists of. It is complete when its inventory is there, which is written last.

An inventory names lists, a list names objects, and every name is the SHA-256 of the content. What did not change since
an earlier backup has the same name, so it is neither copied nor stored again, lists of long past months included.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from backports import zstd
from msgspec import Struct

from isotherm.clock import iso
from isotherm.errors import IsothermError

FORMAT: Final = 1
OBJECTS: Final = "objects"
INVENTORIES: Final = "backups"
ZSTD_LEVEL: Final = 3
MAX_LIST_BYTES: Final = 1 << 30
_NAME: Final = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{12})\.json")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Damaged(IsothermError):
    """A backup does not hold what it says; the message names the object."""


class Entry(Struct, frozen=True, omit_defaults=True):
    """One object. `kind` says what is in it: table, lake, dead, records, ids, maps, or list of others.

    `name` is what it is called where it came from, such as a lake file's path. `mark` is another one when its source
    has changed, for kinds whose sources do.
    """

    kind: str
    name: str
    sha256: str
    bytes: int
    rows: int = 0
    mark: str = ""


class LogState(Struct, frozen=True):
    """How much of the event log is in the backup: records [positions, heads) per partition; below them all is landed.

    `read_at` is when the heads were asked for: everything that was acknowledged before is in the backup. `newest_at`
    is when the newest record was received (ms), None for a log that never had one. `lost` counts records the log no
    longer had.
    """

    identity: str
    positions: dict[str, int]
    heads: dict[str, int]
    read_at: int
    newest_at: int | None
    records: int
    lost: int = 0


class Inventory(Struct, frozen=True):
    """One backup. Times are ms. `schema` is the revision of the relational store; `events` are rows in the lake.

    `objects` and `bytes` are all that a restore reads, `copied_*` what this backup added. `settings` are as text,
    without secrets.
    """

    format: int
    id: str
    started_at: int
    finished_at: int
    code_version: str
    schema: str
    database: str
    manifest_version: int
    log: LogState | None
    tables: dict[str, int]
    events: int
    objects: int
    bytes: int
    copied_objects: int
    copied_bytes: int
    settings: dict[str, str]
    lists: list[Entry]


class Named(NamedTuple):
    """An inventory by its path: when the backup began (ms, to the second), and its id."""

    started_at: int
    id: str
    path: str


def object_path(sha256: str) -> str:
    """Where an object lies below the root. Raises Damaged for what is no SHA-256, as only a spoilt list has it."""
    if not SHA256.fullmatch(sha256):
        raise Damaged(f"the backup names an object {sha256[:80]!r}, which is no SHA-256; take another backup (--at)")
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def inventory_path(started_at: int, backup_id: str) -> str:
    """Where an inventory lies: names sort by time."""
    stamp = iso(started_at)[:19].replace("-", "").replace(":", "")
    return f"{INVENTORIES}/{stamp}Z-{backup_id}.json"


def named(path: str) -> Named | None:
    """What the path says; None when it is no inventory's."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    if found is None:
        return None
    moment = datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Named(int(moment.timestamp() * 1000), found[2], path)


def encode_inventory(inventory: Inventory) -> bytes:
    return msgspec.json.format(msgspec.json.encode(inventory), indent=1) + b"\n"


def decode_inventory(raw: bytes, where: str) -> Inventory:
    """Raises Damaged when the bytes are no inventory, or one of a newer format."""
    try:
        version = msgspec.json.decode(raw, type=_Version).format
        if version == FORMAT:
            return msgspec.json.decode(raw, type=Inventory)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"{where} is damaged ({error}); take another backup (--at)") from None
    raise Damaged(f"{where} has format {version}, this program reads format {FORMAT}; use a newer version of isotherm")


class _Version(Struct):
    format: int


def encode_list(entries: Iterable[Entry]) -> bytes:
    """The same entries give the same bytes, in whatever order they came."""
    ordered = sorted(entries, key=lambda entry: (entry.kind, entry.name, entry.sha256))
    return zstd.compress(msgspec.json.encode(ordered), ZSTD_LEVEL)


def decode_list(raw: bytes, where: str) -> Sequence[Entry]:
    """Raises Damaged."""
    try:
        unpacked = zstd.ZstdDecompressor().decompress(raw, MAX_LIST_BYTES)
        return msgspec.json.decode(unpacked, type=list[Entry])
    except (msgspec.MsgspecError, ValueError, zstd.ZstdError) as error:
        raise Damaged(f"{where} is damaged ({error}); take another backup (--at)") from None
