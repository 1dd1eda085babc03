"""The relational tables: manifest, ledger, tile jobs, what is known of screens. Same on SQLite and PostgreSQL.

Times are integer milliseconds since the epoch, UTC. Versions come from one sequence (`next_version`), so that
"newer" has one meaning for landings, dirty marks, tile jobs and published buckets.
"""

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

sequences: Final = sa.Table(
    "sequences",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

positions: Final = sa.Table(
    "positions",
    metadata,
    sa.Column("log", sa.Text, primary_key=True, comment="identity of the log that the offsets belong to"),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False, comment="the lander's compare-and-set"),
    sa.Column("received_until", sa.BigInteger, comment="when the newest landed record came"),
)

known_ids: Final = sa.Table(
    "known_ids",
    metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True, comment="of a batch: 16 bytes of client_id and batch_id"),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("positions", sa.LargeBinary, comment="landed ones of a batch that was split; null: all"),
    sa.Index(None, "received_at"),
)

landers: Final = sa.Table(
    "landers",
    metadata,
    sa.Column("log", sa.Text, primary_key=True, comment="identity of a log"),
    sa.Column("kind", sa.Text, nullable=False, comment="log, or scan: what lands it, once and for all"),
)

log_gaps: Final = sa.Table(
    "log_gaps",
    metadata,
    sa.Column("log", sa.Text, primary_key=True, comment="identity of a log"),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("first_offset", sa.BigInteger, primary_key=True),
    sa.Column("last_offset", sa.BigInteger, nullable=False, comment="inclusive"),
    sa.Column("noticed_at", sa.BigInteger, nullable=False),
)

dead_letters: Final = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("log", sa.Text, primary_key=True, comment="identity of a log of dead letters"),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    sa.Column("state", sa.Text, nullable=False, comment="replayed or dropped; one that is not here is waiting"),
    sa.Column("accepted", sa.BigInteger, nullable=False, server_default="0", comment="by the last replay"),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

scanned_files: Final = sa.Table(
    "scanned_files",
    metadata,
    sa.Column("source", sa.Text, primary_key=True, comment="root that the paths are relative to"),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("mark", sa.Text, nullable=False, comment="another one when the file was written again"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="log_partition of its rows; log_offset is a line"),
    sa.Column("lines", sa.BigInteger, nullable=False, comment="landed ones"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="of these lines, unpacked"),
    sa.Column("digest", sa.Text, nullable=False, comment="of these bytes: a file that only grew is told by it"),
    sa.Column("rows", sa.BigInteger, nullable=False, comment="listed in the lake by the last landing"),
    sa.Column("landed_version", sa.BigInteger, nullable=False),
    sa.Column("landed_at", sa.BigInteger, nullable=False),
    sa.Column(
        "torn", sa.Boolean, nullable=False, server_default=sa.false(), comment="its last line ended in the middle then"
    ),
)

files: Final = sa.Table(
    "files",
    metadata,
    sa.Column("path", sa.Text, primary_key=True, comment="relative to the lake's root"),
    sa.Column("state", sa.Text, nullable=False, comment="pending, listed or delisted"),
    sa.Column("format", sa.Text, nullable=False, comment="parquet or jsonl"),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("hour", sa.BigInteger, nullable=False, comment="start of the event hour"),
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("min_time", sa.BigInteger),
    sa.Column("max_time", sa.BigInteger),
    sa.Column("row_hash", sa.Text, nullable=False, server_default="", comment="order-free hash of all rows"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("listed_version", sa.BigInteger),
    sa.Column("delisted_version", sa.BigInteger),
    sa.Column(
        "raw_only", sa.Boolean, nullable=False, server_default=sa.false(), comment="its rows are kept and never tiled"
    ),
    sa.Column("tier", sa.Text, nullable=False, server_default="hot", comment="hot or archive: where the file lies"),
    sa.Index(None, "state", "hour", "client_id"),
    sa.Index(None, "tier", "state", "hour"),
    sa.Index("ix_files_raw_only", "hour", sqlite_where=sa.text("raw_only = 1"), postgresql_where=sa.text("raw_only")),
)

file_ranges: Final = sa.Table(
    "file_ranges",
    metadata,
    sa.Column("path", sa.Text, sa.ForeignKey("files.path", ondelete="CASCADE"), primary_key=True),
    sa.Column("log", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("first_offset", sa.BigInteger, primary_key=True),
    sa.Column("last_offset", sa.BigInteger, nullable=False, comment="inclusive"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("row_hash", sa.Text, nullable=False),
)

snapshots: Final = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

ledger: Final = sa.Table(
    "ledger",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, comment="hour of receipt"),
    sa.Column("measure", sa.Text, primary_key=True, comment="accepted, rejected, duplicate, landed, ..."),
    sa.Column("reason", sa.Text, primary_key=True, comment="empty, or the reason the measure is split by"),
    sa.Column("events", sa.BigInteger, nullable=False),
)

_OF_THE_EVENT: Final = (
    ("accepted", None),
    ("landed", None),
    ("landing_duplicate", None),
    ("dead", None),
    ("no_position", "of the landed ones"),
    ("raw_only", "of the landed ones: kept and never tiled"),
    ("late", "of the landed ones: received after their hour was closed"),
)


def _event_counts() -> list["sa.Column[int]"]:
    return [sa.Column(name, sa.BigInteger, nullable=False, comment=comment) for name, comment in _OF_THE_EVENT]


ledger_hours: Final = sa.Table(
    "ledger_hours",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, comment="start of the event hour"),
    *_event_counts(),
    sa.Column("before", sa.BigInteger, nullable=False, comment="rows landed before event hours were counted"),
)

ledger_screens: Final = sa.Table(
    "ledger_screens",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("screen_id", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, comment="start of the event hour"),
    *_event_counts(),
    sa.Column("rejected", sa.BigInteger, nullable=False, comment="by hour of receipt"),
    sa.Column("duplicate", sa.BigInteger, nullable=False, comment="by hour of receipt"),
    sa.Index(None, "client_id", "hour"),
)

page_views: Final = sa.Table(
    "page_views",
    metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True, comment="16 bytes of client_id and the view's id"),
    sa.Column("sent", sa.BigInteger, nullable=False, comment="events up to the highest sequence number seen"),
    sa.Column("missing", sa.LargeBinary, comment="runs of events below that never came"),
    sa.Column("seen_at", sa.BigInteger, nullable=False, comment="hour of receipt of its newest batch"),
    sa.Index(None, "seen_at"),
)

