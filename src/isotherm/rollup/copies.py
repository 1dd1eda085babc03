"""Maps as they are stored, to be kept elsewhere and put back: some clients' of one bucket, page by page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa

from isotherm.rollup.buckets import Bucket
from isotherm.store.olap import Olap

MAPS_PER_PAGE: Final = 256
"""Maps with all their counts; a page takes about 40 MB then."""
CLIENTS_PER_PAGE: Final = 50
MAX_PAGES: Final = 100_000
_COPIED: Final = (
    "client_id, screen_id, event_type, segment, toString(m.level) AS level_name, toUnixTimestamp(m.bucket_start) AS"
    " start, version, grid_w, grid_h, cells, counts, events, tiled, last_event"
)

Page = tuple[tuple[str, ...], int, int]
"""Clients, which page of theirs, and how many they have."""


def pages(maps: Mapping[str, int]) -> Iterator[Page]:
    """How to read a bucket: few clients with many maps at once, of one with very many only a part."""
    clients: list[str] = []
    held = 0
    for client_id, count in sorted(maps.items()):
        if count > MAPS_PER_PAGE:
            parts = -(-count // MAPS_PER_PAGE)
            yield from (((client_id,), part, parts) for part in range(parts))
            continue
        if clients and (held + count > MAPS_PER_PAGE or len(clients) == CLIENTS_PER_PAGE):
            yield tuple(clients), 0, 1
            clients, held = [], 0
        clients.append(client_id)
        held += count
    if clients:
        yield tuple(clients), 0, 1


def read_maps(olap: Olap, bucket: Bucket, page: Page) -> pa.Table:
    """The newest version of these clients' maps of a bucket, without vanished ones.

    Columns are those of the table `maps`, but `level_name` for the level and `start` for the bucket's start (s).
    """
    clients, part, parts = page
    return olap.query(
        f"SELECT {_COPIED} FROM maps AS m FINAL WHERE client_id IN {{clients:Array(String)}}"
        " AND m.level = {level:String} AND m.bucket_start = {start:DateTime} AND events > 0"
        " AND cityHash64(screen_id, event_type, segment) % {parts:UInt32} = {part:UInt32}"
        " ORDER BY client_id, screen_id, event_type, segment",
        {
            "clients": list(clients),
            "level": bucket.level.value,
            "start": bucket.start // 1000,
            "part": part,
            "parts": parts,
        },
        "maintain",
    )


def put_maps(olap: Olap, maps: pa.Table) -> None:
    """Insert what `read_maps` gave; a second time changes nothing."""
    starts = maps.column("start").cast(pa.int64()).cast(pa.timestamp("s", tz="UTC"))
    changed = maps.set_column(maps.schema.get_field_index("start"), "bucket_start", starts)
    olap.insert("maps", changed.rename_columns(["level" if n == "level_name" else n for n in changed.column_names]))


def any_maps(olap: Olap) -> bool:
    """Whether there is a map at all."""
    return bool(olap.query("SELECT 1 AS one FROM maps LIMIT 1", profile="maintain").num_rows)


def drop_maps(olap: Olap) -> None:
    """Remove every map."""
    olap.command(f"TRUNCATE TABLE {olap.layout.stored('maps')}{olap.layout.on_cluster}", profile="migrate")


def client_ids(maps: pa.Table) -> Sequence[str]:
    """Whose map each row is."""
    return maps.column("client_id").to_pylist()
