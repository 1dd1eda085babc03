"""The relational tables: the lake's manifest, the ledger, the tile jobs. Same on SQLite and PostgreSQL.

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
    sa.Index(None, "state", "hour", "client_id"),
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

dirty: Final = sa.Table(
    "dirty",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="drawn when the mark was set"),
    sa.Column("marked_at", sa.BigInteger, nullable=False),
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
    sa.Index(None, "client_id", "level", "start"),
)

leases: Final = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
