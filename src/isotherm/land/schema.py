"""What a row of the lake is: the columns of Parquet and JSONL files alike, their order, and how Parquet keeps them."""

from typing import Any, Final

import pyarrow as pa

DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())
MOMENT: Final = pa.timestamp("ms", tz="UTC")

LAKE_SCHEMA: Final = pa.schema(
    [
        pa.field("client_id", DICTIONARY, nullable=False),
        pa.field("screen_id", DICTIONARY, nullable=False),
        pa.field("event_type", DICTIONARY, nullable=False),
        pa.field("event_time", MOMENT, nullable=False),
        pa.field("x_norm", pa.float64()),
        pa.field("y_norm", pa.float64()),
        pa.field("x_px", pa.float64()),
        pa.field("y_px", pa.float64()),
        pa.field("scroll_y", pa.float64()),
        pa.field("ax", pa.float64()),
        pa.field("ay", pa.float64()),
        pa.field("anchor", pa.string()),
        pa.field("attrs", pa.string()),
        pa.field("session_id", DICTIONARY),
        pa.field("visitor_id", DICTIONARY),
        pa.field("url", DICTIONARY),
        pa.field("sdk", DICTIONARY),
        pa.field("viewport_w", pa.float64()),
        pa.field("viewport_h", pa.float64()),
        pa.field("document_w", pa.float64()),
        pa.field("document_h", pa.float64()),
        pa.field("region_w", pa.float64()),
        pa.field("region_h", pa.float64()),
        pa.field("device_pixel_ratio", pa.float64()),
        pa.field("client_time", MOMENT),
        pa.field("received_at", MOMENT, nullable=False),
        pa.field("batch_id", DICTIONARY, nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("log_partition", pa.int32(), nullable=False),
        pa.field("log_offset", pa.int64(), nullable=False),
    ]
)
"""`event_time` is corrected by the skew; `client_time` is the sender's own time where that was done, else null.
`position` is the index in the body the client sent; (client_id, batch_id, position) names a row."""

ADDED: Final = frozenset({"region_w", "region_h"})
"""Columns that files of earlier versions do not have: there they are null."""

SORT_ORDER: Final = ("screen_id", "log_partition", "log_offset", "position")
"""Within a file. A recording then stays in the order it was made, which is what compresses best."""

_DELTA: Final = ("event_time", "client_time", "received_at", "position", "log_partition", "log_offset")

PARQUET_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": [name for name in LAKE_SCHEMA.names if name not in _DELTA],
    "column_encoding": dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED"),
    "data_page_version": "2.0",
    "store_schema": False,
    "write_page_checksum": True,
    "write_statistics": ["event_time", "screen_id", "event_type", "batch_id"],
}
"""Arguments of pyarrow.parquet.write_table. Doubles by dictionary: screens have few distinct coordinates."""

TIGHT_LEVEL: Final = 19
"""Zstandard's level where a file is written once and kept for years."""