verifications: Final = sa.Table(
    "verifications",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("finding", sa.Text, nullable=False, comment="same, dirty, frozen or different: of the last comparison"),
    sa.Column("version", sa.BigInteger, comment="of the published bucket that was compared"),
    sa.Column("hash", sa.Text, comment="that the raw events gave"),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
    sa.Column("verified_at", sa.BigInteger, nullable=False),
    sa.Index(None, "client_id", "level", "start"),
)

retired: Final = sa.Table(
    "retired",
    metadata,
    sa.Column("what", sa.Text, primary_key=True, comment="raw, or hour, day, week: tiles of that level"),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True, comment="start of the hour or bucket"),
    sa.Column("rows", sa.BigInteger, nullable=False, comment="raw rows that were there, or stood behind the tiles"),
    sa.Column("tiled", sa.BigInteger, nullable=False, comment="of these, counted in a cell; 0 for raw"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="of the files; 0 for tiles"),
    sa.Column("hash", sa.Text, nullable=False, server_default="", comment="published one of the tiles"),
    sa.Column("retired_at", sa.BigInteger, nullable=False),
)

rounds: Final = sa.Table(
    "rounds",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="of a work that comes round again: raw, tiles, archive, ..."),
    sa.Column("ran_at", sa.BigInteger, nullable=False, comment="when it last ended"),
    sa.Column("did_at", sa.BigInteger, comment="when it last had something to do"),
    sa.Column("did", sa.JSON, nullable=False, comment="what it did then"),
)

arrivals: Final = sa.Table(
    "arrivals",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("accepted", sa.BigInteger, nullable=False, comment="the ledger's sum, kept so that it can be polled"),
    sa.Column("last_received_at", sa.BigInteger, nullable=False, comment="of the newest landed record with events"),
)

dirty: Final = sa.Table(
    "dirty",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="drawn when the mark was set"),
    sa.Column("marked_at", sa.BigInteger, nullable=False),
    sa.Column("oldest_received_at", sa.BigInteger, comment="of the events that wait; null when not known"),
    sa.Column("next_received_at", sa.BigInteger, comment="of those that landed since the newest job began; null: none"),
)

buckets: Final = sa.Table(
    "buckets",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="of the job that published it"),
    sa.Column("manifest_version", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("maps", sa.Integer, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False, comment="raw rows behind the bucket"),
    sa.Column("tiled", sa.BigInteger, nullable=False, comment="of these, events counted in a cell"),
    sa.Column("code_version", sa.Text, nullable=False),
    sa.Column("cost_ms", sa.BigInteger, nullable=False),
    sa.Column("published_at", sa.BigInteger, nullable=False),
    sa.Column("provenance", sa.JSON, nullable=False, comment="offset ranges with row hashes, or children's versions"),
    sa.Column("lost_version", sa.BigInteger, comment="maps of this version and older went with a damaged part"),
    sa.Index(None, "client_id", "level", "start"),
    sa.Index(None, "client_id", "version"),
)

screen_shapes: Final = sa.Table(
    "screen_shapes",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("screen_id", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, primary_key=True, comment="phone, tablet or desktop, by viewport width"),
    sa.Column("w", sa.Double, nullable=False, comment="CSS pixels, as the newest batch says"),
    sa.Column("h", sa.Double, nullable=False),
    sa.Column("source", sa.Text, nullable=False, comment="where w and h come from: region, document or viewport"),
    sa.Column("events", sa.BigInteger, nullable=False, comment="landed events of batches that say a size"),
    sa.Column("seen_at", sa.BigInteger, nullable=False, comment="received_at of the batch that w and h come from"),
)

backgrounds: Final = sa.Table(
    "backgrounds",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("screen_id", sa.Text, primary_key=True),
    sa.Column("w", sa.Integer, nullable=False, comment="pixels of the stored image"),
    sa.Column("h", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False, comment="digest of the content"),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

leases: Final = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
